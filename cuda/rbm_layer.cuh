// One layer of an RBM given the other's states, on a GPU: what comes after the product, in one pass.
#pragma once

#include "harmonium/philox.hpp"
#include "operand.cuh"
#include "step_draw.cuh"

namespace harmonium::cuda {

// p = sigmoid(scale activation + bias), states ~ Bernoulli(p) with the draws of bernoulli.hpp; absent data: not wanted. Row i draws
// as row first_row + i; its mask and values are row i's.
template <class T>
struct LayerDraw {
    Matrix<const T> activation;  // n x m
    const T* bias = nullptr;
    const T* scale_now = nullptr;  // one number on the device; null: 1
    StepDraw draw;
    std::uint32_t first_row = 0;
    Parts<T> states;             // the draws, as a factor of the next product
    BitMatrix bits;              // the draws
    ConstBitMatrix mask, values;  // where mask is set the state is that of values instead
    Matrix<T> probability;
    Parts<T> probability_parts;  // times probability_scale, as a factor of the gradient
    T probability_scale = 1;
};
template <class T>
void draw_layer(State& state, const LayerDraw<T>& layer);

}  // namespace harmonium::cuda
