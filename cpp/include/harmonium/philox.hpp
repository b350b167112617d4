// Random numbers as a function of where they are used, not of when: Philox4x32-10.
// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 5.
// uniform(seed, stream, step, row, column) is the same on every thread count, SIMD level and device.
#pragma once

#include <cstdint>

#include "harmonium/host_device.hpp"

namespace harmonium {

// Who draws: part of the counter, so that no two uses ever share a number.
enum class Stream : std::uint32_t { hidden = 0, visible = 1, start = 2, shuffle = 3, weights = 4, user = 5, data = 6, swap = 7,
                                   missing_hidden = 8, missing_visible = 9, sizes = 10, corruption = 11, dropout = 12 };

struct Draw {
    std::uint64_t seed = 0;
    std::uint32_t stream = 0;
    std::uint32_t step = 0;

    Draw() = default;
    HARMONIUM_HOST_DEVICE Draw(std::uint64_t seed_, Stream stream_, std::uint64_t step_)
        : seed(seed_),
          // Steps past 2^32 go on in the stream word's upper bits.
          stream(static_cast<std::uint32_t>(stream_) | static_cast<std::uint32_t>(step_ >> 32) << 8),
          step(static_cast<std::uint32_t>(step_)) {}
};

struct Philox4 {
    std::uint32_t word[4];
};

// One round on words held in the low halves of 64-bit numbers, or of vectors of such: Multiply gives the full product of
// two low halves. High halves may hold anything, no operation carries them into a low one; so nothing needs masking.
template <class Wide, class Multiply>
HARMONIUM_HOST_DEVICE inline void philox_round(Wide& c0, Wide& c1, Wide& c2, Wide& c3, Wide k0, Wide k1,
                                               const Multiply& multiply) {
    const Wide p0 = multiply(c0, 0xD2511F53u);
    const Wide p1 = multiply(c2, 0xCD9E8D57u);
    c0 = (p1 >> 32) ^ c1 ^ k0;
    c2 = (p0 >> 32) ^ c3 ^ k1;
    c1 = p1;
    c3 = p0;
}

constexpr std::uint32_t philox_weyl_0 = 0x9E3779B9u;
constexpr std::uint32_t philox_weyl_1 = 0xBB67AE85u;

HARMONIUM_HOST_DEVICE inline Philox4 philox4x32_10(std::uint32_t counter0, std::uint32_t counter1,
                                                   std::uint32_t counter2, std::uint32_t counter3, std::uint32_t k0,
                                                   std::uint32_t k1) {
    std::uint64_t c0 = counter0, c1 = counter1, c2 = counter2, c3 = counter3;
    const auto multiply = [](std::uint64_t a, std::uint32_t b) { return (a & 0xFFFFFFFFu) * b; };
    for (int round = 0; round < 10; ++round) {
        philox_round<std::uint64_t>(c0, c1, c2, c3, k0, k1, multiply);
        k0 += philox_weyl_0;
        k1 += philox_weyl_1;
    }
    return {{static_cast<std::uint32_t>(c0), static_cast<std::uint32_t>(c1), static_cast<std::uint32_t>(c2),
             static_cast<std::uint32_t>(c3)}};
}

// The four words of one counter of a row.
HARMONIUM_HOST_DEVICE inline Philox4 philox_counter(const Draw& draw, std::uint32_t row, std::uint32_t counter) {
    return philox4x32_10(counter, row, draw.step, draw.stream, static_cast<std::uint32_t>(draw.seed),
                         static_cast<std::uint32_t>(draw.seed >> 32));
}

// Of the 64 columns of a block, columns 16 w + j take word w of counter 16 * block + j: vectors of any width fill
// consecutive columns without a shuffle.
HARMONIUM_HOST_DEVICE inline std::uint32_t philox_word(const Draw& draw, std::uint32_t row, std::uint64_t column) {
    return philox_counter(draw, row, static_cast<std::uint32_t>(column / 64 * 16 + column % 16)).word[column / 16 % 4];
}

// In [0, 1): 24 bits fill a float, 32 bits a double, the former being the latter cut short.
template <class T>
HARMONIUM_HOST_DEVICE inline T unit_interval(std::uint32_t word);
template <>
HARMONIUM_HOST_DEVICE inline float unit_interval<float>(std::uint32_t word) {
    return static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24f;
}
template <>
HARMONIUM_HOST_DEVICE inline double unit_interval<double>(std::uint32_t word) {
    return static_cast<double>(word) * 0x1p-32;
}

template <class T>
HARMONIUM_HOST_DEVICE inline T uniform(const Draw& draw, std::uint32_t row, std::uint64_t column) {
    return unit_interval<T>(philox_word(draw, row, column));
}

}  // namespace harmonium
