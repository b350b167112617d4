// The states of a layer of units, in whichever form they come: bits, sparse rows, or numbers in [0, 1].
#pragma once

#include "harmonium/matrix.hpp"

namespace harmonium {

template <class T>
struct States {
    ConstBitMatrix bits;
    SparseRows<T> sparse;
    Matrix<const T> dense;

    States() = default;
    States(ConstBitMatrix bits_) : bits(bits_) {}
    States(BitMatrix bits_) : bits(bits_) {}
    States(SparseRows<T> sparse_) : sparse(sparse_) {}
    States(Matrix<const T> dense_) : dense(dense_) {}
    States(Matrix<T> dense_) : dense(dense_) {}

    bool is_bits() const { return bits.data || bits.rows || bits.cols; }  // also where there is none of them
    bool bits_only() const { return is_bits() || (is_sparse() && !sparse.values); }  // every state is 0 or 1
    bool is_sparse() const { return sparse.indptr != nullptr; }
    std::int64_t rows() const { return is_bits() ? bits.rows : is_sparse() ? sparse.rows : dense.rows; }
    std::int64_t cols() const { return is_bits() ? bits.cols : is_sparse() ? sparse.cols : dense.cols; }
    States rows_from(std::int64_t first, std::int64_t count) const {
        States part = *this;
        if (is_bits()) part.bits = bits.rows_from(first, count);
        if (is_sparse()) part.sparse.indptr += first, part.sparse.rows = count;
        if (dense) part.dense = dense.rows_from(first, count);
        return part;
    }
};

}  // namespace harmonium
