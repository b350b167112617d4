// Kernels that multiply rows of bits, or sparse rows, by one panel of at most 64 columns.
#pragma once

#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

constexpr std::int64_t rows_per_multiply = 512;
constexpr int words_at_once = 4;  // neighbouring words of few bits share the loads and stores of the accumulators

template <class T>
struct BinaryGemmKernels {
    // acc (a.rows x b.cols) = a b, or acc += a b, for a of at most rows_per_multiply rows, b of at most 64 columns, a multiple of 16;
    // b.rows == a.cols.
    void (*multiply)(ConstBitMatrix a, Matrix<const T> b, bool accumulate, Matrix<T> acc, T* scratch);
    // acc += a b for a sparse a.
    void (*multiply_sparse)(const SparseRows<T>& a, Matrix<const T> b, Matrix<T> acc);
    // to (from.cols rounded up to 16 x 64) = from^T, for from of at most 64 rows; what from lacks is filled with zeros.
    void (*transpose)(Matrix<const T> from, Matrix<T> to);
};

// What multiply needs of scratch, in elements: the larger of the tables of 64 inputs by one cache line
// (12 groups of 5 and one of 4), and words_at_once tiles of 64 x 64 with the sums of their 32 pairs of rows.
template <class T>
constexpr std::int64_t multiply_scratch() {
    constexpr std::int64_t tables = (12 * 32 + 16) * (64 / sizeof(T));
    constexpr std::int64_t tiles = words_at_once * (64 + 32) * 64;
    return tables > tiles ? tables : tiles;
}

HARMONIUM_DECLARE_KERNELS(BinaryGemmKernels, binary_gemm_kernels)

}  // namespace harmonium
