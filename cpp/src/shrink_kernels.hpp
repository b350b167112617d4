#pragma once

#include <cstdint>

#include "isa.hpp"

namespace harmonium {

template <class T>
struct ShrinkKernels {
    // out_j = shrink(x_j, a_j), one row of n values
    void (*any)(const T* x, const T* a, std::int64_t n, T* out);
    // out_j = max(x_j - a_j, 0)
    void (*positive)(const T* x, const T* a, std::int64_t n, T* out);
};

HARMONIUM_DECLARE_KERNELS(ShrinkKernels, shrink_kernels)

}  // namespace harmonium
