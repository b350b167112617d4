// Kernels on a block of at most 64 columns, whose number in the layer is block.
#pragma once

#include "harmonium/matrix.hpp"
#include "harmonium/philox.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct BernoulliBlock {
    Matrix<const T> activation;  // n x cols, cols a multiple of 16
    std::int64_t valid = 0;      // columns that exist; the rest is padding
    const T* bias = nullptr;     // valid values
    T scale = 1;
    std::uint32_t first_row = 0;
    std::int64_t block = 0;
    Draw draw;
    Matrix<T> probability;  // may be the activation itself; no data: not wanted
    T probability_scale = 1;
    std::uint64_t* bits = nullptr;  // one word a row; null: not wanted
    std::int64_t bit_stride = 0;
    double* dot = nullptr;          // per row the sum of activation + dot_bias where bits are drawn; null: not wanted
    const T* dot_bias = nullptr;
};

template <class T>
struct BernoulliKernels {
    void (*bernoulli)(const BernoulliBlock<T>&);
    // out[i] = sum over columns of softplus(scale * activation(i, j) + bias[j]), in double.
    void (*softplus_sum)(const BernoulliBlock<T>&, double* out);
    // Bit j is uniform(draw, row, 64 * block + j) < p[j], for 64 columns.
    std::uint64_t (*draw)(const Draw& draw, std::uint32_t row, std::int64_t block, const T* p);
};

HARMONIUM_DECLARE_KERNELS(BernoulliKernels, bernoulli_kernels)

}  // namespace harmonium
