#pragma once

#include <cstdint>

#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct DictionaryKernels {
    // Rows first to last of A += share H^T H and B += share H^T X.
    void (*statistics)(const SparseRows<T>& h, Matrix<const T> x, double share, std::int64_t first, std::int64_t last,
                       Matrix<double> a, Matrix<double> b);
    // y += factor x
    void (*add_multiple)(double factor, const double* x, std::int64_t n, double* y);
    // d <- u / |u|, of u's positive part if so wanted; false and d unchanged where that is 0
    bool (*normalise)(const double* u, std::int64_t n, bool positive, double* d);
};

HARMONIUM_DECLARE_KERNELS(DictionaryKernels, dictionary_kernels)

}  // namespace harmonium
