// Kernels on words of bits.
#pragma once

#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

template <class Word>
struct PackKernels {
    // In place: 64 x 64 bits, a[i] bit j <-> a[j] bit i.
    void (*transpose_block)(Word* a);
    void (*count)(ConstBitMatrix bits, const Word* mask, std::int64_t* selected, std::int64_t* others);
};

HARMONIUM_DECLARE_KERNELS(PackKernels, pack_kernels)

}  // namespace harmonium
