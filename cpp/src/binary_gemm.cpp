#include "harmonium/binary_gemm.hpp"

#include <algorithm>

#include "cuda/binary_gemm.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"
#include "harmonium/gemm.hpp"
#include "harmonium/pack.hpp"
#include "panel_product.hpp"

namespace harmonium {

namespace {

template <class T>
void check(const States<T>& a, const Factor<T>& b, std::int64_t rows, std::int64_t cols) {
    require(a.cols() == b.inner() && rows == a.rows() && cols == b.outer(), "binary_gemm: A is ", a.rows(), " x ",
            a.cols(), ", op(B) ", b.inner(), " x ", b.outer(), ", out ", rows, " x ", cols);
}

// Calls body(first row, rows, panel, scratch) for every piece of the output.
template <class T, class Body>
void over_pieces(Context& context, std::int64_t rows, const Factor<T>& b, std::int64_t scratch_size, const Body& body) {
    context.reserve_scratch(static_cast<std::size_t>(scratch_size) * sizeof(T));
    const std::int64_t panels = b.panel_count(), chunks = (rows + rows_per_task - 1) / rows_per_task;
    context.parallel_for(panels * chunks, [&](std::int64_t task, int worker) {
        const std::int64_t first = task / panels * rows_per_task;
        body(first, std::min(rows_per_task, rows - first), task % panels, context.scratch<T>(worker));
    });
}

}  // namespace

template <class T>
void binary_gemm(Context& context, const States<T>& a, Matrix<const T> b, bool transpose_b, bool accumulate,
                 Matrix<T> out) {
    const Factor<T> factor(b, transpose_b);
    check(a, factor, out.rows, out.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda() && a.is_bits()) return cuda::binary_gemm<T>(context, a.bits, b, transpose_b, accumulate, out);
        if (context.cuda() && a.is_sparse()) return cuda::binary_gemm<T>(context, a.sparse, b, transpose_b, accumulate, out);
        if (context.cuda()) return gemm<T>(context, T(1), a.dense, false, b, transpose_b, T(accumulate), out);
    }
    const std::int64_t own = panel_product_scratch(factor);
    // Sums are taken in a block without gaps and copied: strided rows of out may fall on few cache sets.
    over_pieces(context, a.rows(), factor, own + rows_per_task * 64,
                [&](std::int64_t first, std::int64_t rows, std::int64_t p, T* scratch) {
                    const Matrix<T> acc(scratch + own, rows, factor.panel_cols(p));
                    panel_product(a.rows_from(first, rows), factor, p, false, acc, scratch);
                    const std::int64_t cols = std::min<std::int64_t>(64, out.cols - 64 * p);
                    for (std::int64_t i = 0; i < rows; ++i) {
                        T* to = out.row(first + i) + 64 * p;
                        const T* from = acc.row(i);
                        if (accumulate) {
                            for (std::int64_t j = 0; j < cols; ++j) to[j] += from[j];
                        } else {
                            std::copy(from, from + cols, to);
                        }
                    }
                });
}

template <class T>
void binary_gemm(Context& context, const States<T>& a, Panels<const T> b, bool transpose_b, bool accumulate,
                 Panels<T> out) {
    const Factor<T> factor(b, transpose_b);
    check(a, factor, out.rows, out.cols);
    require_cpu(context, "binary_gemm of panels");
    over_pieces(context, a.rows(), factor, panel_product_scratch(factor),
                [&](std::int64_t first, std::int64_t rows, std::int64_t p, T* scratch) {
                    panel_product(a.rows_from(first, rows), factor, p, accumulate, out.panel(p).rows_from(first, rows),
                                  scratch);
                });
}

template <class T>
void binary_gemm_tn(Context& context, ConstBitMatrix a, Matrix<const T> b, bool accumulate, Matrix<T> out,
                    BitMatrix bits_scratch) {
    if constexpr (built_with_cuda) {
        if (context.cuda()) {
            require(a.rows == b.rows && a.cols == out.rows && b.cols == out.cols, "binary_gemm: A^T is ", a.cols, " x ", a.rows, ", B ",
                    b.rows, " x ", b.cols, ", out ", out.rows, " x ", out.cols);
            return cuda::binary_gemm_tn<T>(context, a, b, accumulate, out);
        }
    }
    transpose_bits(context, a, bits_scratch);
    binary_gemm<T>(context, bits_scratch, b, false, accumulate, out);
}

#define HARMONIUM_INSTANTIATE(T)                                                                                \
    template void binary_gemm(Context&, const States<T>&, Matrix<const T>, bool, bool, Matrix<T>);              \
    template void binary_gemm(Context&, const States<T>&, Panels<const T>, bool, bool, Panels<T>);              \
    template void binary_gemm_tn(Context&, ConstBitMatrix, Matrix<const T>, bool, Matrix<T>, BitMatrix);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
