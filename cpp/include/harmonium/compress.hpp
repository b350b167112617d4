// Sparse forms of a dense batch: where most entries are 0, products with it are sums of few rows.
#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium {

// How many entries are not 0.
template <class T>
std::int64_t count_nonzeros(Matrix<const T> x);

// The entries that are not 0 as sparse rows in the caller's memory: indptr holds rows + 1 values; indices and values have
// room for all of them and 16 more.
template <class T>
SparseRows<T> compress(Matrix<const T> x, std::int64_t* indptr, std::int32_t* indices, T* values);

// Columns of x as sparse rows, entries in the order of x's rows. indptr: cols + 1, indices and values as x's.
template <class T>
SparseRows<T> sparse_columns(const SparseRows<T>& x, std::int64_t* indptr, std::int32_t* indices, T* values);

}  // namespace harmonium
