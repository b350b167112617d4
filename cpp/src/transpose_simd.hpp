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
// Two rounds inside quarters of vectors, then two of whole quarters: as many shuffles, but of kinds that together take a third
// less time than those across a vector.
template <>
HARMONIUM_INLINE void transpose_square<float>(const float* from, std::int64_t stride, float* to, std::int64_t to_stride) {
    using V = Simd<float>::Vector;
    typedef std::int32_t I __attribute__((vector_size(64)));
    const I low_1{0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29}, high_1 = low_1 + 2;
    const I low_2{0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29}, high_2 = low_2 + 2;
    const I even{0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27}, odd = even + 4;
    V a[16], b[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) a[i] = Simd<float>::load(from + i * stride);
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        b[i] = __builtin_shuffle(a[i], a[i + 1], low_1);
        b[i + 1] = __builtin_shuffle(a[i], a[i + 1], high_1);
    }
    // Quarter q of a[i + c] then holds column 4 q + c of rows i to i + 3.
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) a[i + c] = __builtin_shuffle(b[i + c / 2], b[i + 2 + c / 2], c % 2 ? high_2 : low_2);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
        const V even_top = __builtin_shuffle(a[c], a[4 + c], even), odd_top = __builtin_shuffle(a[c], a[4 + c], odd);
        const V even_low = __builtin_shuffle(a[8 + c], a[12 + c], even), odd_low = __builtin_shuffle(a[8 + c], a[12 + c], odd);
        Simd<float>::store(to + c * to_stride, __builtin_shuffle(even_top, even_low, even));
        Simd<float>::store(to + (4 + c) * to_stride, __builtin_shuffle(odd_top, odd_low, even));
        Simd<float>::store(to + (8 + c) * to_stride, __builtin_shuffle(even_top, even_low, odd));
        Simd<float>::store(to + (12 + c) * to_stride, __builtin_shuffle(odd_top, odd_low, odd));
    }
}
#endif

}  // namespace
}  // namespace harmonium
