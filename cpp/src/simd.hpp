// Vectors of the level a kernel is compiled for, by the compiler's own vector types. Two operations have no spelling
// there and take an intrinsic; in plain loops g++ 12 made the draws of bernoulli three times slower.
// Included by *_cpu.cpp only; the anonymous namespace keeps one level from linking to the code of another.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define HARMONIUM_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define HARMONIUM_VECTOR_BYTES 32
#else
#define HARMONIUM_VECTOR_BYTES 16
#endif

#define HARMONIUM_INLINE inline __attribute__((always_inline))

namespace {

template <class T>
struct Simd {
    static constexpr int lanes = HARMONIUM_VECTOR_BYTES / sizeof(T);
    typedef T Vector __attribute__((vector_size(HARMONIUM_VECTOR_BYTES)));
    typedef T Unaligned __attribute__((vector_size(HARMONIUM_VECTOR_BYTES), aligned(sizeof(T)), may_alias));

    static HARMONIUM_INLINE Vector load(const T* p) { return *reinterpret_cast<const Unaligned*>(p); }
    static HARMONIUM_INLINE void store(T* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
};

// The sum of all lanes, by halves.
template <class T>
HARMONIUM_INLINE T sum_of_lanes(typename Simd<T>::Vector v) {
    using Index = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    static constexpr Index around[32] = {0, 1, 2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                         16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
#pragma GCC unroll 4
    for (int half = Simd<T>::lanes / 2; half > 0; half /= 2) {
        // Indices count modulo the number of lanes: this turns v by half.
        v += __builtin_shuffle(v, Simd<Index>::load(around + half));
    }
    return v[0];
}

// a b + c, rounded once where the processor can; written out, because products and sums of vectors are not contracted.
HARMONIUM_INLINE Simd<double>::Vector multiply_add(Simd<double>::Vector a, Simd<double>::Vector b, Simd<double>::Vector c) {
#if defined(__AVX512F__)
    return reinterpret_cast<Simd<double>::Vector>(
        _mm512_fmadd_pd(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b), reinterpret_cast<__m512d>(c)));
#elif defined(__FMA__)
    return reinterpret_cast<Simd<double>::Vector>(
        _mm256_fmadd_pd(reinterpret_cast<__m256d>(a), reinterpret_cast<__m256d>(b), reinterpret_cast<__m256d>(c)));
#else
    return a * b + c;
#endif
}

// Calls function(std::integral_constant<int, vectors>, first column) over pieces of at most Most (8 or 4) vectors.
template <class T, int Most, class Function>
HARMONIUM_INLINE void over_columns(std::int64_t cols, const Function& function) {
    constexpr int lanes = Simd<T>::lanes;
    std::int64_t c = 0;
    for (; cols - c >= Most * lanes; c += Most * lanes) function(std::integral_constant<int, Most>(), c);
    if (Most > 4 && cols - c >= 4 * lanes) function(std::integral_constant<int, 4>(), c), c += 4 * lanes;
    if (cols - c >= 2 * lanes) function(std::integral_constant<int, 2>(), c), c += 2 * lanes;
    if (cols - c >= lanes) function(std::integral_constant<int, 1>(), c);
}

using Words = Simd<std::uint64_t>::Vector;

// The full products of the low halves.
HARMONIUM_INLINE Words multiply_low(Words a, std::uint32_t b) {
    const Words factor = Words{} + b;
#if defined(__AVX512F__)
    return reinterpret_cast<Words>(_mm512_maskz_mul_epu32(0xFF, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(factor)));
#elif defined(__AVX2__)
    return reinterpret_cast<Words>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(factor)));
#elif defined(__x86_64__)
    return reinterpret_cast<Words>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(factor)));
#else
    return (a & 0xFFFFFFFFu) * factor;
#endif
}

// unit_interval of philox.hpp, lane by lane, for the words in the low halves of lo, then of hi.
HARMONIUM_INLINE Simd<float>::Vector unit_intervals(Words lo, Words hi) {
    typedef std::int32_t Half __attribute__((vector_size(HARMONIUM_VECTOR_BYTES / 2)));
    const Half a = __builtin_convertvector(lo << 32 >> 40, Half), b = __builtin_convertvector(hi << 32 >> 40, Half);
    Simd<std::int32_t>::Vector both;
    std::memcpy(&both, &a, sizeof a);
    std::memcpy(reinterpret_cast<char*>(&both) + sizeof a, &b, sizeof b);
    return __builtin_convertvector(both, Simd<float>::Vector) * 0x1p-24f;
}
HARMONIUM_INLINE Simd<double>::Vector unit_intervals(Words words) {
    // The word becomes the last 32 bits of 2^52 + word.
    const Words shifted = (words & 0xFFFFFFFFu) | 0x4330000000000000u;
    return (reinterpret_cast<Simd<double>::Vector>(shifted) - 0x1p52) * 0x1p-32;
}

// Bit j is a[j] < b[j].
HARMONIUM_INLINE std::uint64_t less(Simd<float>::Vector a, Simd<float>::Vector b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), _CMP_LT_OQ);
#elif defined(__AVX2__)
    return static_cast<unsigned>(_mm256_movemask_ps(
        _mm256_cmp_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), _CMP_LT_OQ)));
#elif defined(__x86_64__)
    return static_cast<unsigned>(_mm_movemask_ps(_mm_cmplt_ps(reinterpret_cast<__m128>(a), reinterpret_cast<__m128>(b))));
#else
    std::uint64_t bits = 0;
    for (int j = 0; j < Simd<float>::lanes; ++j) bits |= static_cast<std::uint64_t>(a[j] < b[j]) << j;
    return bits;
#endif
}
HARMONIUM_INLINE std::uint64_t less(Simd<double>::Vector a, Simd<double>::Vector b) {
#if defined(__AVX512F__)
    return _mm512_cmp_pd_mask(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b), _CMP_LT_OQ);
#elif defined(__AVX2__)
    return static_cast<unsigned>(_mm256_movemask_pd(
        _mm256_cmp_pd(reinterpret_cast<__m256d>(a), reinterpret_cast<__m256d>(b), _CMP_LT_OQ)));
#elif defined(__x86_64__)
    return static_cast<unsigned>(_mm_movemask_pd(_mm_cmplt_pd(reinterpret_cast<__m128d>(a), reinterpret_cast<__m128d>(b))));
#else
    std::uint64_t bits = 0;
    for (int j = 0; j < Simd<double>::lanes; ++j) bits |= static_cast<std::uint64_t>(a[j] < b[j]) << j;
    return bits;
#endif
}

}  // namespace
