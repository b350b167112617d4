// Products one strip of a few vectors of columns at a time: of a dense matrix, whose rows are read as they stand, and of
// sparse rows.
#pragma once

#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

constexpr std::int64_t strip_bytes = 128;  // of a row of a strip

template <class T>
constexpr std::int64_t strip_cols() {
    return strip_bytes / static_cast<std::int64_t>(sizeof(T));
}

template <class T>
struct TiledGemmKernels {
    // strip (k x strip_cols) = columns [first, first + strip_cols) of op(B), k x n, zeros beyond its last.
    void (*pack)(Matrix<const T> b, bool transpose_b, std::int64_t first, T* strip);
    // c (m x at most strip_cols) = op(A) strip, or added to it: every element a sum over k in order, fused.
    void (*multiply)(Matrix<const T> a, bool transpose_a, const T* strip, bool accumulate, Matrix<T> c);
    // The same for sparse rows a and columns [first, first + c.cols) of B, of at most 64. scratch: sparse_scratch(a.rows).
    void (*multiply_sparse)(const SparseRows<T>& a, Matrix<const T> b, std::int64_t first, bool accumulate, Matrix<T> c, T* scratch);
};

constexpr std::int64_t sparse_tile = 112;  // rows of B that are worked on at a time: with 64 columns they stay in the first cache

// In elements of T: a tile of B, and where each row of a has come to.
template <class T>
constexpr std::int64_t sparse_scratch(std::int64_t rows) {
    return sparse_tile * 64 + rows * 8 / static_cast<std::int64_t>(sizeof(T)) + 16;
}

HARMONIUM_DECLARE_KERNELS(TiledGemmKernels, tiled_gemm_kernels)

}  // namespace harmonium
