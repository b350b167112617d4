#include <algorithm>

#include "harmonium/math.hpp"
#include "harmonium/normal.hpp"
#include "philox_simd.hpp"
#include "units_kernels.hpp"

namespace harmonium {
namespace {

template <class T>
void fill_uniforms(const Draw& draw, std::uint32_t row, std::int64_t block, T* out) {
    for_uniforms<T>(draw, row, block, [&](int j, typename Simd<T>::Vector u) { Simd<T>::store(out + j, u); });
}

template <class T>
double bernoulli_units(std::int64_t n, T* a, T* x, const T* u, bool normalise) {
    double sum = 0;
    if (normalise) {
        for (std::int64_t first = 0; first < n; first += 64) {
            const std::int64_t count = std::min<std::int64_t>(64, n - first);
            double term[64];
            for (std::int64_t j = 0; j < count; ++j) term[j] = softplus(static_cast<double>(a[first + j]));
            for (std::int64_t j = 0; j < count; ++j) sum += term[j];
        }
    }
    for (std::int64_t j = 0; j < n; ++j) a[j] = sigmoid(a[j]);
    for (std::int64_t j = 0; x && j < n; ++j) x[j] = u[j] < a[j] ? T(1) : T(0);
    return sum;
}

template <class T>
double gaussian_units(std::int64_t n, const T* a, T* x, const T* u, bool normalise) {
    double sum = 0;
    for (std::int64_t j = 0; normalise && j < n; ++j) {
        sum += 0.5 * static_cast<double>(a[j]) * static_cast<double>(a[j]) + half_log_two_pi;
    }
    for (std::int64_t j = 0; x && j < n; ++j) x[j] = a[j] + static_cast<T>(normal_quantile(inside(u[j])));
    return sum;
}

template <class T>
double relu_units(std::int64_t n, T* a, T* x, const T* u, bool normalise) {
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) {
        const auto theta = static_cast<double>(a[j]);
        if (normalise) sum += rectified_log_normaliser(theta);
        if (x) x[j] = static_cast<T>(rectified_quantile(theta, inside(u[j])));
        a[j] = static_cast<T>(rectified_mean(theta));
    }
    return sum;
}

// a becomes exp(a - largest); returns their sum, in a fixed order.
template <class T>
T exponentials(std::int64_t n, T* a, T* largest) {
    T top = a[0];
    for (std::int64_t j = 1; j < n; ++j) top = a[j] > top ? a[j] : top;
    *largest = top;
    T sums[16] = {};
    for (std::int64_t j = 0; j < n; ++j) a[j] = exp(a[j] - top);
    std::int64_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (int l = 0; l < 16; ++l) sums[l] += a[j + l];
    }
    for (; j < n; ++j) sums[j % 16] += a[j];
    for (int half = 8; half > 0; half /= 2) {
        for (int l = 0; l < half; ++l) sums[l] += sums[l + half];
    }
    return sums[0];
}

// log sum exp(a), of a as it is in double: the sum that `exponentials` leaves is in T.
template <class T>
double log_sum_exp(std::int64_t n, const T* a) {
    T top = a[0];
    for (std::int64_t j = 1; j < n; ++j) top = a[j] > top ? a[j] : top;
    double sum = 0;
    for (std::int64_t first = 0; first < n; first += 64) {
        const std::int64_t count = std::min<std::int64_t>(64, n - first);
        double term[64];
        for (std::int64_t j = 0; j < count; ++j) term[j] = exp(static_cast<double>(a[first + j]) - static_cast<double>(top));
        for (std::int64_t j = 0; j < count; ++j) sum += term[j];
    }
    return static_cast<double>(top) + log(sum);
}

template <class T>
double categorical_units(std::int64_t n, T* a, T* x, T u, bool normalise) {
    const double value = normalise ? log_sum_exp(n, a) : 0;
    T largest;
    const T total = exponentials(n, a, &largest);
    if (x) {
        const T level = u * total;
        T below = 0;
        std::int64_t chosen = -1, last = 0;
        for (std::int64_t j = 0; j < n && chosen < 0; ++j) {
            below += a[j];
            if (a[j] > T(0)) last = j;
            if (level < below) chosen = j;
        }
        std::fill(x, x + n, T(0));
        x[chosen < 0 ? last : chosen] = T(1);  // sums in another order may end a little below the level
    }
    for (std::int64_t j = 0; j < n; ++j) a[j] /= total;
    return value;
}

// Words of one bag. Word j stands in heap j % heaps: the heaps' sums are vectors' sums, a word is looked for among the sums,
// then in its heap. Without branches, which the draws would make unpredictable.
template <class T>
void draw_words(std::int64_t n, const T* weight, const UnitsRow<T>& row) {
    constexpr std::int64_t most = 4096;
    alignas(64) T ends[most];
    const std::int64_t depth = std::max<std::int64_t>(16, (n + most - 1) / most), heaps = (n + depth - 1) / depth;
    std::fill(ends, ends + heaps, T(0));
    for (std::int64_t first = 0; first < n; first += heaps) {
        const std::int64_t count = std::min(heaps, n - first);
        for (std::int64_t k = 0; k < count; ++k) ends[k] += weight[first + k];
    }
    T total = 0;
    for (std::int64_t k = 0; k < heaps; ++k) ends[k] = total += ends[k];
    const auto words = static_cast<std::int64_t>(row.exposure);
    T u[64];
    for (std::int64_t k = 0; k < words; ++k) {
        if (k % 64 == 0) fill_uniforms<T>(row.draw, row.row, k / 64, u);
        const T level = u[k % 64] * total;
        std::int64_t heap = 0;  // how many heaps end at or below the level
        for (std::int64_t size = heaps; size > 1;) {
            const std::int64_t half = size / 2;
            heap += level >= ends[heap + half - 1] ? half : 0;
            size -= half;
        }
        T below = heap > 0 ? ends[heap - 1] : T(0);
        std::int64_t passed = 0;
        for (std::int64_t j = heap; j < n; j += heaps) {
            below += weight[j];
            passed += level >= below;
        }
        std::int64_t chosen = heap + passed * heaps;
        if (chosen >= n) {  // sums in another order end a little below the level: the heap's last word that can occur
            for (std::int64_t j = heap; j < n; j += heaps) chosen = weight[j] > T(0) ? j : chosen;
        }
        if (chosen >= n) chosen = heap;
        if (row.tokens) row.tokens[k] = static_cast<std::int32_t>(chosen);
        else row.drawn[chosen] += T(1);
    }
}

template <class T>
double count_units(std::int64_t n, T* a, const UnitsRow<T>& row) {
    const auto words = static_cast<double>(row.exposure);
    const double value = row.log_normaliser ? words * log_sum_exp(n, a) : 0;
    T largest;
    const T total = exponentials(n, a, &largest);
    if (row.drawn) std::fill(row.drawn, row.drawn + n, T(0));
    if (row.tokens || row.drawn) draw_words(n, a, row);
    const T share = row.exposure / total;
    for (std::int64_t j = 0; j < n; ++j) a[j] *= share;
    return value;
}

template <class T>
void units(const UnitsRow<T>& row) {
    for (std::int64_t block = 0; row.drawn && block * 64 < row.units; ++block) {
        fill_uniforms<T>(row.draw, row.row, block, row.uniforms + 64 * block);
    }
    const bool normalise = row.log_normaliser != nullptr;
    double sum = 0;
    for (std::int64_t g = 0; g < row.n_groups; ++g) {
        const UnitGroup& group = row.groups[g];
        const std::int64_t n = group.count;
        T* a = row.activation + group.first;
        T* x = row.drawn ? row.drawn + group.first : nullptr;
        const T* u = row.uniforms + group.first;
        const T* bias = row.bias + group.first;
        const T times = group.type == UnitType::count ? T(1) : row.exposure;
        for (std::int64_t j = 0; j < n; ++j) a[j] = a[j] * row.scale + bias[j] * times;
        switch (group.type) {
            case UnitType::bernoulli: sum += bernoulli_units(n, a, x, u, normalise); break;
            case UnitType::gaussian: sum += gaussian_units(n, a, x, u, normalise); break;
            case UnitType::relu: sum += relu_units(n, a, x, u, normalise); break;
            case UnitType::categorical: sum += categorical_units(n, a, x, x ? u[0] : T(0), normalise); break;
            case UnitType::count: sum += count_units(n, a, row); break;
        }
    }
    if (normalise) *row.log_normaliser = sum;
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
UnitsKernels<T> units_kernels() {
    return {units<T>};
}
template UnitsKernels<float> units_kernels<float>();
template UnitsKernels<double> units_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
