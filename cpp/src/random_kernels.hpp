// Kernels that fill a row's block of 64 columns with random numbers.
#pragma once

#include "harmonium/philox.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct RandomKernels {
    // out[j] = uniform(draw, row, 64 * block + j), 64 values.
    void (*uniform)(const Draw& draw, std::uint32_t row, std::int64_t block, T* out);
};

HARMONIUM_DECLARE_KERNELS(RandomKernels, random_kernels)

}  // namespace harmonium
