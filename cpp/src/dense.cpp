#include "harmonium/dense.hpp"

#include "cuda/dense.cuh"
#include "cuda_state.hpp"
#include "dense_kernels.hpp"
#include "even_blocks.hpp"
#include "harmonium/error.hpp"
#include "tiled_gemm.hpp"

namespace harmonium {

template <class T>
void dense_forward(Context& context, const States<T>& x, Matrix<const T> w, bool transpose_w, const T* bias, Activation f,
                   Matrix<T> out) {
    const std::int64_t k = transpose_w ? w.cols : w.rows, m = transpose_w ? w.rows : w.cols;
    require(x.cols() == k && out.rows == x.rows() && out.cols == m, "dense_forward: X is ", x.rows(), " x ", x.cols(),
            ", op(W) ", k, " x ", m, ", out ", out.rows, " x ", out.cols);
    require(!x.is_bits() && !(x.is_sparse() && transpose_w), "dense_forward: X is dense, or sparse rows with W as it is");
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::dense_forward(context, x, w, transpose_w, bias, f, out);
    }
    const auto finish = [&](Matrix<T> block, std::int64_t, std::int64_t first) {
        dense_kernels<T>().activate(f, bias + first, block);
    };
    if (x.is_sparse()) tiled_sparse_gemm(context, x.sparse, w, out, finish);
    else tiled_gemm(context, x.dense, w, transpose_w, out, finish);
}

template <class T>
void dense_backward(Context& context, Matrix<const T> delta, Matrix<const T> w, bool transpose_w, Activation f,
                    Matrix<const T> a, T a_scale, Matrix<T> out) {
    const std::int64_t k = transpose_w ? w.cols : w.rows, m = transpose_w ? w.rows : w.cols;
    require(delta.cols == m && out.rows == delta.rows && out.cols == k && a.rows == out.rows && a.cols == k,
            "dense_backward: delta is ", delta.rows, " x ", delta.cols, ", op(W) ", k, " x ", m, ", A ", a.rows, " x ", a.cols,
            ", out ", out.rows, " x ", out.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::dense_backward(context, delta, w, transpose_w, f, a, a_scale, out);
    }
    tiled_gemm(context, delta, w, !transpose_w, out, [&](Matrix<T> block, std::int64_t row, std::int64_t col) {
        dense_kernels<T>().slope(f, Matrix<const T>(a.row(row) + col, block.rows, block.cols, a.stride), a_scale, block);
    });
}

template <class T>
void column_sums(Context& context, Matrix<const T> m, bool accumulate, T* out) {
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::column_sums(context, m, accumulate, out);
    }
    const EvenBlocks cols(m.cols, 512);
    context.parallel_for(cols.count, [&](std::int64_t j, int) {
        const std::int64_t first = cols.first(j);
        dense_kernels<T>().column_sums(Matrix<const T>(m.data + first, m.rows, cols.size(j), m.stride), accumulate, out + first);
    });
}

template <class T>
void dropout(Context& context, T rate, const Draw& draw, std::uint32_t first_row, Matrix<T> m) {
    require(rate >= 0 && rate < 1, "dropout: rate=", rate, " is not in [0, 1)");
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::dropout(context, rate, draw, first_row, m);
    }
    context.parallel_for(m.rows, [&](std::int64_t i, int) {
        dense_kernels<T>().dropout(rate, draw, first_row + static_cast<std::uint32_t>(i), m.row(i), m.cols);
    });
}

#define HARMONIUM_INSTANTIATE(T)                                                                                            \
    template void dense_forward(Context&, const States<T>&, Matrix<const T>, bool, const T*, Activation, Matrix<T>);      \
    template void dense_backward(Context&, Matrix<const T>, Matrix<const T>, bool, Activation, Matrix<const T>, T, Matrix<T>); \
    template void column_sums(Context&, Matrix<const T>, bool, T*);                                                       \
    template void dropout(Context&, T, const Draw&, std::uint32_t, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
