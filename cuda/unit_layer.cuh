// A layer of units of any type on the device: its groups, and its states and means given what the other layer says. States are
// numbers there, whatever the units: a product with the weights is gemm's.
#pragma once

#include <vector>

#include "buffer.cuh"
#include "copy.cuh"
#include "harmonium/math.hpp"
#include "harmonium/normal.hpp"
#include "harmonium/units.hpp"
#include "step_draw.cuh"

namespace harmonium::cuda {

// Choices are groups of their own; all other units are told apart one by one.
struct LayerView {
    std::int64_t units = 0, n_groups = 0, n_choices = 0;
    const UnitType* types = nullptr;     // of every unit
    const UnitGroup* groups = nullptr;
    const UnitGroup* choices = nullptr;  // the groups of categorical units
    bool values = false;                 // some units are neither categorical nor words
    bool bag = false;
};

class DeviceLayer {
public:
    DeviceLayer(State& state, const Layer& layer) : host_groups_(layer.groups) {
        for (const UnitGroup& group : layer.groups) {
            host_types_.insert(host_types_.end(), static_cast<std::size_t>(group.count), group.type);
            if (group.type == UnitType::categorical) host_choices_.push_back(group);
            else view_.values = group.type != UnitType::count || view_.values;
        }
        view_.units = layer.units(), view_.n_choices = static_cast<std::int64_t>(host_choices_.size());
        view_.n_groups = static_cast<std::int64_t>(host_groups_.size());
        types_ = DeviceBuffer<UnitType>(host_types_.size());
        groups_ = DeviceBuffer<UnitGroup>(host_groups_.size());
        choices_ = DeviceBuffer<UnitGroup>(host_choices_.size());
        copy_numbers<UnitType>(state, host_types_.data(), view_.units, types_.data());
        copy_numbers<UnitGroup>(state, host_groups_.data(), view_.n_groups, groups_.data());
        copy_numbers<UnitGroup>(state, host_choices_.data(), view_.n_choices, choices_.data());
        view_.types = types_.data(), view_.groups = groups_.data(), view_.choices = choices_.data();
        view_.bag = layer.counts();
    }
    const LayerView& view() const { return view_; }

private:
    LayerView view_;
    std::vector<UnitType> host_types_;  // what is copied lasts until it has been
    std::vector<UnitGroup> host_groups_, host_choices_;
    DeviceBuffer<UnitType> types_;
    DeviceBuffer<UnitGroup> groups_, choices_;
};

// log integral exp(theta x) of one unit that stands alone.
HARMONIUM_HOST_DEVICE inline double log_normaliser_of(UnitType type, double theta) {
    switch (type) {
        case UnitType::bernoulli: return softplus(theta);
        case UnitType::relu: return rectified_log_normaliser(theta);
        default: return 0.5 * theta * theta + half_log_two_pi;
    }
}

// `units` of units.hpp as loops on the device use it; absent data: not wanted. Row i draws as row first_row + i; where its mask
// is set the state is that of its values instead.
template <class T>
struct UnitDraw {
    Matrix<const T> activation;     // n x m
    const T* bias = nullptr;        // m
    const T* exposure = nullptr;    // n, or null: 1
    T scale = 1;                    // of the activation
    const T* scale_now = nullptr;   // one number on the device in its place
    StepDraw draw;
    std::uint32_t first_row = 0;
    Matrix<T> states;               // of a bag how often each word was drawn
    ConstBitMatrix mask;
    Matrix<const T> values;
    Matrix<T> mean;                 // may be the activation
    double* log_normaliser = nullptr;  // n
};
template <class T>
void draw_units(State& state, const LayerView& layer, const UnitDraw<T>& draw);

}  // namespace harmonium::cuda
