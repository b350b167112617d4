#include "harmonium/compress.hpp"

#include <algorithm>

#include "compress_kernels.hpp"

namespace harmonium {

template <class T>
SparseRows<T> compress(Matrix<const T> x, const std::int64_t* order, std::int64_t n, std::int64_t most, std::int64_t* indptr,
                       std::int32_t* indices, T* values) {
    indptr[0] = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const T* row = x.row(order ? order[i] : i);
        indptr[i + 1] = indptr[i] + compress_kernels<T>().compress(row, x.cols, indices + indptr[i], values + indptr[i]);
        if (indptr[i + 1] > most) return {};
    }
    return {indptr, indices, values, n, x.cols};
}

template <class T>
SparseRows<T> sparse_columns(const SparseRows<T>& x, std::int64_t* indptr, std::int32_t* indices, T* values) {
    std::fill(indptr, indptr + x.cols + 1, std::int64_t(0));
    const std::int64_t first = x.indptr[0], end = x.indptr[x.rows];
    for (std::int64_t k = first; k < end; ++k) ++indptr[x.indices[k] + 1];
    for (std::int64_t j = 0; j < x.cols; ++j) indptr[j + 1] += indptr[j];
    // Places move on while they are filled; afterwards each stands where the next column begins.
    for (std::int64_t i = 0; i < x.rows; ++i) {
        for (std::int64_t k = x.indptr[i]; k < x.indptr[i + 1]; ++k) {
            const std::int64_t place = indptr[x.indices[k]]++;
            indices[place] = static_cast<std::int32_t>(i);
            values[place] = x.values ? x.values[k] : T(1);
        }
    }
    std::copy_backward(indptr, indptr + x.cols, indptr + x.cols + 1);
    indptr[0] = 0;
    return {indptr, indices, values, x.cols, x.rows};
}

#define HARMONIUM_INSTANTIATE(T)                                                                            \
    template SparseRows<T> compress(Matrix<const T>, const std::int64_t*, std::int64_t, std::int64_t,       \
                                    std::int64_t*, std::int32_t*, T*);                                      \
    template SparseRows<T> sparse_columns(const SparseRows<T>&, std::int64_t*, std::int32_t*, T*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
