#include <algorithm>

#include "harmonium/math.hpp"
#include "simd.hpp"
#include "unit_pseudo_kernels.hpp"

namespace harmonium {
namespace {

using S = Simd<double>;
constexpr int lanes = 16;  // independent products or sums, combined by halves on every level
constexpr int vectors = lanes / S::lanes;
constexpr std::int64_t together = 64;  // products whose logs are taken in one loop

HARMONIUM_INLINE double product_of_lanes(S::Vector* v) {
    static constexpr std::int64_t around[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#pragma GCC unroll 4
    for (int half = vectors / 2; half > 0; half /= 2) {
#pragma GCC unroll 4
        for (int i = 0; i < half; ++i) v[i] *= v[i + half];
    }
#pragma GCC unroll 4
    for (int half = S::lanes / 2; half > 0; half /= 2) v[0] *= __builtin_shuffle(v[0], Simd<std::int64_t>::load(around + half));
    return v[0][0];
}

// Calls product(k) for k < n and adds the logs to out.
template <class Product>
HARMONIUM_INLINE void add_logs(std::int64_t n, double* out, const Product& product) {
    double part[together];
    for (std::int64_t first = 0; first < n; first += together) {
        const std::int64_t count = std::min(together, n - first);
        for (std::int64_t k = 0; k < count; ++k) part[k] = product(first + k);
        for (std::int64_t k = 0; k < count; ++k) out[first + k] += log(part[k]);
    }
}

void probability(const double* theta, const double* w, double t, std::int64_t length, double* out) {
    for (std::int64_t j = 0; j < length; ++j) out[j] = sigmoid(theta[j] + t * w[j]);
}

void odds_of(const double* theta, const double* w, double t, std::int64_t length, double* out) {
    for (std::int64_t j = 0; j < length; ++j) out[j] = exp(theta[j] + t * w[j]);
}

double softplus_sum(const double* theta, const double* w, double t, std::int64_t length) {
    double sums[lanes] = {};
    for (std::int64_t j = 0; j < length; j += lanes) {
        for (int k = 0; k < lanes; ++k) sums[k] += softplus(theta[j + k] + t * w[j + k]);
    }
    double sum = 0;
    for (int k = 0; k < lanes; ++k) sum += sums[k];
    return sum;
}

void products(const double* p, const double* ratio, std::int64_t n, std::int64_t length, std::int64_t every, double* out) {
    std::fill(out, out + n, 0.0);
    for (std::int64_t from = 0; from < length; from += every) {
        const std::int64_t to = std::min(length, from + every);
        add_logs(n, out, [&](std::int64_t k) {
            const double* row = ratio + k * length;
            S::Vector product[vectors];
            for (auto& v : product) v = S::Vector{} + 1.0;
            for (std::int64_t j = from; j < to; j += lanes) {
#pragma GCC unroll 8
                for (int v = 0; v < vectors; ++v) {
                    const std::int64_t at = j + v * S::lanes;
                    product[v] *= S::load(p + at) * S::load(row + at) + 1.0;
                }
            }
            return product_of_lanes(product);
        });
    }
}

void path(double* odds, const double* step, std::int64_t n, std::int64_t length, std::int64_t every, double* out) {
    std::fill(out, out + n, 0.0);
    for (std::int64_t from = 0; from < length; from += every) {
        const std::int64_t to = std::min(length, from + every);
        add_logs(n, out, [&](std::int64_t) {
            S::Vector product[vectors];
            for (auto& v : product) v = S::Vector{} + 1.0;
            for (std::int64_t j = from; j < to; j += lanes) {
#pragma GCC unroll 8
                for (int v = 0; v < vectors; ++v) {
                    const std::int64_t at = j + v * S::lanes;
                    const S::Vector now = S::load(odds + at);
                    product[v] *= now + 1.0;
                    S::store(odds + at, now * S::load(step + at));
                }
            }
            return product_of_lanes(product);
        });
    }
}

double log_sum_exp(const double* x, std::int64_t n) {
    double largest = x[0];
    for (std::int64_t k = 1; k < n; ++k) largest = x[k] > largest ? x[k] : largest;
    double sums[lanes] = {};
    std::int64_t k = 0;
    for (; k + lanes <= n; k += lanes) {
        for (int l = 0; l < lanes; ++l) sums[l] += exp(x[k + l] - largest);
    }
    for (int l = 0; k + l < n; ++l) sums[l] += exp(x[k + l] - largest);
    double sum = 0;
    for (int l = 0; l < lanes; ++l) sum += sums[l];
    return largest + log(sum);
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
UnitPseudoKernels<T> unit_pseudo_kernels() {
    return {probability, odds_of, softplus_sum, products, path, log_sum_exp};
}
template UnitPseudoKernels<double> unit_pseudo_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
