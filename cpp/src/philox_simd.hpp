// Philox on vectors of counters: the uniforms of a block of 64 columns, the same numbers as uniform() of philox.hpp.
// Included by *_cpu.cpp only.
#pragma once

#include "harmonium/philox.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

constexpr int piece = 16;  // columns that share one word of 16 counters, see philox_word

// The four words of Simd<uint64_t>::lanes counters, the first of them the block's counter number `first`.
struct FourWords {
    Words c[4];

    HARMONIUM_INLINE FourWords(const Draw& draw, std::uint32_t row, std::int64_t block, int first) {
        Words lane;
        for (int j = 0; j < Simd<std::uint64_t>::lanes; ++j) lane[j] = static_cast<std::uint64_t>(j);
        c[0] = lane + static_cast<std::uint64_t>(block * piece + first);
        c[1] = Words{} + row;
        c[2] = Words{} + draw.step;
        c[3] = Words{} + draw.stream;
        auto k0 = static_cast<std::uint32_t>(draw.seed), k1 = static_cast<std::uint32_t>(draw.seed >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < 10; ++round) {
            philox_round<Words>(c[0], c[1], c[2], c[3], Words{} + k0, Words{} + k1, multiply_low);
            k0 += philox_weyl_0;
            k1 += philox_weyl_1;
        }
    }
};

// Calls use(j, the uniforms of columns [j, j + lanes) of the block) for all of its 64 columns.
template <class T, class Use>
HARMONIUM_INLINE void for_uniforms(const Draw& draw, std::uint32_t row, std::int64_t block, const Use& use) {
    constexpr int lanes = Simd<std::uint64_t>::lanes, step = Simd<T>::lanes;
#pragma GCC unroll 4
    for (int first = 0; first < piece; first += step) {
        const FourWords lo(draw, row, block, first);
        if constexpr (step > lanes) {
            const FourWords hi(draw, row, block, first + lanes);
#pragma GCC unroll 4
            for (int w = 0; w < 4; ++w) use(w * piece + first, unit_intervals(lo.c[w], hi.c[w]));
        } else {
#pragma GCC unroll 4
            for (int w = 0; w < 4; ++w) use(w * piece + first, unit_intervals(lo.c[w]));
        }
    }
}

}  // namespace
}  // namespace harmonium
