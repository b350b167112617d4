// The kernels of a training step of an RBM beside its products and draws.
#pragma once

#include "operand.cuh"
#include "rbm_layer.cuh"
#include "row_feed.cuh"

namespace harmonium::cuda {

template <class T>
struct StepView {
    std::int64_t visible = 0, hidden = 0, n = 0, m = 0;  // n rows of the data, m of the model
    std::int64_t batch_size = 0;
    std::int64_t centred = 0;   // yes or no
    std::int32_t draw_data = 0, sparse = 0;
    T momentum = 0, weight_decay = 0, l1 = 0, offset_rate = 0;
    Place<T>* place = nullptr;
    double* activity = nullptr;  // the epoch's sum of p(h | data)
    const T* rates = nullptr;   // of the epoch's steps
    const T* shares = nullptr;  // of averaging, see TrainerBase; negative: not in this step. Null: no averaging
    const std::uint64_t* mirrored = nullptr;  // or null
    StepDraw data_draw;

    Parts<T> states;            // n + m rows x D: the data's, then the model's
    Matrix<T> dense;            // n x D where data are numbers
    Parts<T> probability;       // n + m x H, times 1 / n and -1 / m
    Matrix<T> dense_probability;  // n x H, the data's where they are numbers
    Matrix<T> gradient;         // D x H

    Matrix<T> weights, weight_velocity, mean_weights;
    FactorParts<T> factor;      // of the weights; no data: not wanted
    T *visible_bias = nullptr, *hidden_bias = nullptr, *visible_velocity = nullptr, *hidden_velocity = nullptr;
    T *mean_visible_bias = nullptr, *mean_hidden_bias = nullptr, *visible_offset = nullptr, *hidden_offset = nullptr;
    T *visible_difference = nullptr, *hidden_difference = nullptr, *hidden_mean = nullptr;  // of p(h | data)
    Matrix<double> row_parts, col_parts;  // sums of the gradient's tiles: tiles x D, tiles x H
};
constexpr std::int64_t update_tile = 32;

// In this order, the products in between.
template <class T>
void gather_rows(State& state, const StepView<T>& s);
template <class T>
void layer_means(State& state, const StepView<T>& s);
template <class T>
void update_weights(State& state, const StepView<T>& s);
template <class T>
void update_biases(State& state, const StepView<T>& s);  // and the place goes on to the next batch

}  // namespace harmonium::cuda
