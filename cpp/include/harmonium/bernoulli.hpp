#pragma once

#include "harmonium/context.hpp"
#include "harmonium/philox.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

// p = sigmoid(scale A + bias), x ~ Bernoulli(p): bit (i, j) is uniform(draw, first_row + i, j) < p(i, j).
//   activation: n x m; bias: m values; probability: n x m, no data: not wanted, may be the activation; bits: the same.
//   Error of p: 4 ulp of sigmoid at the rounded argument. The draw is exact given p. Throws std::invalid_argument.
template <class T>
void bernoulli(Context& context, Matrix<const T> activation, const T* bias, T scale, const Draw& draw,
               std::uint32_t first_row, Matrix<T> probability, BitMatrix bits);

// What a layer's conditional is wanted as; absent data: not wanted.
template <class T>
struct LayerOutput {
    Panels<T> probability;  // times probability_scale; zero in the padding
    T probability_scale = 1;
    BitMatrix bits;
    Draw draw;
    std::uint32_t first_row = 0;
    Matrix<double> softplus;  // panels x n: each panel's sum of softplus(scale activation + bias), for free energies
    // The same sums at another temperature, for annealing.
    Matrix<double> other_softplus;
    const T* other_bias = nullptr;
    T other_scale = 0;
    // panels x n: each panel's sum of activation + dot_bias over the units that are drawn as 1, for tempering.
    Matrix<double> dot;
    const T* dot_bias = nullptr;
};

// A layer given the other: activation = A op(W), then as bernoulli, fused: the activations never leave the cache.
//   A: n x k states, op(W): k x m. One task is one panel of 64 units and at most 512 rows.
//   Same errors and draws as binary_gemm followed by bernoulli. Allocates scratch in the context once.
template <class T>
void bernoulli_layer(Context& context, const States<T>& a, Panels<const T> w, bool transpose_w, const T* bias, T scale,
                     const LayerOutput<T>& out);

}  // namespace harmonium
