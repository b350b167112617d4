// Sparse forms of a dense batch: where most entries are 0, products with it are sums of few rows.
#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium {

// Rows order[0], ..., order[n - 1] of x, or its first n where order is null, as sparse rows of what is not 0, in the caller's
// memory: indptr holds n + 1 values, indices and values compress_places(most, x.cols). No rows (indptr null) where more than
// `most` entries are not 0.
template <class T>
SparseRows<T> compress(Matrix<const T> x, const std::int64_t* order, std::int64_t n, std::int64_t most, std::int64_t* indptr,
                       std::int32_t* indices, T* values);
inline std::int64_t compress_places(std::int64_t most, std::int64_t cols) { return most + cols + 16; }

// Columns of x as sparse rows, entries in the order of x's rows. indptr: cols + 1, indices and values as x's.
template <class T>
SparseRows<T> sparse_columns(const SparseRows<T>& x, std::int64_t* indptr, std::int32_t* indices, T* values);

}  // namespace harmonium
