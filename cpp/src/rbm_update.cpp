#include "harmonium/rbm_update.hpp"

#include <algorithm>

#include "binary_gemm_kernels.hpp"
#include "blas.hpp"
#include "harmonium/error.hpp"
#include "panel_product.hpp"
#include "rbm_update_kernels.hpp"

namespace harmonium {

namespace {

std::int64_t chunk_count(std::int64_t visible) { return (visible + rows_per_task - 1) / rows_per_task; }

// Panel p of the gradient's rows [first, first + rows) into block.
template <class T>
void accumulate(const RbmGradient<T>& g, std::int64_t p, std::int64_t first, Matrix<T> block, T* scratch) {
    const std::int64_t dense_rows = g.probability.rows - g.bits.cols;
    const Panels<const T> of_bits = g.probability.rows_from(dense_rows, g.bits.cols);
    for (std::int64_t i = 0; i < block.rows; ++i) std::fill(block.row(i), block.row(i) + block.cols, T(0));
    binary_gemm_kernels<T>().multiply(g.bits.rows_from(first, block.rows), of_bits.panel(p), block, scratch);
    if (dense_rows > 0) {
        const Matrix<const T> x(g.dense.data + first, g.dense.rows, block.rows, g.dense.stride);
        blas_gemm(T(1), x, true, g.probability.rows_from(0, dense_rows).panel(p), false, T(1), block);
    }
}

}  // namespace

std::int64_t rbm_update_sums(std::int64_t visible, std::int64_t hidden) {
    const std::int64_t panels = (hidden + 63) / 64;
    return panels * visible + chunk_count(visible) * panels * 64;
}

template <class T>
void rbm_update(Context& context, const RbmGradient<T>& gradient, const RbmStep<T>& step) {
    const Panels<T>& w = step.weights;
    const std::int64_t visible = w.rows, hidden = w.cols, panels = w.count(), chunks = chunk_count(visible);
    require(gradient.bits.rows == visible && gradient.probability.cols == hidden &&
                gradient.bits.cols + gradient.dense.rows == gradient.probability.rows,
            "rbm_update: ", gradient.bits.cols, " rows of bits and ", gradient.dense.rows, " others, ",
            gradient.probability.rows, " rows of probabilities, weights ", visible, " x ", hidden);
    const bool centred = gradient.visible_offset != nullptr, moving = step.momentum != T(0);
    double* g_lambda = step.sums;                  // panels x visible
    double* mu_g = step.sums + panels * visible;   // chunks x panels x 64
    const std::int64_t own = multiply_scratch<T>();
    context.reserve_scratch(static_cast<std::size_t>(own + rows_per_task * 64) * sizeof(T));
    context.parallel_for(panels * chunks, [&](std::int64_t task, int worker) {
        const std::int64_t p = task % panels, chunk = task / panels;
        const std::int64_t first = visible * chunk / chunks, rows = visible * (chunk + 1) / chunks - first;
        T* scratch = context.scratch<T>(worker);
        UpdateBlock<T> b;
        b.gradient = {scratch + own, rows, w.panel_cols(p)};
        accumulate(gradient, p, first, b.gradient, scratch);
        b.weights = w.panel(p).rows_from(first, rows);
        if (moving) b.velocity = step.weight_velocity.panel(p).rows_from(first, rows);
        b.valid = w.valid_cols(p);
        if (centred) {
            b.visible_difference = gradient.visible_difference + first;
            b.hidden_difference = gradient.hidden_difference + 64 * p;
            b.visible_offset = gradient.visible_offset + first;
            b.hidden_offset = gradient.hidden_offset + 64 * p;
        }
        b.learning_rate = step.learning_rate;
        b.momentum = step.momentum;
        b.weight_decay = step.weight_decay;
        b.g_lambda = g_lambda + p * visible + first;
        b.mu_g = mu_g + (chunk * panels + p) * 64;
        rbm_update_kernels<T>().update(b);
    });
    const auto biases = [&](const T* difference, std::int64_t i, double correction, T* velocity, T* bias) {
        T move = difference[i] - static_cast<T>(correction);
        if (moving) move = velocity[i] = step.momentum * velocity[i] + move;
        bias[i] += step.learning_rate * move;
    };
    for (std::int64_t i = 0; i < visible; ++i) {
        double correction = 0;
        for (std::int64_t p = 0; centred && p < panels; ++p) correction += g_lambda[p * visible + i];
        biases(gradient.visible_difference, i, correction, step.visible_velocity, step.visible_bias);
    }
    for (std::int64_t j = 0; j < hidden; ++j) {
        double correction = 0;
        for (std::int64_t chunk = 0; centred && chunk < chunks; ++chunk) {
            correction += mu_g[chunk * panels * 64 + j];
        }
        biases(gradient.hidden_difference, j, correction, step.hidden_velocity, step.hidden_bias);
    }
}
template <class T>
void column_sums(Context& context, Panels<const T> x, T* out) {
    context.parallel_for(x.count(), [&](std::int64_t p, int) {
        alignas(64) T sums[64];
        rbm_update_kernels<T>().column_sums(x.panel(p), sums);
        std::copy(sums, sums + x.valid_cols(p), out + 64 * p);
    });
}

template void column_sums(Context&, Panels<const float>, float*);
template void column_sums(Context&, Panels<const double>, double*);
template void rbm_update(Context&, const RbmGradient<float>&, const RbmStep<float>&);
template void rbm_update(Context&, const RbmGradient<double>&, const RbmStep<double>&);

}  // namespace harmonium
