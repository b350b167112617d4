// The product behind dense layers, in strips of columns: whoever multiplies goes on with a strip while it is in cache.
// Every element is a sum over k in order, so neither threads nor strips change a bit.
#pragma once

#include <algorithm>

#include "harmonium/context.hpp"
#include "tiled_gemm_kernels.hpp"

namespace harmonium {

// Rows of C that a strip is packed for: what they read of A stays in the second-level cache.
constexpr std::int64_t tiled_rows = 240;
constexpr std::int64_t tiled_inner = 512;

// C = op(A) op(B), or added to it; finish(block, first row, first column) follows each block of C at once.
template <class T, class Finish>
void tiled_gemm(Context& context, Matrix<const T> a, bool transpose_a, Matrix<const T> b, bool transpose_b, bool accumulate,
                Matrix<T> c, const Finish& finish) {
    constexpr std::int64_t width = strip_cols<T>();
    const std::int64_t inner = transpose_a ? a.rows : a.cols;
    const std::int64_t pairs = (c.cols + 2 * width - 1) / (2 * width), chunks = (c.rows + tiled_rows - 1) / tiled_rows;
    context.reserve_scratch(static_cast<std::size_t>(std::min(tiled_inner, inner) * width) * sizeof(T) + 64);
    context.parallel_for(pairs * chunks, [&](std::int64_t task, int worker) {
        const std::int64_t left = task % pairs * 2 * width, cols = std::min(2 * width, c.cols - left);
        const std::int64_t top = task / pairs * tiled_rows, rows = std::min(tiled_rows, c.rows - top);
        T* strip = context.scratch<T>(worker);
        const Matrix<T> block(c.row(top) + left, rows, cols, c.stride);
        for (std::int64_t p = 0; p < inner; p += tiled_inner) {
            const std::int64_t k = std::min(tiled_inner, inner - p);
            const Matrix<const T> part_b = transpose_b ? Matrix<const T>(b.data + p, b.rows, k, b.stride) : b.rows_from(p, k);
            const Matrix<const T> part_a = transpose_a ? Matrix<const T>(a.row(p) + top, k, rows, a.stride)
                                                       : Matrix<const T>(a.row(top) + p, rows, k, a.stride);
            // Two strips: while the first is packed, the lines of the second come along, longer runs of memory.
            for (std::int64_t s = 0; s < cols; s += width) {
                tiled_gemm_kernels<T>().pack(part_b, transpose_b, left + s, strip);
                tiled_gemm_kernels<T>().multiply(part_a, transpose_a, strip, accumulate || p > 0,
                                                 Matrix<T>(block.data + s, rows, std::min(width, cols - s), block.stride));
            }
        }
        finish(block, top, left);
    });
}

// C = A B for sparse rows A, or added to it; the same otherwise.
template <class T, class Finish>
void tiled_sparse_gemm(Context& context, const SparseRows<T>& a, Matrix<const T> b, bool accumulate, Matrix<T> c,
                       const Finish& finish) {
    constexpr std::int64_t width = 64, most = 1024;
    const std::int64_t strips = (c.cols + width - 1) / width, chunks = (c.rows + most - 1) / most;
    context.reserve_scratch(static_cast<std::size_t>(sparse_scratch<T>(std::min(most, c.rows))) * sizeof(T));
    context.parallel_for(strips * chunks, [&](std::int64_t task, int worker) {
        const std::int64_t first = task % strips * width, cols = std::min(width, c.cols - first);
        const std::int64_t top = task / strips * most, rows = std::min(most, c.rows - top);
        SparseRows<T> part = a;
        part.indptr += top;
        part.rows = rows;
        const Matrix<T> block(c.row(top) + first, rows, cols, c.stride);
        tiled_gemm_kernels<T>().multiply_sparse(part, b, first, accumulate, block, context.scratch<T>(worker));
        finish(block, top, first);
    });
}

}  // namespace harmonium
