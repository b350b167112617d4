#include <algorithm>

#include "activation_switch.hpp"
#include "dense_kernels.hpp"
#include "philox_simd.hpp"

namespace harmonium {
namespace {

template <class T>
void activate_block(Activation f, const T* bias, Matrix<T> block) {
    with_activation(f, [&](auto constant) {
        for (std::int64_t i = 0; i < block.rows; ++i) {
            T* row = block.row(i);
            for (std::int64_t j = 0; j < block.cols; ++j) row[j] = activate<decltype(constant)::value>(row[j] + bias[j]);
        }
    });
}

template <class T>
void slope_block(Activation f, Matrix<const T> a, T a_scale, Matrix<T> block) {
    with_activation(f, [&](auto constant) {
        if (decltype(constant)::value == Activation::identity) return;
        for (std::int64_t i = 0; i < block.rows; ++i) {
            T* row = block.row(i);
            const T* of = a.row(i);
            for (std::int64_t j = 0; j < block.cols; ++j) row[j] *= slope<decltype(constant)::value>(of[j] * a_scale);
        }
    });
}

template <class T>
void sum_columns(Matrix<const T> m, bool accumulate, T* out) {
    using S = Simd<T>;
    over_columns<T, 8>(m.cols, [&](auto count, std::int64_t c) {
        constexpr int n = decltype(count)::value;
        typename S::Vector sum[n] = {};
        for (std::int64_t i = 0; i < m.rows; ++i) {
#pragma GCC unroll 8
            for (int v = 0; v < n; ++v) sum[v] += S::load(m.row(i) + c + v * S::lanes);
        }
#pragma GCC unroll 8
        for (int v = 0; v < n; ++v) {
            T* to = out + c + v * S::lanes;
            S::store(to, accumulate ? S::load(to) + sum[v] : sum[v]);
        }
    });
    for (std::int64_t c = m.cols / S::lanes * S::lanes; c < m.cols; ++c) {
        T sum = 0;
        for (std::int64_t i = 0; i < m.rows; ++i) sum += m.row(i)[c];
        out[c] = accumulate ? out[c] + sum : sum;
    }
}

template <class T>
void dropout_row(T rate, const Draw& draw, std::uint32_t row, T* x, std::int64_t n) {
    const T kept = T(1) / (T(1) - rate);
    for (std::int64_t first = 0; first < n; first += 64) {
        T u[64];
        for_uniforms<T>(draw, row, first / 64, [&](int j, typename Simd<T>::Vector v) { Simd<T>::store(u + j, v); });
        const std::int64_t count = std::min<std::int64_t>(64, n - first);
        for (std::int64_t j = 0; j < count; ++j) x[first + j] *= u[j] < rate ? T(0) : kept;
    }
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
DenseKernels<T> dense_kernels() {
    return {activate_block<T>, slope_block<T>, sum_columns<T>, dropout_row<T>};
}
template DenseKernels<float> dense_kernels<float>();
template DenseKernels<double> dense_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
