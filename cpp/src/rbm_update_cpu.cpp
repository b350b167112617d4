#include <algorithm>

#include "rbm_update_kernels.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

template <class T>
void update(const UpdateBlock<T>& b) {
    const std::int64_t cols = b.weights.cols;
    const bool centred = b.visible_offset != nullptr;
    alignas(64) T difference[64] = {}, lambda[64] = {}, mu_g[64] = {};
    if (centred) {
        std::copy(b.hidden_difference, b.hidden_difference + b.valid, difference);
        std::copy(b.hidden_offset, b.hidden_offset + b.valid, lambda);
    }
    for (std::int64_t i = 0; i < b.weights.rows; ++i) {
        T* g = b.gradient.row(i);
        T* w = b.weights.row(i);
        if (centred) {
            const T mu = b.visible_offset[i], dv = b.visible_difference[i];
            alignas(64) T product[64];
            for (std::int64_t j = 0; j < cols; ++j) {
                g[j] = g[j] - mu * difference[j] - dv * lambda[j];
                mu_g[j] += mu * g[j];
                product[j] = g[j] * lambda[j];
            }
            T part[16] = {};
            for (std::int64_t j = 0; j < cols; j += 16) {
                for (int k = 0; k < 16; ++k) part[k] += product[j + k];
            }
            T sum = 0;
            for (int k = 0; k < 16; ++k) sum += part[k];
            b.g_lambda[i] = sum;
        }
        if (b.velocity) {
            T* velocity = b.velocity.row(i);
            for (std::int64_t j = 0; j < cols; ++j) {
                velocity[j] = b.momentum * velocity[j] + (g[j] - b.weight_decay * w[j]);
                w[j] += b.learning_rate * velocity[j];
            }
        } else {
            for (std::int64_t j = 0; j < cols; ++j) w[j] += b.learning_rate * (g[j] - b.weight_decay * w[j]);
        }
    }
    if (centred) std::copy(mu_g, mu_g + cols, b.mu_g);
}

template <class T>
void column_sums(Matrix<const T> x, T* out) {
    alignas(64) T sum[64] = {};
    for (std::int64_t i = 0; i < x.rows; ++i) {
        const T* row = x.row(i);
        for (std::int64_t j = 0; j < x.cols; ++j) sum[j] += row[j];
    }
    std::copy(sum, sum + x.cols, out);
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
RbmUpdateKernels<T> rbm_update_kernels() {
    return {update<T>, column_sums<T>};
}
template RbmUpdateKernels<float> rbm_update_kernels<float>();
template RbmUpdateKernels<double> rbm_update_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
