// One layer of an RBM given the other's states, on a GPU: what comes after the product, in one pass.
#pragma once

#include "harmonium/philox.hpp"
#include "operand.cuh"

namespace harmonium::cuda {

// The draws of a step that is counted on the device: a captured graph draws anew each time that it runs.
struct StepDraw {
    std::uint64_t seed = 0;
    Stream stream = Stream::hidden;
    std::uint64_t step = 0;
    const std::uint64_t* steps = nullptr;  // null: `step` is all
    std::uint64_t per_step = 0;

    HARMONIUM_HOST_DEVICE Draw get() const { return {seed, stream, steps ? *steps * per_step + step : step}; }
};

// p = sigmoid(scale activation + bias), states ~ Bernoulli(p) with the draws of bernoulli.hpp; absent data: not wanted.
template <class T>
struct LayerDraw {
    Matrix<const T> activation;  // n x m
    const T* bias = nullptr;
    T scale = 1;
    StepDraw draw;
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
