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

// The sum of nothing, which no product writes.
template <class T>
void set_to_zero(Matrix<T> block) {
    for (std::int64_t i = 0; i < block.rows; ++i) std::fill_n(block.row(i), block.cols, T(0));
}

// C = A op(B); finish(block, first row, first column) follows each block of C at once.
template <class T, class Finish>
void tiled_gemm(Context& context, Matrix<const T> a, Matrix<const T> b, bool transpose_b, Matrix<T> c, const Finish& finish) {
    constexpr std::int64_t width = strip_cols<T>();
    const std::int64_t inner = a.cols;
    const std::int64_t pairs = (c.cols + 2 * width - 1) / (2 * width), chunks = (c.rows + tiled_rows - 1) / tiled_rows;
    context.reserve_scratch(static_cast<std::size_t>(std::min(tiled_inner, inner) * width) * sizeof(T) + 64);
    // Rows or columns [left, left + n) of B, of inner indices [p, p + k), as they lie in memory.
    const auto part_of_b = [&](std::int64_t left, std::int64_t n, std::int64_t p) {
        const std::int64_t k = std::min(tiled_inner, inner - p);
        return transpose_b ? Matrix<const T>(b.row(left) + p, n, k, b.stride) : Matrix<const T>(b.row(p) + left, k, n, b.stride);
    };
    context.parallel_for(pairs * chunks, [&](std::int64_t task, int worker) {
        const std::int64_t left = task % pairs * 2 * width, cols = std::min(2 * width, c.cols - left);
        const std::int64_t top = task / pairs * tiled_rows, rows = std::min(tiled_rows, c.rows - top);
        const std::int64_t next = (task + 1) % pairs * 2 * width;  // where the next task begins
        T* packed = context.scratch<T>(worker);
        const Matrix<T> block(c.row(top) + left, rows, cols, c.stride);
        if (inner == 0) set_to_zero(block);
        for (std::int64_t p = 0; p < inner; p += tiled_inner) {
            const std::int64_t k = std::min(tiled_inner, inner - p);
            const Matrix<const T> part_b = transpose_b ? Matrix<const T>(b.data + p, b.rows, k, b.stride) : b.rows_from(p, k);
            const Matrix<const T> part_a(a.row(top) + p, rows, k, a.stride);
            for (std::int64_t s = 0; s < cols; s += width) {
                const Matrix<T> out(block.data + s, rows, std::min(width, cols - s), block.stride);
                const bool same = s + width < cols, same_task = same || p + k < inner;
                const std::int64_t then = same ? left + s + width : same_task ? left : next;
                const Ahead ahead(part_of_b(then, std::min(width, c.cols - then), same ? p : same_task ? p + k : 0));
                Matrix<const T> strip(part_b.data + left + s, k, width, part_b.stride);
                if (transpose_b || !strip_lies_well(part_b, left + s)) {
                    tiled_gemm_kernels<T>().pack(part_b, transpose_b, left + s, packed);
                    strip = Matrix<const T>(packed, k, width);
                }
                const StripProduct<T> product{part_a, strip};
                tiled_gemm_kernels<T>().multiply(&product, 1, false, p > 0, out, ahead);
            }
        }
        finish(block, top, left);
    });
}

// C = A B for sparse rows A; the same otherwise.
template <class T, class Finish>
void tiled_sparse_gemm(Context& context, const SparseRows<T>& a, Matrix<const T> b, Matrix<T> c, const Finish& finish) {
    constexpr std::int64_t width = sparse_bytes / static_cast<std::int64_t>(sizeof(T)), most = 1024;
    const std::int64_t strips = (c.cols + width - 1) / width, n_splits = sparse_tiles(a.cols) - 1;
    const std::int64_t height = strips < context.threads() ? 128 : most;
    context.reserve_scratch(static_cast<std::size_t>(sparse_scratch<T>) * sizeof(T) +
                            static_cast<std::size_t>(std::min(most, a.rows) * n_splits) * sizeof(std::int64_t));
    for (std::int64_t start = 0; start < a.rows; start += most) {
        const std::int64_t n = std::min(most, a.rows - start), chunks = (n + height - 1) / height;
        const auto rows_of_a = [&](std::int64_t first, std::int64_t count) {
            SparseRows<T> part = a;
            part.indptr += start + first;
            part.rows = count;
            return part;
        };
        // The first worker's memory holds them for all.
        auto* splits = reinterpret_cast<std::int64_t*>(context.scratch<T>(0) + sparse_scratch<T>);
        sparse_splits(rows_of_a(0, n), splits);
        context.parallel_for(strips * chunks, [&](std::int64_t task, int worker) {
            const std::int64_t first = task % strips * width, top = task / strips * height;
            const Matrix<T> block(c.row(start + top) + first, std::min(height, n - top), std::min(width, c.cols - first), c.stride);
            tiled_gemm_kernels<T>().multiply_sparse(rows_of_a(top, block.rows), splits + top * n_splits, b, first, false, block,
                                                    context.scratch<T>(worker));
            finish(block, start + top, first);
        });
    }
}

}  // namespace harmonium
