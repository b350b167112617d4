// A square of as many rows and columns as a vector has lanes, transposed in registers. Included by *_cpu.cpp only.
#pragma once

#include "simd.hpp"

namespace harmonium {
namespace {

// By log2(lanes) rounds that interleave the halves of a list of rows.
template <class T>
HARMONIUM_INLINE void transpose_square(const T* from, std::int64_t stride, T* to, std::int64_t to_stride) {
    using S = Simd<T>;
    constexpr int side = S::lanes;
    using Index = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    typename Simd<Index>::Vector low, high;
    for (int i = 0; i < side; ++i) {
        low[i] = i % 2 * side + i / 2;
        high[i] = low[i] + side / 2;
    }
    typename S::Vector rows[side], next[side];
#pragma GCC unroll 16
    for (int i = 0; i < side; ++i) rows[i] = S::load(from + i * stride);
#pragma GCC unroll 4
    for (int step = 1; step < side; step *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < side / 2; ++i) {
            next[2 * i] = __builtin_shuffle(rows[i], rows[i + side / 2], low);
            next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + side / 2], high);
        }
#pragma GCC unroll 16
        for (int i = 0; i < side; ++i) rows[i] = next[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < side; ++i) S::store(to + i * to_stride, rows[i]);
}

#if HARMONIUM_VECTOR_BYTES == 64
// The quarters of four rows come into a vector as they are loaded, which takes no shuffles; two rounds inside quarters remain.
template <>
HARMONIUM_INLINE void transpose_square<float>(const float* from, std::int64_t stride, float* to, std::int64_t to_stride) {
    using V = Simd<float>::Vector;
    typedef std::int32_t I __attribute__((vector_size(64)));
    const I low_1{0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29}, high_1 = low_1 + 2;
    const I low_2{0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29}, high_2 = low_2 + 2;
#pragma GCC unroll 4
    for (int c = 0; c < 16; c += 4) {
        V a[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const float* at = from + i * stride + c;
            __m512 quarters = _mm512_castps128_ps512(_mm_loadu_ps(at));
            quarters = _mm512_mask_broadcast_f32x4(quarters, 0x00F0, _mm_loadu_ps(at + 4 * stride));
            quarters = _mm512_mask_broadcast_f32x4(quarters, 0x0F00, _mm_loadu_ps(at + 8 * stride));
            a[i] = reinterpret_cast<V>(_mm512_mask_broadcast_f32x4(quarters, 0xF000, _mm_loadu_ps(at + 12 * stride)));
        }
        const V b[4] = {__builtin_shuffle(a[0], a[1], low_1), __builtin_shuffle(a[0], a[1], high_1),
                        __builtin_shuffle(a[2], a[3], low_1), __builtin_shuffle(a[2], a[3], high_1)};
        Simd<float>::store(to + c * to_stride, __builtin_shuffle(b[0], b[2], low_2));
        Simd<float>::store(to + (c + 1) * to_stride, __builtin_shuffle(b[0], b[2], high_2));
        Simd<float>::store(to + (c + 2) * to_stride, __builtin_shuffle(b[1], b[3], low_2));
        Simd<float>::store(to + (c + 3) * to_stride, __builtin_shuffle(b[1], b[3], high_2));
    }
}
#endif

}  // namespace
}  // namespace harmonium
