#pragma once

#include "harmonium/context.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

// What one step of the (centred) gradient needs. D visible units, H hidden units, R = n + m rows: n of data, m of the
// model, whose hidden probabilities stand in one matrix, the data's times 1/n, the model's times -1/m: the gradient is
// then one product with the states.
template <class T>
struct RbmGradient {
    ConstBitMatrix bits;              // D x r: states, transposed, of the last r rows (all R, or the m of the model)
    Matrix<const T> dense;            // n x D: the data's states where they are not bits
    Panels<const T> probability;      // R x H
    const T* visible_difference;      // D: data's mean - model's mean
    const T* hidden_difference;       // H: the same
    const T* visible_offset;          // D: mu; null: not centred
    const T* hidden_offset;           // H: lambda
};

template <class T>
struct RbmStep {
    T learning_rate = 0;
    T momentum = 0;
    T weight_decay = 0;
    Panels<T> weights;                // D x H
    T* visible_bias = nullptr;        // D
    T* hidden_bias = nullptr;         // H
    Panels<T> weight_velocity;        // the same three; unused where momentum is 0
    T* visible_velocity = nullptr;
    T* hidden_velocity = nullptr;
    double* sums = nullptr;           // scratch: rbm_update_sums(D, H) values
};

std::int64_t rbm_update_sums(std::int64_t visible, std::int64_t hidden);

// One step uphill: g_W = <(v - mu)(h - lambda)^T>_data - <the same>_model, g_b = <v> - <v> - g_W lambda,
// g_c = <h> - <h> - g_W^T mu (Melchior, Fischer, Wiskott, "How to center deep Boltzmann machines", JMLR 2016, sec. 3),
// g_W -= weight_decay W; velocity = momentum velocity + g; parameter += learning_rate velocity.
// The gradient is accumulated and used block by block, it never exists as a whole. Sums in a fixed order: the same bits
// for any number of threads. Allocates scratch in the context once.
template <class T>
void rbm_update(Context& context, const RbmGradient<T>& gradient, const RbmStep<T>& step);

// out[j] = sum over i of x(i, j), rows added in order; x: n x m, out: m values.
template <class T>
void column_sums(Context& context, Panels<const T> x, T* out);

}  // namespace harmonium
