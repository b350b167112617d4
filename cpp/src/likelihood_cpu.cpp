#include <algorithm>

#include "harmonium/math.hpp"
#include "likelihood_kernels.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

constexpr int lanes = 16;  // independent products or sums, combined in this order on every level

void exp_minus(const double* x, std::int64_t n, double sign, double minus, double* out) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = exp(sign * x[i]) - minus;
}

// sum of log over the lanes
double log_of(const double* product) {
    double logs[lanes];
#pragma GCC unroll 1
    for (int k = 0; k < lanes; ++k) logs[k] = log(product[k]);
    double sum = 0;
    for (int k = 0; k < lanes; ++k) sum += logs[k];
    return sum;
}

// log prod_j (1 + p_j r_j), multiplied up `every` factors at a time; by a single log where the whole product fits a double.
double log_product(const double* p, const double* ratio, std::int64_t length, std::int64_t every, bool fits) {
    using S = Simd<double>;
    constexpr int vectors = lanes / S::lanes;
    double sum = 0;
    for (std::int64_t from = 0; from < length; from += every) {
        const std::int64_t to = std::min(length, from + every);
        S::Vector product[vectors];
        for (auto& v : product) v = S::Vector{} + 1.0;
        for (std::int64_t j = from; j < to; j += lanes) {
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) {
                const std::int64_t at = j + v * S::lanes;
                product[v] *= S::load(p + at) * S::load(ratio + at) + 1.0;
            }
        }
        double all[lanes];
        for (int v = 0; v < vectors; ++v) S::store(all + v * S::lanes, product[v]);
        if (fits) {
            for (int k = 1; k < lanes; ++k) all[0] *= all[k];
            return log(all[0]);
        }
        sum += log_of(all);
    }
    return sum;
}

void pseudo(ConstBitMatrix v, double* activation, const Flips& flips, double* out) {
    const std::int64_t length = flips.length;
    for (std::int64_t j = 0; j < v.rows * length; ++j) activation[j] = sigmoid(activation[j]);
    const auto factors = static_cast<std::int64_t>(std::min(1e6, 700.0 / std::max(flips.largest, 1e-3)));
    for (std::int64_t r = 0; r < v.rows; ++r) out[r] = 0;
    for (std::int64_t i = 0; i < flips.n; ++i) {
        const bool fits = flips.row_sums[i] < 700;
        const std::int64_t every = fits ? length : factors * lanes;
        for (std::int64_t r = 0; r < v.rows; ++r) {
            const bool on = v.bit(r, flips.units[i]);
            const double* ratio = (on ? flips.off_flip : flips.on_flip) + i * length;
            const double change = log_product(activation + r * length, ratio, length, every, fits);
            out[r] -= softplus((on ? -flips.bias[i] : flips.bias[i]) + change);
        }
    }
}

double pseudo_any(const double* x, const double* activation, const Flips& flips) {
    double sum = 0;
    for (std::int64_t i = 0; i < flips.n; ++i) {
        const double move = 1 - 2 * x[flips.units[i]];
        const double* w = flips.weights + i * flips.length;
        double change[lanes] = {};
        for (std::int64_t j = 0; j < flips.length; j += lanes) {
            for (int k = 0; k < lanes; ++k) {
                change[k] += softplus(activation[j + k] + move * w[j + k]) - softplus(activation[j + k]);
            }
        }
        double total = move * flips.bias[i];
        for (int k = 0; k < lanes; ++k) total += change[k];
        sum -= softplus(total);
    }
    return sum;
}

void add(LogSum& all, double term) {
    if (term > all.largest) {
        all.sum = all.sum * exp(all.largest - term) + 1.0;
        all.largest = term;
    } else {
        all.sum += exp(term - all.largest);
    }
}

LogSum gray(int bits, const double* bias, const double* up, const double* down, double bias_sum, double* odds,
            std::int64_t length, int every) {
    using S = Simd<double>;
    constexpr int vectors = lanes / S::lanes;
    LogSum all;
    std::uint32_t state = 0;
    for (std::uint32_t i = 0;;) {
        double log_weight = bias_sum;
        for (std::int64_t from = 0; from < length; from += static_cast<std::int64_t>(every) * lanes) {
            const std::int64_t to = std::min(length, from + static_cast<std::int64_t>(every) * lanes);
            S::Vector product[vectors];
            for (auto& v : product) v = S::Vector{} + 1.0;
            for (std::int64_t j = from; j < to; j += lanes) {
#pragma GCC unroll 8
                for (int v = 0; v < vectors; ++v) product[v] *= S::load(odds + j + v * S::lanes) + 1.0;
            }
            double values[lanes];
            for (int v = 0; v < vectors; ++v) S::store(values + v * S::lanes, product[v]);
            log_weight += log_of(values);
        }
        add(all, log_weight);
        if (++i >> bits) return all;
        const int k = __builtin_ctz(i);
        state ^= 1u << k;
        const bool on = state >> k & 1;
        const double* ratio = (on ? up : down) + k * length;
        bias_sum += on ? bias[k] : -bias[k];
        for (std::int64_t j = 0; j < length; ++j) odds[j] *= ratio[j];
    }
}

LogSum gray_any(int bits, const double* bias, const double* rows, double bias_sum, double* activation,
                std::int64_t length) {
    LogSum all;
    std::uint32_t state = 0;
    for (std::uint32_t i = 0;;) {
        double sums[lanes] = {};
        for (std::int64_t j = 0; j < length; j += lanes) {
            for (int k = 0; k < lanes; ++k) sums[k] += softplus(activation[j + k]);
        }
        double log_weight = bias_sum;
        for (int k = 0; k < lanes; ++k) log_weight += sums[k];
        add(all, log_weight);
        if (++i >> bits) return all;
        const int k = __builtin_ctz(i);
        state ^= 1u << k;
        const double sign = state >> k & 1 ? 1.0 : -1.0;
        bias_sum += sign * bias[k];
        for (std::int64_t j = 0; j < length; ++j) activation[j] += sign * rows[k * length + j];
    }
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
LikelihoodKernels<T> likelihood_kernels() {
    return {exp_minus, pseudo, pseudo_any, gray, gray_any};
}
template LikelihoodKernels<double> likelihood_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
