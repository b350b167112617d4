#include <algorithm>
#include <cstring>

#include "bernoulli_kernels.hpp"
#include "harmonium/math.hpp"
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

// Bit j is uniform(draw, row, 64 block + j) < p[j], for 64 columns.
std::uint64_t draw_bits(const Draw& draw, std::uint32_t row, std::int64_t block, const float* p) {
    constexpr int lanes = Simd<std::uint64_t>::lanes;
    std::uint64_t bits = 0;
#pragma GCC unroll 4
    for (int first = 0; first < piece; first += 2 * lanes) {
        const FourWords lo(draw, row, block, first), hi(draw, row, block, first + lanes);
#pragma GCC unroll 4
        for (int w = 0; w < 4; ++w) {
            const int j = w * piece + first;
            bits |= less(unit_intervals(lo.c[w], hi.c[w]), Simd<float>::load(p + j)) << j;
        }
    }
    return bits;
}
std::uint64_t draw_bits(const Draw& draw, std::uint32_t row, std::int64_t block, const double* p) {
    constexpr int lanes = Simd<std::uint64_t>::lanes;
    std::uint64_t bits = 0;
#pragma GCC unroll 4
    for (int first = 0; first < piece; first += lanes) {
        const FourWords words(draw, row, block, first);
#pragma GCC unroll 4
        for (int w = 0; w < 4; ++w) {
            const int j = w * piece + first;
            bits |= less(unit_intervals(words.c[w]), Simd<double>::load(p + j)) << j;
        }
    }
    return bits;
}

template <class T>
void bernoulli(const BernoulliBlock<T>& b) {
    const int cols = static_cast<int>(b.activation.cols);
    alignas(64) T bias[64] = {}, p[64] = {};
    std::copy(b.bias, b.bias + b.valid, bias);
    const std::uint64_t kept = b.valid == 64 ? ~std::uint64_t(0) : (std::uint64_t(1) << b.valid) - 1;
    for (std::int64_t r = 0; r < b.activation.rows; ++r) {
        const T* a = b.activation.row(r);
        for (int j = 0; j < cols; ++j) p[j] = sigmoid(a[j] * b.scale + bias[j]);
        if (b.bits) {
            const auto row = b.first_row + static_cast<std::uint32_t>(r);
            b.bits[r * b.bit_stride] = draw_bits(b.draw, row, b.block, p) & kept;
        }
        if (b.probability) {
            T* out = b.probability.row(r);
            for (int j = 0; j < cols; ++j) out[j] = p[j] * b.probability_scale;
            for (std::int64_t j = b.valid; j < cols; ++j) out[j] = T(0);
        }
    }
}

template <class T>
void softplus_sum(const BernoulliBlock<T>& b, double* out) {
    double bias[64] = {};
    std::copy(b.bias, b.bias + b.valid, bias);
    const auto scale = static_cast<double>(b.scale);
    for (std::int64_t r = 0; r < b.activation.rows; ++r) {
        const T* a = b.activation.row(r);
        double term[64];
        for (int j = 0; j < b.activation.cols; ++j) term[j] = softplus(static_cast<double>(a[j]) * scale + bias[j]);
        double sum = 0;
        for (std::int64_t j = 0; j < b.valid; ++j) sum += term[j];
        out[r] = sum;
    }
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
BernoulliKernels<T> bernoulli_kernels() {
    return {bernoulli<T>, softplus_sum<T>};
}
template BernoulliKernels<float> bernoulli_kernels<float>();
template BernoulliKernels<double> bernoulli_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
