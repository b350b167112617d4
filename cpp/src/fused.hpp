// Vectors: one number in all lanes, and a b + c rounded once where the level can. Included by *_cpu.cpp only: contraction is
// off, and the compiler's vector types have no spelling for a fused product.
#pragma once

#include "simd.hpp"

namespace harmonium {
namespace {

HARMONIUM_INLINE Simd<float>::Vector all_lanes(float x) {
#if defined(__AVX512F__)
    return reinterpret_cast<Simd<float>::Vector>(_mm512_set1_ps(x));
#elif defined(__AVX2__)
    return reinterpret_cast<Simd<float>::Vector>(_mm256_set1_ps(x));
#else
    return Simd<float>::Vector{x, x, x, x};
#endif
}
HARMONIUM_INLINE Simd<double>::Vector all_lanes(double x) {
#if defined(__AVX512F__)
    return reinterpret_cast<Simd<double>::Vector>(_mm512_set1_pd(x));
#elif defined(__AVX2__)
    return reinterpret_cast<Simd<double>::Vector>(_mm256_set1_pd(x));
#else
    return Simd<double>::Vector{x, x};
#endif
}

HARMONIUM_INLINE Simd<float>::Vector fused(Simd<float>::Vector a, Simd<float>::Vector b, Simd<float>::Vector c) {
#if defined(__AVX512F__)
    return reinterpret_cast<Simd<float>::Vector>(
        _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif defined(__AVX2__) && defined(__FMA__)
    return reinterpret_cast<Simd<float>::Vector>(
        _mm256_fmadd_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#else
    return a * b + c;
#endif
}
HARMONIUM_INLINE Simd<double>::Vector fused(Simd<double>::Vector a, Simd<double>::Vector b, Simd<double>::Vector c) {
#if defined(__AVX512F__)
    return reinterpret_cast<Simd<double>::Vector>(
        _mm512_fmadd_pd(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b), reinterpret_cast<__m512d>(c)));
#elif defined(__AVX2__) && defined(__FMA__)
    return reinterpret_cast<Simd<double>::Vector>(
        _mm256_fmadd_pd(reinterpret_cast<__m256d>(a), reinterpret_cast<__m256d>(b), reinterpret_cast<__m256d>(c)));
#else
    return a * b + c;
#endif
}

// Half a vector, for columns that would leave half of one empty: its products cost half. Where vectors are short there is none.
template <class T>
struct HalfSimd {
    typedef T Vector __attribute__((vector_size(HARMONIUM_VECTOR_BYTES / 2)));
    typedef T Unaligned __attribute__((vector_size(HARMONIUM_VECTOR_BYTES / 2), aligned(sizeof(T)), may_alias));

    static HARMONIUM_INLINE Vector load(const T* p) { return *reinterpret_cast<const Unaligned*>(p); }
    static HARMONIUM_INLINE void store(T* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
    static HARMONIUM_INLINE Vector fused(T a, Vector b, Vector c) {
#if defined(__AVX512F__)
        if constexpr (sizeof(T) == 4) {
            return reinterpret_cast<Vector>(
                _mm256_fmadd_ps(_mm256_set1_ps(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
        } else {
            return reinterpret_cast<Vector>(
                _mm256_fmadd_pd(_mm256_set1_pd(a), reinterpret_cast<__m256d>(b), reinterpret_cast<__m256d>(c)));
        }
#else
        return a * b + c;
#endif
    }
};

}  // namespace
}  // namespace harmonium
