#pragma once

#include "harmonium/context.hpp"
#include "harmonium/philox.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

// One gradient step of an RBM with D visible and H hidden units, once the model's visible states have been drawn.
// n rows are the data's, m the model's. The probabilities of all stand in one matrix, the data's times 1/n, the model's
// times -1/m: the gradient is then one product with the states. Where n = m the rows best alternate: a unit that the
// model leaves as it was in the data then has both rows set, and binary_gemm adds pairs at once.
template <class T>
struct RbmStep {
    // The model, changed by the step.
    Panels<T> weights;                // D x H
    T* visible_bias = nullptr;        // D
    T* hidden_bias = nullptr;         // H
    Panels<T> weight_velocity;        // the same three; unused where momentum is 0
    T* visible_velocity = nullptr;
    T* hidden_velocity = nullptr;
    T learning_rate = 0, momentum = 0, weight_decay = 0;

    // What the gradient is made of.
    Panels<T> probability;            // R = n + m rows x H, in the order of the transposed states' columns
    Panels<T> data_probability;       // n x H: the data's of these rows, given
    Panels<T> model_probability;      // m x H: the model's of these rows, computed here
    ConstBitMatrix model;             // m x D: states
    BitMatrix model_hidden;           // m x H: receives draws of h from the model's probabilities; no data: not wanted
    Draw draw;                        // of these draws
    ConstBitMatrix transposed;        // D x R states, or D x m, the model's, where the data's are numbers
    Matrix<const T> dense;            // n x D: these numbers
    const T* visible_difference = nullptr;  // D: data's mean - model's mean
    bool centred = false;
    const T* visible_offset = nullptr;      // D: mu
    T* hidden_offset = nullptr;             // H: lambda, moved by offset_rate towards the data's mean before it is used
    T offset_rate = 0;

    // The next batch, whose p(h | v) by the new weights are computed while these are in the cache; no rows: none.
    States<T> next;                   // n' x D
    Panels<T> next_probability;       // n' x H, times 1/n'
    BitMatrix next_hidden;            // n' x H: receives draws; no data: not wanted
    Draw next_draw;

    double* sums = nullptr;           // scratch: rbm_step_sums(D, H) values
};

std::int64_t rbm_step_sums(std::int64_t visible, std::int64_t hidden);

// g_W = <(v - mu)(h - lambda)^T>_data - <the same>_model, g_b = <v> - <v> - g_W lambda, g_c = <h> - <h> - g_W^T mu
// (Melchior, Fischer, Wiskott, "How to center deep Boltzmann machines", JMLR 2016, sec. 3; mu = lambda = 0 if not
// centred); g_W -= weight_decay W; velocity = momentum velocity + g; parameter += learning_rate velocity.
// Given visible states, panels of 64 hidden units do not touch each other: one task takes a panel from the model's
// probabilities through gradient and update to the next batch, and the gradient never exists as a whole.
// Sums in a fixed order: the same bits for any number of threads. Allocates scratch in the context once.
// Returns the sum over units of the data's mean p(h | v). Throws std::invalid_argument on shapes that do not fit, and
// on a GPU's context, as all ops on panels: rbm_train steps there by kernels of its own.
template <class T>
double rbm_step(Context& context, const RbmStep<T>& step);

}  // namespace harmonium
