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

template <class T>
struct InputKernels {
    // words bit j = x[j] != 0; false if x holds more than zeros and ones (or a negative zero): words are not whole then.
    bool (*pack_row)(const T* x, std::int64_t cols, std::uint64_t* words);
};

HARMONIUM_DECLARE_KERNELS(InputKernels, input_kernels)

}  // namespace harmonium
