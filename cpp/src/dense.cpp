#include "harmonium/dense.hpp"

#include "blas.hpp"
#include "dense_kernels.hpp"
#include "even_blocks.hpp"
#include "harmonium/binary_gemm.hpp"
#include "harmonium/error.hpp"
#include "harmonium/gemm.hpp"
#include "panel_product.hpp"

namespace harmonium {

namespace {

// A block of the product is worked on while it is in the second-level cache: 512 x 256 floats are half of one.
constexpr std::int64_t most_rows = 512, most_cols = 256;

// out = X op(W) block by block, each followed by finish(block of out, first row, first column).
template <class T, class Finish>
void product(Context& context, Matrix<const T> x, Matrix<const T> w, bool transpose_w, Matrix<T> out, const Finish& finish) {
    const EvenBlocks rows(out.rows, most_rows), cols(out.cols, most_cols);
    context.parallel_for(rows.count * cols.count, [&](std::int64_t task, int) {
        const std::int64_t i = task % rows.count, j = task / rows.count, first = cols.first(j), count = cols.size(j);
        const Matrix<const T> part =
            transpose_w ? w.rows_from(first, count) : Matrix<const T>(w.data + first, w.rows, count, w.stride);
        const Matrix<T> block(out.row(rows.first(i)) + first, rows.size(i), count, out.stride);
        blas_gemm(T(1), x.rows_from(rows.first(i), rows.size(i)), false, part, transpose_w, T(0), block);
        finish(block, rows.first(i), first);
    });
}

template <class T>
void sparse_forward(Context& context, const States<T>& x, Matrix<const T> w, const T* bias, Activation f, Matrix<T> out) {
    const Factor<T> factor(w, false);
    const std::int64_t own = panel_product_scratch(factor), panels = factor.panel_count();
    const std::int64_t chunks = (out.rows + rows_per_task - 1) / rows_per_task;
    context.reserve_scratch(static_cast<std::size_t>(own + rows_per_task * 64) * sizeof(T));
    context.parallel_for(panels * chunks, [&](std::int64_t task, int worker) {
        const std::int64_t first = task / panels * rows_per_task, count = std::min(rows_per_task, out.rows - first);
        const std::int64_t p = task % panels, valid = std::min<std::int64_t>(64, out.cols - 64 * p);
        T* scratch = context.scratch<T>(worker);
        const Matrix<T> acc(scratch + own, count, factor.panel_cols(p));
        panel_product(x.rows_from(first, count), factor, p, false, acc, scratch);
        dense_kernels<T>().activate(f, bias + 64 * p, Matrix<T>(acc.data, count, valid, acc.stride));
        for (std::int64_t i = 0; i < count; ++i) std::copy(acc.row(i), acc.row(i) + valid, out.row(first + i) + 64 * p);
    });
}

}  // namespace

template <class T>
void dense_forward(Context& context, const States<T>& x, Matrix<const T> w, bool transpose_w, const T* bias, Activation f,
                   Matrix<T> out) {
    const std::int64_t k = transpose_w ? w.cols : w.rows, m = transpose_w ? w.rows : w.cols;
    require(x.cols() == k && out.rows == x.rows() && out.cols == m, "dense_forward: X is ", x.rows(), " x ", x.cols(),
            ", op(W) ", k, " x ", m, ", out ", out.rows, " x ", out.cols);
    require(!x.is_bits() && !(x.is_sparse() && transpose_w), "dense_forward: X is dense, or sparse rows with W as it is");
    if (x.is_sparse()) return sparse_forward(context, x, w, bias, f, out);
    product(context, x.dense, w, transpose_w, out, [&](Matrix<T> block, std::int64_t, std::int64_t first) {
        dense_kernels<T>().activate(f, bias + first, block);
    });
}

template <class T>
void dense_backward(Context& context, Matrix<const T> delta, Matrix<const T> w, bool transpose_w, Activation f,
                    Matrix<const T> a, T a_scale, Matrix<T> out) {
    const std::int64_t k = transpose_w ? w.cols : w.rows, m = transpose_w ? w.rows : w.cols;
    require(delta.cols == m && out.rows == delta.rows && out.cols == k && a.rows == out.rows && a.cols == k,
            "dense_backward: delta is ", delta.rows, " x ", delta.cols, ", op(W) ", k, " x ", m, ", A ", a.rows, " x ", a.cols,
            ", out ", out.rows, " x ", out.cols);
    product(context, delta, w, !transpose_w, out, [&](Matrix<T> block, std::int64_t row, std::int64_t col) {
        dense_kernels<T>().slope(f, Matrix<const T>(a.row(row) + col, block.rows, block.cols, a.stride), a_scale, block);
    });
}

template <class T>
void dense_gradient(Context& context, Matrix<const T> x, Matrix<const T> delta, bool transpose_w, bool accumulate,
                    Matrix<T> gradient) {
    if (transpose_w) gemm<T>(context, T(1), delta, true, x, false, T(accumulate), gradient);
    else gemm<T>(context, T(1), x, true, delta, false, T(accumulate), gradient);
}

template <class T>
void dense_gradient(Context& context, const SparseRows<T>& columns, Matrix<const T> delta, bool accumulate,
                    Matrix<T> gradient) {
    binary_gemm<T>(context, columns, delta, false, accumulate, gradient);
}

template <class T>
void column_sums(Context& context, Matrix<const T> m, bool accumulate, T* out) {
    const EvenBlocks cols(m.cols, 512);
    context.parallel_for(cols.count, [&](std::int64_t j, int) {
        const std::int64_t first = cols.first(j);
        dense_kernels<T>().column_sums(Matrix<const T>(m.data + first, m.rows, cols.size(j), m.stride), accumulate, out + first);
    });
}

template <class T>
void dropout(Context& context, T rate, const Draw& draw, std::uint32_t first_row, Matrix<T> m) {
    require(rate >= 0 && rate < 1, "dropout: rate=", rate, " is not in [0, 1)");
    context.parallel_for(m.rows, [&](std::int64_t i, int) {
        dense_kernels<T>().dropout(rate, draw, first_row + static_cast<std::uint32_t>(i), m.row(i), m.cols);
    });
}

#define HARMONIUM_INSTANTIATE(T)                                                                                            \
    template void dense_forward(Context&, const States<T>&, Matrix<const T>, bool, const T*, Activation, Matrix<T>);      \
    template void dense_backward(Context&, Matrix<const T>, Matrix<const T>, bool, Activation, Matrix<const T>, T, Matrix<T>); \
    template void dense_gradient(Context&, Matrix<const T>, Matrix<const T>, bool, bool, Matrix<T>);                      \
    template void dense_gradient(Context&, const SparseRows<T>&, Matrix<const T>, bool, Matrix<T>);                       \
    template void column_sums(Context&, Matrix<const T>, bool, T*);                                                       \
    template void dropout(Context&, T, const Draw&, std::uint32_t, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
