// float32 as a sum of bfloat16 numbers, which tensor cores multiply exactly.
#pragma once

#include <cstdint>

#include "harmonium/math.hpp"

namespace harmonium {

// The upper half of a float32: 8 significant bits and all of its range. Rounded to nearest, ties to even.
struct Bfloat16 {
    std::uint16_t bits;
};

HARMONIUM_HOST_DEVICE inline Bfloat16 to_bfloat16(float x) {
    const auto word = detail::bits_as<std::uint32_t>(x);
    const bool nan = (word & 0x7FFFFFFFu) > 0x7F800000u;
    return {static_cast<std::uint16_t>(nan ? 0x7FFFu : (word + 0x7FFFu + (word >> 16 & 1u)) >> 16)};
}
HARMONIUM_HOST_DEVICE inline float to_float(Bfloat16 x) {
    return detail::bits_as<float>(static_cast<std::uint32_t>(x.bits) << 16);
}

// part[0] + part[1] + ...: x rounded, then what is left of it rounded, and so on, count <= 3.
//   Error of the sum for 2^-108 <= |x| < 2^127: three parts have all of x's 24 bits, it is 0; two 2^-17 |x|; one 2^-8 |x|.
//   Below 2^-108 three parts err by 2^-134 at most.
HARMONIUM_HOST_DEVICE inline void split(float x, int count, Bfloat16* part) {
    for (int p = 0; p < count; ++p) {
        part[p] = to_bfloat16(x);
        x -= to_float(part[p]);
    }
}

}  // namespace harmonium
