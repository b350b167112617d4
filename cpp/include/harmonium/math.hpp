// The only place where elementary functions are written, for host and device and for every SIMD level.
// Branch-free and without calls, so that a compiler vectorises loops over them. Compiled with -ffp-contract=off: what is
// fused is written as multiply_add, so every processor with that instruction (x86-64-v3 and v4, NEON, CUDA) gives the same
// bits; x86-64 before v3 multiplies and adds, within the same bounds.
#pragma once

#include <cstdint>
#include <cstring>

#include "harmonium/philox.hpp"

// A loop within a loop is unrolled too late for the outer one to be vectorised, unless it is asked for.
#define HARMONIUM_PRAGMA(text) _Pragma(#text)
#if defined(__GNUC__)
#define HARMONIUM_UNROLL(times) HARMONIUM_PRAGMA(GCC unroll times)
#else
#define HARMONIUM_UNROLL(times)
#endif

namespace harmonium {

namespace detail {
template <class To, class From>
HARMONIUM_HOST_DEVICE inline To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

// a b + c, rounded once where the processor can.
template <class T>
HARMONIUM_HOST_DEVICE inline T multiply_add(T a, T b, T c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__CUDA_ARCH__)
    if constexpr (sizeof(T) == 4) return __builtin_fmaf(a, b, c);
    else return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}
}  // namespace detail

// exp(x). Cody and Waite reduction x = n log 2 + r, |r| <= log(2) / 2, then the Taylor polynomial of exp(r).
// Max error 2 ulp on [-87, 88] (float), [-708, 709] (double); arguments beyond are clamped to these ends.
HARMONIUM_HOST_DEVICE inline float exp(float x) {
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    const float shifted = detail::multiply_add(x, 1.44269504f, 12582912.0f);  // 1.5 * 2^23: the sum's low bits are round(x / log 2)
    const float n = shifted - 12582912.0f;
    const float r = detail::multiply_add(n, 2.12194440e-4f, detail::multiply_add(n, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = detail::multiply_add(p, r, 1.3981999507e-3f);
    p = detail::multiply_add(p, r, 8.3334519073e-3f);
    p = detail::multiply_add(p, r, 4.1665795894e-2f);
    p = detail::multiply_add(p, r, 1.6666665459e-1f);
    p = detail::multiply_add(p, r, 5.0000001201e-1f);
    p = detail::multiply_add(p * r, r, r) + 1.0f;
    const auto exponent = static_cast<std::int32_t>(n);
    return p * detail::bits_as<float>((exponent + 127) << 23);
}

HARMONIUM_HOST_DEVICE inline double exp(double x) {
    x = x > 709.0 ? 709.0 : x;
    x = x < -708.0 ? -708.0 : x;
    const double shifted = detail::multiply_add(x, 1.4426950408889634, 6755399441055744.0);  // 1.5 * 2^52
    const double n = shifted - 6755399441055744.0;
    const double r = detail::multiply_add(n, -1.42860682030941723212e-6, detail::multiply_add(n, -6.93145751953125e-1, x));
    double p = 1.0 / 6227020800.0;  // 1 / 13!
    p = detail::multiply_add(p, r, 1.0 / 479001600.0);
    p = detail::multiply_add(p, r, 1.0 / 39916800.0);
    p = detail::multiply_add(p, r, 1.0 / 3628800.0);
    p = detail::multiply_add(p, r, 1.0 / 362880.0);
    p = detail::multiply_add(p, r, 1.0 / 40320.0);
    p = detail::multiply_add(p, r, 1.0 / 5040.0);
    p = detail::multiply_add(p, r, 1.0 / 720.0);
    p = detail::multiply_add(p, r, 1.0 / 120.0);
    p = detail::multiply_add(p, r, 1.0 / 24.0);
    p = detail::multiply_add(p, r, 1.0 / 6.0);
    p = detail::multiply_add(p, r, 0.5);
    p = detail::multiply_add(p * r, r, r) + 1.0;
    // The integer n sits in the low bits of `shifted`; this spares a conversion that SSE2 and AVX2 lack.
    const auto exponent = detail::bits_as<std::uint64_t>(shifted) << 52;
    return detail::bits_as<double>(detail::bits_as<std::uint64_t>(p) + exponent);
}

// 1 / (1 + exp(-x)). Max error 4 ulp.
template <class T>
HARMONIUM_HOST_DEVICE inline T sigmoid(T x) {
    return T(1) / (T(1) + exp(-x));
}

// The minimiser over h of 0.5 (h - x)^2 + a |h|, a >= 0: sign(x) max(|x| - a, 0). Exact zeros; |x| - a is rounded once.
template <class T>
HARMONIUM_HOST_DEVICE inline T shrink(T x, T a) {
    const T within = x < a ? x : a;
    return x - (within > -a ? within : -a);
}

// The same over h >= 0.
template <class T>
HARMONIUM_HOST_DEVICE inline T shrink_positive(T x, T a) {
    return x <= a ? T{} : x - a;
}

// log(1 + y) for y in [0, 1], by 2 artanh(y / (2 + y)). Max error 4 ulp.
HARMONIUM_HOST_DEVICE inline float log1p_unit(float y) {
    const float s = y / (2.0f + y);
    const float s2 = s * s;
    float p = 1.0f / 15.0f;
    p = detail::multiply_add(p, s2, 1.0f / 13.0f);
    p = detail::multiply_add(p, s2, 1.0f / 11.0f);
    p = detail::multiply_add(p, s2, 1.0f / 9.0f);
    p = detail::multiply_add(p, s2, 1.0f / 7.0f);
    p = detail::multiply_add(p, s2, 1.0f / 5.0f);
    p = detail::multiply_add(p, s2, 1.0f / 3.0f);
    return 2.0f * s * detail::multiply_add(p, s2, 1.0f);
}

HARMONIUM_HOST_DEVICE inline double log1p_unit(double y) {
    const double s = y / (2.0 + y);
    const double s2 = s * s;
    double p = 1.0 / 33.0;
    HARMONIUM_UNROLL(15)
    for (int k = 31; k >= 3; k -= 2) p = detail::multiply_add(p, s2, 1.0 / k);
    return 2.0 * s * detail::multiply_add(p, s2, 1.0);
}

// log(1 + exp(x)), the free energy's term for one unit. Max error 4 ulp.
template <class T>
HARMONIUM_HOST_DEVICE inline T softplus(T x) {
    const T magnitude = x < 0 ? -x : x;
    return (x > 0 ? x : T(0)) + log1p_unit(exp(-magnitude));
}

// log(x) for normal x > 0: x = 2^n m with m in [sqrt(1/2), sqrt(2)), log m = 2 artanh((m - 1) / (m + 1)). Max 4 ulp.
HARMONIUM_HOST_DEVICE inline double log(double x) {
    // n + 1023, never negative: vectors before AVX-512 have no signed shift of 64 bits, nor a conversion to double.
    const auto bits = detail::bits_as<std::uint64_t>(x);
    const std::uint64_t one = 0x3FF0000000000000, root_of_half = 0x3FE6A09E667F3BCD;  // bits of 1 and of sqrt(1/2)
    const std::uint64_t biased = (bits - root_of_half + one) >> 52;
    const double m = detail::bits_as<double>(bits - (biased << 52) + one);
    const double s = (m - 1.0) / (m + 1.0);
    const double s2 = s * s;
    double p = 1.0 / 23.0;
    HARMONIUM_UNROLL(10)
    for (int k = 21; k >= 3; k -= 2) p = detail::multiply_add(p, s2, 1.0 / k);
    const double scale = detail::bits_as<double>(biased | 0x4330000000000000) - (0x1p52 + 1023.0);
    return detail::multiply_add(scale, 6.93147180369123816490e-01,
                        detail::multiply_add(scale, 1.90821492927058770002e-10, 2.0 * s * detail::multiply_add(p, s2, 1.0)));
}

// tanh(x). Below 1/2 Lambert's continued fraction x / (1 + x^2 / (3 + x^2 / (5 + ...))), beyond by exp. Max error 6 ulp.
template <class T>
HARMONIUM_HOST_DEVICE inline T tanh(T x) {
    const T magnitude = x < 0 ? -x : x, square = x * x;
    T above = 1, below = 1, last_above = 0, last_below = 1;  // convergents by their recurrence: one division
    HARMONIUM_UNROLL(8)
    for (int k = 1; k <= (sizeof(T) == 4 ? 4 : 7); ++k) {
        const T odd = static_cast<T>(2 * k + 1);
        const T a = detail::multiply_add(square, last_above, odd * above), b = detail::multiply_add(square, last_below, odd * below);
        last_above = above, last_below = below, above = a, below = b;
    }
    const T near = magnitude * above / below;
    const T far = T(1) - T(2) / (T(1) + exp(magnitude + magnitude));
    const T y = magnitude < T(0.5) ? near : far;
    return x < 0 ? -y : y;
}

// log(x!) for x >= 0: Stirling's series at x + 9 after that many steps of the recurrence. Max error 1e-14 (1 + the value).
HARMONIUM_HOST_DEVICE inline double log_factorial(double x) {
    double product = 1.0, y = x + 1.0;
    for (int k = 0; k < 8; ++k) {
        const bool small = y < 9.0;
        product *= small ? y : 1.0;
        y += small ? 1.0 : 0.0;
    }
    const double r = 1.0 / y, r2 = r * r;
    const double series = r * (1.0 / 12.0 - r2 * (1.0 / 360.0 - r2 * (1.0 / 1260.0 - r2 * (1.0 / 1680.0 - r2 / 1188.0))));
    return (y - 0.5) * log(y) - y + 0.91893853320467274178 + series - log(product);
}

}  // namespace harmonium
