#include <algorithm>
#include <cstring>

#include "bernoulli_kernels.hpp"
#include "harmonium/math.hpp"
#include "philox_simd.hpp"

namespace harmonium {
namespace {

// Bit j is uniform(draw, row, 64 block + j) < p[j], for 64 columns.
template <class T>
std::uint64_t draw_bits(const Draw& draw, std::uint32_t row, std::int64_t block, const T* p) {
    using Vector = typename Simd<T>::Vector;
    std::uint64_t bits = 0;
    for_uniforms<T>(draw, row, block,
                    [&](int j, Vector u) { bits |= less(u, Simd<T>::load(p + j)) << j; });
    return bits;
}

// The sum of a + bias where bits are set.
template <class T>
double dot(std::uint64_t bits, const T* a, const T* bias) {
    double sum = 0;
    for (; bits; bits &= bits - 1) {
        const int j = __builtin_ctzll(bits);
        sum += static_cast<double>(a[j] + bias[j]);
    }
    return sum;
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
            if (b.dot) b.dot[r] = dot(b.bits[r * b.bit_stride], a, b.dot_bias);
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
    return {bernoulli<T>, softplus_sum<T>, draw_bits<T>};
}
template BernoulliKernels<float> bernoulli_kernels<float>();
template BernoulliKernels<double> bernoulli_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
