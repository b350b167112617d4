// A fitted RBM on a GPU: its products with rows of either layer, and the rows of X on their way through it.
#pragma once

#include <algorithm>

#include "copy.cuh"
#include "harmonium/device_rows.hpp"
#include "harmonium/rbm.hpp"
#include "operand.cuh"
#include "row_feed.cuh"

namespace harmonium::cuda {

template <class T>
class DeviceModel {
    using Element = typename ElementOf<T>::type;

public:
    DeviceModel(Context& context, const Rbm<T>& model)
        : state(use(context)), visible(model.visible()), hidden(model.hidden()), plain_(static_cast<std::size_t>(visible * hidden)),
          biases_(static_cast<std::size_t>(visible + hidden)), beside_(zeroed<Element>(state, Parts<T>::size(visible, hidden))) {
        factor_.beside = {beside_.data(), visible, hidden};
        if (sizeof(T) == 4) {  // in double the two are one
            stacked_ = zeroed<Element>(state, FactorParts<T>::stacked_size(visible, hidden));
            factor_.stacked = stacked_.data();
        }
        copy_rows(state, model.weights, weights());
        copy_numbers<T>(state, model.visible_bias, visible, biases_.data());
        copy_numbers<T>(state, model.hidden_bias, hidden, biases_.data() + visible);
        split_factor<T>(state, weights(), factor_);
    }

    State& state;
    const std::int64_t visible, hidden;

    std::int64_t units(bool of_visible) const { return of_visible ? visible : hidden; }
    Matrix<T> weights() const { return {plain_.data(), visible, hidden}; }
    const T* bias(bool of_visible) const { return biases_.data() + (of_visible ? 0 : visible); }

    // A layer's activations without its biases: v W, or h W^T with of_visible.
    void activate(const LayerRows<T>& given, bool of_visible, Matrix<T> out) const {
        if (out.rows == 0 || out.cols == 0) return;
        if (units(!of_visible) == 0) {
            CUDA_CHECK(cudaMemsetAsync(out.data, 0, static_cast<std::size_t>(out.rows * out.stride) * sizeof(T), state.stream));
        } else if (given.states) {
            multiply_states(state, given.states, factor_, of_visible, T(0), out);
        } else {
            multiply(state, ElementOf<T>::numbers, out.rows, out.cols, units(!of_visible), 1, {given.numbers.data, given.numbers.stride, false},
                     {plain_.data(), hidden, of_visible}, 0, out.data, out.stride);
        }
    }

private:
    DeviceBuffer<T> plain_, biases_;
    DeviceBuffer<Element> beside_, stacked_;
    FactorParts<T> factor_;
};

// Calls use(rows on the device, the first's place in x) for so many rows of the host at a time; what it queues on the state's
// stream sees them. The next ones are gathered and copied while the device works.
template <class T, class Use>
void over_rows(Context& context, const States<T>& x, std::int64_t at_a_time, const Use& body) {
    State& state = use(context);
    const std::int64_t rows = x.rows(), cols = x.cols();
    if (rows == 0) return;
    using Element = typename ElementOf<T>::type;
    const DeviceBuffer<Element> memory = zeroed<Element>(state, x.bits_only() ? Parts<T>::size(at_a_time, cols) : 0);
    const std::int64_t spread = x.is_sparse() ? at_a_time : 0;  // sparse rows with all of their columns
    const DeviceBuffer<T> numbers(static_cast<std::size_t>(spread * cols));
    const DeviceBuffer<std::uint64_t> words(static_cast<std::size_t>(x.bits_only() ? spread * BitMatrix::words_for(cols) : 0));
    const DeviceBuffer<Place<T>> place(1);
    RowFeed<T> feed(context, x, at_a_time, false);
    feed.over(nullptr, rows, [&](const RowBlock<T>& block, std::int64_t first) {
        for (std::int64_t at = 0; at < block.rows; at += at_a_time) {
            const std::int64_t n = std::min(at_a_time, block.rows - at);
            LayerRows<T> part;
            ConstBitMatrix bits = block.bits ? block.bits.rows_from(at, n) : ConstBitMatrix();
            if (block.dense) part.numbers = block.dense.rows_from(at, n);
            if (x.is_sparse()) {
                set_place(state, place.data(), Place<T>{block, at / at_a_time, 0, 0});
                const Matrix<T> all(numbers.data(), n, cols);
                gather<T>(state, place.data(), at_a_time, all, {});
                const BitMatrix packed(words.data(), n, cols);
                if (x.bits_only()) pack_rows<T>(context, all, packed), bits = packed;
                else part.numbers = all;
            }
            if (bits) {
                part.states = {memory.data(), n, cols};
                states_of_bits(state, bits, part.states);
            }
            body(part, first + at);
        }
    });
    CUDA_CHECK(cudaStreamSynchronize(state.stream));
}

// As many rows as fill a GPU, but not its memory, where each takes so many bytes beside those of X.
inline std::int64_t rows_at_a_time(std::int64_t rows, std::int64_t bytes_of_row, std::int64_t at_most = 4096) {
    std::size_t free = 0, total = 0;
    CUDA_CHECK(cudaMemGetInfo(&free, &total));
    const std::int64_t bytes = std::min(std::int64_t(256) << 20, static_cast<std::int64_t>(free / 4));
    return std::clamp<std::int64_t>(bytes / std::max<std::int64_t>(bytes_of_row, 1), 1, std::clamp<std::int64_t>(rows, 1, at_most));
}

}  // namespace harmonium::cuda
