#pragma once

#include "harmonium/corrupt.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct CorruptKernels {
    // One row x of n columns with its uniforms u (n rounded up to 64 values of room).
    void (*uniforms)(const Draw& draw, std::uint32_t row, std::int64_t n, T* u);
    void (*corrupt)(Corruption kind, T level, const T* u, const T* low, const T* high, std::int64_t n, T* x);
};

HARMONIUM_DECLARE_KERNELS(CorruptKernels, corrupt_kernels)

}  // namespace harmonium
