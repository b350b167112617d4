#pragma once

#include <cstdint>

#include "isa.hpp"

namespace harmonium {

template <class T>
struct CompressKernels {
    // Writes indices and values of what is not 0, returns how many; 16 more places than that may be written to.
    std::int64_t (*compress)(const T* x, std::int64_t n, std::int32_t* indices, T* values);
};

HARMONIUM_DECLARE_KERNELS(CompressKernels, compress_kernels)

}  // namespace harmonium
