// The functions of math.hpp over arrays, at the level in use: what tests measure is what kernels compute.
#pragma once

#include <cstdint>

#include "isa.hpp"

namespace harmonium {

template <class T>
struct ElementwiseKernels {
    void (*exp)(const T* x, std::int64_t n, T* out);
    void (*sigmoid)(const T* x, std::int64_t n, T* out);
    void (*softplus)(const T* x, std::int64_t n, T* out);
};

HARMONIUM_DECLARE_KERNELS(ElementwiseKernels, elementwise_kernels)

}  // namespace harmonium
