// Products one strip of a few vectors of columns at a time: of a dense matrix, whose rows are read as they stand, and of
// sparse rows.
#pragma once

#include <algorithm>

#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

constexpr std::int64_t strip_bytes = 128;  // of a row of a strip

template <class T>
constexpr std::int64_t strip_cols() {
    return strip_bytes / static_cast<std::int64_t>(sizeof(T));
}

// Memory that is wanted after a product: so many rows, of so many bytes each, in up to three places laid out alike. It is
// fetched into the second-level cache little by little while the product runs, which alone would leave memory idle.
struct Ahead {
    static constexpr int most = 3;
    const char* places[most] = {};
    int count = 0;
    std::int64_t rows = 0, row_bytes = 0, stride_bytes = 0;

    Ahead() = default;
    template <class T>
    explicit Ahead(Matrix<const T> m)
        : rows(m.rows), row_bytes(m.cols * static_cast<std::int64_t>(sizeof(T))), stride_bytes(m.stride * static_cast<std::int64_t>(sizeof(T))) {
        add(m.data);
    }
    void add(const void* place) { places[count++] = static_cast<const char*>(place); }
    Ahead rows_from(std::int64_t first, std::int64_t n) const {
        Ahead part = *this;
        for (int i = 0; i < count; ++i) part.places[i] += first * stride_bytes;
        part.rows = n;
        return part;
    }
};

// op(A) times a strip of B's columns, k x strip_cols.
template <class T>
struct StripProduct {
    Matrix<const T> a, strip;
};

template <class T>
struct TiledGemmKernels {
    // strip (k x strip_cols) = columns [first, first + strip_cols) of op(B), k x n, zeros beyond its last.
    void (*pack)(Matrix<const T> b, bool transpose_b, std::int64_t first, T* strip);
    // c (m x at most strip_cols) = the sum of n products, or added to it: every element a sum over the first's k in order, then
    // over the next one's, fused.
    void (*multiply)(const StripProduct<T>* products, int n, bool transpose_a, bool accumulate, Matrix<T> c, const Ahead& ahead);
    // The same for sparse rows a and columns [first, first + c.cols) of B. splits: sparse_splits(a). scratch: sparse_scratch.
    void (*multiply_sparse)(const SparseRows<T>& a, const std::int64_t* splits, Matrix<const T> b, std::int64_t first,
                            bool accumulate, Matrix<T> c, T* scratch);
};

// Columns of a strip that a product reads to give so many: it works in quarters.
template <class T>
std::int64_t columns_read(std::int64_t columns) {
    constexpr std::int64_t quarter = strip_cols<T>() / 4;
    return std::min((columns + quarter - 1) / quarter * quarter, strip_cols<T>());
}

// Whether a strip of B is read where it lies: all its columns are there, and its rows do not drive each other out of the caches.
template <class T>
bool strip_lies_well(Matrix<const T> b, std::int64_t first) {
    return first + columns_read<T>(b.cols - first) <= b.cols && b.stride * static_cast<std::int64_t>(sizeof(T)) % 1024 != 0;
}

// Rows of B that a sparse product works on at a time, with so many bytes of each: fewer would stay in the first cache, but then
// sums are short, and beginning one costs as much as ten products.
constexpr std::int64_t sparse_tile = 264, sparse_bytes = 256;
template <class T>
constexpr std::int64_t sparse_scratch = sparse_tile * sparse_bytes / static_cast<std::int64_t>(sizeof(T));

inline std::int64_t sparse_tiles(std::int64_t inner) { return std::max<std::int64_t>((inner + sparse_tile - 1) / sparse_tile, 1); }
// Where each row of a passes from one tile to the next: a.rows x (sparse_tiles(a.cols) - 1) places.
template <class T>
void sparse_splits(const SparseRows<T>& a, std::int64_t* splits) {
    for (std::int64_t r = 0; r < a.rows; ++r) {
        const std::int32_t *at = a.indices + a.indptr[r], *end = a.indices + a.indptr[r + 1];
        for (std::int64_t t = 1; t < sparse_tiles(a.cols); ++t) {
            at = std::lower_bound(at, end, static_cast<std::int32_t>(t * sparse_tile));
            *splits++ = at - a.indices;
        }
    }
}

HARMONIUM_DECLARE_KERNELS(TiledGemmKernels, tiled_gemm_kernels)

}  // namespace harmonium
