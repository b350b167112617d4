#include "harmonium/bernoulli.hpp"

#include <algorithm>

#include "bernoulli_kernels.hpp"
#include "cuda/bernoulli.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"
#include "layer_piece.hpp"

namespace harmonium {

template <class T>
void bernoulli(Context& context, Matrix<const T> activation, const T* bias, T scale, const Draw& draw,
               std::uint32_t first_row, Matrix<T> probability, BitMatrix bits) {
    const std::int64_t rows = activation.rows, cols = activation.cols;
    require(!probability || (probability.rows == rows && probability.cols == cols), "bernoulli: activation is ", rows,
            " x ", cols, ", probability ", probability.rows, " x ", probability.cols);
    require(!bits || (bits.rows == rows && bits.cols == cols), "bernoulli: activation is ", rows, " x ", cols, ", bits ",
            bits.rows, " x ", bits.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::bernoulli(context, activation, bias, scale, draw, first_row, probability, bits);
    }
    constexpr std::int64_t height = 128;
    context.reserve_scratch(height * 64 * sizeof(T));
    const std::int64_t blocks = (cols + 63) / 64, chunks = (rows + height - 1) / height;
    context.parallel_for(blocks * chunks, [&](std::int64_t task, int worker) {
        const std::int64_t p = task % blocks, first = task / blocks * height, count = std::min(height, rows - first);
        const std::int64_t valid = std::min<std::int64_t>(64, cols - 64 * p);
        // Through a block of whole vectors: the matrix may end inside one.
        const Matrix<T> block(context.scratch<T>(worker), count, Panels<T>::padded(valid));
        for (std::int64_t i = 0; i < count; ++i) {
            const T* from = activation.row(first + i) + 64 * p;
            std::fill(std::copy(from, from + valid, block.row(i)), block.row(i) + block.cols, T(0));
        }
        BernoulliBlock<T> b;
        b.activation = block;
        b.valid = valid;
        b.bias = bias + 64 * p;
        b.scale = scale;
        b.first_row = first_row + static_cast<std::uint32_t>(first);
        b.block = p;
        b.draw = draw;
        b.probability = block;
        b.bits = bits ? bits.row(first) + p : nullptr;
        b.bit_stride = bits.stride;
        bernoulli_kernels<T>().bernoulli(b);
        for (std::int64_t i = 0; probability && i < count; ++i) {
            std::copy(block.row(i), block.row(i) + valid, probability.row(first + i) + 64 * p);
        }
    });
}

template <class T>
void layer_piece(const States<T>& a, const Factor<T>& w, const T* bias, T scale, const LayerOutput<T>& out, std::int64_t p,
                 std::int64_t first, std::int64_t count, T* scratch) {
    const std::int64_t own = panel_product_scratch(w);
    const Matrix<T> acc = out.probability ? out.probability.panel(p).rows_from(first, count)
                                          : Matrix<T>(scratch + own, count, w.panel_cols(p));
    panel_product(a.rows_from(first, count), w, p, false, acc, scratch);
    BernoulliBlock<T> b;
    b.activation = acc;
    b.valid = std::min<std::int64_t>(64, w.outer() - 64 * p);
    b.bias = bias + 64 * p;
    b.scale = scale;
    b.first_row = out.first_row + static_cast<std::uint32_t>(first);
    b.block = p;
    b.draw = out.draw;
    if (out.softplus) bernoulli_kernels<T>().softplus_sum(b, out.softplus.row(p) + first);
    if (out.other_softplus) {
        BernoulliBlock<T> other = b;
        other.bias = out.other_bias + 64 * p;
        other.scale = out.other_scale;
        bernoulli_kernels<T>().softplus_sum(other, out.other_softplus.row(p) + first);
    }
    if (!out.probability && !out.bits) return;
    if (out.probability) b.probability = acc;
    b.probability_scale = out.probability_scale;
    b.bits = out.bits ? out.bits.row(first) + p : nullptr;
    b.bit_stride = out.bits.stride;
    if (out.dot) {
        b.dot = out.dot.row(p) + first;
        b.dot_bias = out.dot_bias + 64 * p;
    }
    bernoulli_kernels<T>().bernoulli(b);
}

template <class T>
void bernoulli_layer(Context& context, const States<T>& a, Panels<const T> w, bool transpose_w, const T* bias, T scale,
                     const LayerOutput<T>& out) {
    const Factor<T> factor(w, transpose_w);
    const std::int64_t rows = a.rows(), units = factor.outer();
    require(a.cols() == factor.inner(), "bernoulli_layer: A is ", rows, " x ", a.cols(), ", op(W) ", factor.inner(),
            " x ", units);
    require(!out.probability || (out.probability.rows == rows && out.probability.cols == units),
            "bernoulli_layer: the layer is ", rows, " x ", units, ", probability ", out.probability.rows, " x ",
            out.probability.cols);
    require(!out.bits || (out.bits.rows == rows && out.bits.cols == units), "bernoulli_layer: the layer is ", rows, " x ",
            units, ", bits ", out.bits.rows, " x ", out.bits.cols);
    require_cpu(context, "bernoulli_layer");
    context.reserve_scratch(static_cast<std::size_t>(layer_piece_scratch(factor)) * sizeof(T));
    const std::int64_t panels = factor.panel_count(), chunks = (rows + rows_per_task - 1) / rows_per_task;
    context.parallel_for(panels * chunks, [&](std::int64_t task, int worker) {
        const std::int64_t first = task / panels * rows_per_task, count = std::min(rows_per_task, rows - first);
        layer_piece(a, factor, bias, scale, out, task % panels, first, count, context.scratch<T>(worker));
    });
}

#define HARMONIUM_INSTANTIATE(T)                                                                                      \
    template void bernoulli(Context&, Matrix<const T>, const T*, T, const Draw&, std::uint32_t, Matrix<T>, BitMatrix); \
    template void layer_piece(const States<T>&, const Factor<T>&, const T*, T, const LayerOutput<T>&, std::int64_t,   \
                              std::int64_t, std::int64_t, T*);                                                        \
    template void bernoulli_layer(Context&, const States<T>&, Panels<const T>, bool, const T*, T, const LayerOutput<T>&);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
