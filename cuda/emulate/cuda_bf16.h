// A stand-in for NVIDIA's header of this name: bfloat16 as the upper half of a float32, rounded to nearest even.
#pragma once

#include <cstdint>
#include <cstring>

struct alignas(2) __nv_bfloat16 {
    std::uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

inline float __bfloat162float(__nv_bfloat16 x) {
    const std::uint32_t word = static_cast<std::uint32_t>(x.bits) << 16;
    float y;
    std::memcpy(&y, &word, 4);
    return y;
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    std::uint32_t word;
    std::memcpy(&word, &x, 4);
    if (x != x) return {0x7FFF};
    return {static_cast<std::uint16_t>((word + 0x7FFF + (word >> 16 & 1)) >> 16)};
}
inline __nv_bfloat16 __float2bfloat16(float x) { return __float2bfloat16_rn(x); }
inline std::uint16_t __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(std::uint16_t x) { return {x}; }
