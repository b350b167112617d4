// What every training loop of an RBM keeps on the device: the parameters, what goes with them, and where the epoch stands.
#pragma once

#include <vector>

#include "copy.cuh"
#include "rbm_step.cuh"
#include "rbm_working.hpp"

namespace harmonium::cuda {

template <class T>
class TrainingMemory {
public:
    // From the state of `work`; its chains are the loop's.
    TrainingMemory(State& state, const RbmOptions& options, const Working<T>& work, std::int64_t batch_size, std::int64_t steps) : state_(state) {
        const std::int64_t visible = work.visible, hidden = work.hidden, size = visible * hidden;
        StepView<T>& s = view;
        s.visible = visible, s.hidden = hidden;
        s.batch_size = batch_size;
        s.centred = options.centering;
        s.momentum = static_cast<T>(options.momentum), s.weight_decay = static_cast<T>(options.weight_decay);
        s.offset_rate = static_cast<T>(options.offset_rate);
        s.weights = {numbers_of(size), visible, hidden};
        if (options.momentum != 0) {
            s.weight_velocity = {numbers_of(size), visible, hidden};
            s.visible_velocity = numbers_of(visible), s.hidden_velocity = numbers_of(hidden);
        }
        rates_ = DeviceBuffer<T>(static_cast<std::size_t>(steps));
        s.rates = rates_.data();
        if (options.averaging > 0) {
            s.mean_weights = {numbers_of(size), visible, hidden};
            s.mean_visible_bias = numbers_of(visible), s.mean_hidden_bias = numbers_of(hidden);
            shares_ = DeviceBuffer<T>(static_cast<std::size_t>(steps));
            s.shares = shares_.data();
        }
        for (T** vector : {&s.visible_bias, &s.visible_offset, &s.visible_difference}) *vector = numbers_of(visible);
        for (T** vector : {&s.hidden_bias, &s.hidden_offset, &s.hidden_difference, &s.hidden_mean}) *vector = numbers_of(hidden);
        s.gradient = {numbers_of(size), visible, hidden};
        const std::int64_t along = (hidden + update_tile - 1) / update_tile, down = (visible + update_tile - 1) / update_tile;
        tiles_ = DeviceBuffer<double>(static_cast<std::size_t>(along * visible + down * hidden));
        s.row_parts = {tiles_.data(), along, visible};
        s.col_parts = {tiles_.data() + along * visible, down, hidden};
        place_ = DeviceBuffer<Place<T>>(1);
        s.place = place_.data();
        activity_ = DeviceBuffer<double>(1);
        s.activity = activity_.data();
        give(work);
    }

    StepView<T> view;

    // Of an epoch's steps, see DeviceEpochs.
    void begin_epoch(const std::vector<T>& rates, const std::vector<T>& shares) {
        host_rates_ = rates, host_shares_ = shares;
        upload(host_rates_, rates_.data());
        if (!shares.empty()) upload(host_shares_, shares_.data());
        CUDA_CHECK(cudaMemsetAsync(activity_.data(), 0, sizeof(double), state_.stream));
    }
    void stand(const RowBlock<T>& block, std::int64_t done, std::uint64_t step) {
        set_place(state_, place_.data(), Place<T>{block, 0, done, step});
    }
    // The draws of Gibbs step k of the step at hand.
    StepDraw draw(const RbmOptions& options, Stream stream, std::int64_t k) const {
        return {options.seed, stream, &place_.data()->step, static_cast<std::uint64_t>(options.n_gibbs_steps) + 1, static_cast<std::uint64_t>(k)};
    }

    // Into the host's copy, all at once after the epoch's last kernel. Returns the epoch's activity.
    double take(Working<T>& work) {
        each_matrix(work, [&](const Panels<T>& to, const Matrix<T>& from) {
            copy_numbers<T>(state_, from.data, view.visible * view.hidden, rows().data);
            CUDA_CHECK(cudaStreamSynchronize(state_.stream));
            to_panels<T>(Matrix<const T>(rows()), to);
        });
        each_vector(work, [&](T* to, const T* from, std::int64_t count) { copy_numbers<T>(state_, from, count, to); });
        copy_numbers<double>(state_, activity_.data(), 1, &host_activity_);
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
        return host_activity_;
    }

    template <class U>
    void upload(const std::vector<U>& from, U* to) {
        copy_numbers<U>(state_, from.data(), static_cast<std::int64_t>(from.size()), to);
    }

private:
    T* numbers_of(std::int64_t count) {
        memory_.push_back(DeviceBuffer<T>(static_cast<std::size_t>(count)));
        return memory_.back().data();
    }
    // Calls back with what the device keeps beside matrices, and the host's of the same.
    template <class Work, class Function>
    void each_vector(Work& w, const Function& function) {
        const StepView<T>& s = view;
        function(w.visible_bias, s.visible_bias, s.visible), function(w.hidden_bias, s.hidden_bias, s.hidden);
        function(w.visible_offset, s.visible_offset, s.visible), function(w.hidden_offset, s.hidden_offset, s.hidden);
        if (s.visible_velocity) function(w.visible_velocity, s.visible_velocity, s.visible), function(w.hidden_velocity, s.hidden_velocity, s.hidden);
        if (s.shares) function(w.mean_visible_bias, s.mean_visible_bias, s.visible), function(w.mean_hidden_bias, s.mean_hidden_bias, s.hidden);
    }
    template <class Work, class Function>
    void each_matrix(Work& w, const Function& function) {
        const StepView<T>& s = view;
        function(w.weights, s.weights);
        if (s.weight_velocity) function(w.weight_velocity, s.weight_velocity);
        if (s.mean_weights) function(w.mean_weights, s.mean_weights);
    }
    void give(const Working<T>& work) {
        host_rows_.resize(static_cast<std::size_t>(view.visible * view.hidden));
        each_matrix(work, [&](const Panels<T>& from, const Matrix<T>& to) {
            CUDA_CHECK(cudaStreamSynchronize(state_.stream));  // the last one's copy
            from_panels<T>(from, rows());
            upload(host_rows_, to.data);
        });
        each_vector(work, [&](const T* from, T* to, std::int64_t count) { copy_numbers<T>(state_, from, count, to); });
        if (!work.mirrored_or_null()) return;
        mirrored_ = DeviceBuffer<std::uint64_t>(work.mirrored.size());
        upload(work.mirrored, mirrored_.data());
        view.mirrored = mirrored_.data();
    }

    Matrix<T> rows() { return {host_rows_.data(), view.visible, view.hidden}; }

    State& state_;
    // What copies read and write, which may still be queued when a call fails.
    std::vector<T> host_rows_, host_rates_, host_shares_;
    double host_activity_ = 0;
    std::vector<DeviceBuffer<T>> memory_;
    DeviceBuffer<T> rates_, shares_;
    DeviceBuffer<double> tiles_, activity_;
    DeviceBuffer<std::uint64_t> mirrored_;
    DeviceBuffer<Place<T>> place_;
};

}  // namespace harmonium::cuda
