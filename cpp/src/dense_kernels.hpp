// Kernels on blocks of a layer's activations.
#pragma once

#include "harmonium/activation.hpp"
#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct DenseKernels {
    // block = f(block + bias).
    void (*activate)(Activation f, const T* bias, Matrix<T> block);
    // block *= f'(z) where f(z) = a_scale a.
    void (*slope)(Activation f, Matrix<const T> a, T a_scale, Matrix<T> block);
    // out[j] = the sum of column j, row after row, or added to it.
    void (*column_sums)(Matrix<const T> m, bool accumulate, T* out);
    // One row: x[j] is kept and divided by 1 - rate where its draw is at least rate, else 0.
    void (*dropout)(T rate, const Draw& draw, std::uint32_t row, T* x, std::int64_t n);
};

HARMONIUM_DECLARE_KERNELS(DenseKernels, dense_kernels)

}  // namespace harmonium
