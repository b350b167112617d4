#include "compress_kernels.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

#if defined(__AVX512F__)
// Sixteen at a time: what the compiler makes of the loop below takes nine times as long. Into registers, then stored whole:
// compressing straight into memory is slow on some processors.
std::int64_t compress_row(const float* x, std::int64_t n, std::int32_t* indices, float* values) {
    std::int64_t k = 0;
    __m512i where = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (std::int64_t j = 0; j < n; j += 16) {
        const auto there = static_cast<__mmask16>(n - j < 16 ? (1u << (n - j)) - 1 : 0xFFFFu);
        const __m512 piece = _mm512_maskz_loadu_ps(there, x + j);
        const __mmask16 some = _mm512_cmp_ps_mask(piece, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        _mm512_storeu_si512(indices + k, _mm512_maskz_compress_epi32(some, where));
        _mm512_storeu_ps(values + k, _mm512_maskz_compress_ps(some, piece));
        k += __builtin_popcount(some);
        where = _mm512_add_epi32(where, _mm512_set1_epi32(16));
    }
    return k;
}
#endif

// Without branches: which entries are 0 cannot be foretold.
template <class T>
std::int64_t compress_row(const T* x, std::int64_t n, std::int32_t* indices, T* values) {
    std::int64_t k = 0;
    for (std::int64_t j = 0; j < n; ++j) {
        indices[k] = static_cast<std::int32_t>(j);
        values[k] = x[j];
        k += x[j] != T(0);
    }
    return k;
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
CompressKernels<T> compress_kernels() {
    return {[](const T* x, std::int64_t n, std::int32_t* indices, T* values) { return compress_row(x, n, indices, values); }};
}
template CompressKernels<float> compress_kernels<float>();
template CompressKernels<double> compress_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
