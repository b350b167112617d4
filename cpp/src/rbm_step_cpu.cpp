#include <algorithm>

#include "rbm_step_kernels.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

// Columns [c, c + Vectors * lanes) of all rows.
template <class T, int Vectors>
void update_columns(const UpdateBlock<T>& b, std::int64_t c) {
    using S = Simd<T>;
    const typename S::Vector zeros{}, ones = zeros + T(1);
    typename S::Vector difference[Vectors] = {}, lambda[Vectors] = {}, mu_g[Vectors] = {};
    for (int v = 0; b.centred && v < Vectors; ++v) {
        difference[v] = S::load(b.hidden_difference + c + v * S::lanes);
        lambda[v] = S::load(b.hidden_offset + c + v * S::lanes);
        mu_g[v] = S::load(b.mu_g + c + v * S::lanes);
    }
    for (std::int64_t i = 0; i < b.weights.rows; ++i) {
        const T* from = b.gradient.row(i) + c;
        T* w = b.weights.row(i) + c;
        typename S::Vector g[Vectors];
        for (int v = 0; v < Vectors; ++v) g[v] = S::load(from + v * S::lanes);
        if (b.centred) {
            const T mu = b.visible_offset[i], dv = b.visible_difference[i];
            typename S::Vector sum{};
            for (int v = 0; v < Vectors; ++v) {
                g[v] = g[v] - mu * difference[v] - dv * lambda[v];
                mu_g[v] += mu * g[v];
                sum += g[v] * lambda[v];
            }
            b.g_lambda[i] += static_cast<double>(sum_of_lanes<T>(sum));
        }
        for (int v = 0; v < Vectors; ++v) {
            const auto old = S::load(w + v * S::lanes);
            g[v] -= b.weight_decay * old;
            if (b.l1 != T(0)) g[v] -= b.l1 * (old > T(0) ? ones : old < T(0) ? -ones : zeros);
            if (b.velocity) {
                T* velocity = b.velocity.row(i) + c + v * S::lanes;
                g[v] += b.momentum * S::load(velocity);
                S::store(velocity, g[v]);
            }
            S::store(w + v * S::lanes, old + b.learning_rate * g[v]);
        }
    }
    for (int v = 0; b.centred && v < Vectors; ++v) S::store(b.mu_g + c + v * S::lanes, mu_g[v]);
}

template <class T>
void update(const UpdateBlock<T>& b) {
    if (b.centred) std::fill(b.g_lambda, b.g_lambda + b.weights.rows, 0.0);
    over_columns<T, 4>(b.weights.cols, [&](auto vectors, std::int64_t c) {
        update_columns<T, decltype(vectors)::value>(b, c);
    });
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
RbmStepKernels<T> rbm_step_kernels() {
    return {update<T>};
}
template RbmStepKernels<float> rbm_step_kernels<float>();
template RbmStepKernels<double> rbm_step_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
