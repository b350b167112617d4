// Chains of a fitted RBM with units of any type on a GPU: the states of both layers, one given the other.
#pragma once

#include "rbm_chains.cuh"
#include "unit_layer.cuh"
#include "unit_rbm.cuh"
#include "unit_rows.cuh"

namespace harmonium::cuda {

template <class T>
class UnitModel {
public:
    UnitModel(Context& context, const UnitRbm<T>& model)
        : product_(context, Rbm<T>{model.weights, model.visible_bias, model.hidden_bias}), visible_(product_.state, model.visible),
          hidden_(product_.state, model.hidden) {}

    State& state() const { return product_.state; }
    std::int64_t units(bool of_visible) const { return product_.units(of_visible); }
    const T* bias(bool of_visible) const { return product_.bias(of_visible); }
    Matrix<T> weights() const { return product_.weights(); }
    const LayerView& layer(bool of_visible) const { return (of_visible ? visible_ : hidden_).view(); }

    // A layer's activations without its biases.
    void activate(const LayerRows<T>& given, bool of_visible, Matrix<T> out) const { product_.activate(given, of_visible, out); }

private:
    DeviceModel<T> product_;
    DeviceLayer visible_, hidden_;
};

template <class T>
class UnitChains {
public:
    UnitChains(const UnitModel<T>& model, std::int64_t n)
        : model_(model), n_(n), activation_(size(n * std::max(model.units(true), model.units(false)))), visible_(size(n * model.units(true))),
          hidden_(size(n * model.units(false))) {}
    // On the device, of one chain.
    static std::int64_t bytes(const UnitModel<T>& model) {
        const std::int64_t visible = model.units(true), hidden = model.units(false);
        return static_cast<std::int64_t>(sizeof(T)) * (visible + hidden + std::max(visible, hidden));
    }

    Matrix<T> states(bool of_visible) const { return {(of_visible ? visible_ : hidden_).data(), n_, model_.units(of_visible)}; }
    // Of whichever layer was the last.
    Matrix<T> activation(bool of_visible) const { return {activation_.data(), n_, model_.units(of_visible)}; }
    State& state() const { return model_.state(); }

    // From the other layer's states.
    void activate(bool of_visible) const { model_.activate({{}, states(!of_visible)}, of_visible, activation(of_visible)); }
    void draw(bool of_visible, UnitDraw<T> draw) const {
        draw.activation = activation(of_visible);
        draw.states = states(of_visible);
        draw_units(state(), model_.layer(of_visible), draw);
    }
    // As activations of nothing.
    void forget(bool of_visible) const {
        CUDA_CHECK(cudaMemsetAsync(activation_.data(), 0, size(n_ * model_.units(of_visible)) * sizeof(T), state().stream));
    }

    void start_at(Context& context, const States<T>& from) const {
        const std::int64_t piece = rows_at_a_time(n_, static_cast<std::int64_t>(sizeof(T)) * 2 * model_.units(true));
        over_rows(context, from, piece, [&](const LayerRows<T>& given, std::int64_t at) {
            numbers_of(state(), given, states(true).rows_from(at, std::min(piece, n_ - at)));
        });
    }

private:
    static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

    const UnitModel<T>& model_;
    std::int64_t n_;
    DeviceBuffer<T> activation_, visible_, hidden_;
};

// Numbers of the host, or none, on the device.
template <class T>
DeviceBuffer<T> on_the_device(State& state, const T* from, std::int64_t n) {
    DeviceBuffer<T> there(static_cast<std::size_t>(from ? n : 0));
    if (from) copy_numbers<T>(state, from, n, there.data());
    return there;
}

}  // namespace harmonium::cuda
