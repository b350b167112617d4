// The kernels of an RBM's likelihoods and of its chains beside products and draws. Sums are in double.
#pragma once

#include "operand.cuh"

namespace harmonium::cuda {

// Hidden units at some temperature; no bias: none.
template <class T>
struct Heat {
    const T* bias = nullptr;   // H
    const T* scale = nullptr;  // one number on the device; null: 1
};

// out_i = [out_i +] share slope.v_i + sum_j softplus(scale a_ij + bias_j) - the same sum at `before`.
template <class T>
struct RowLogs {
    Matrix<const T> activation;      // n x H
    Heat<T> now, before;
    Parts<T> states;                 // v: n x D states
    Matrix<const T> numbers;         // or numbers
    const double* slope = nullptr;   // D
    const double* share = nullptr;   // one number on the device; null: 1
    bool add = false;
    double* out = nullptr;           // n
};
template <class T>
void row_logs(State& state, const RowLogs<T>& logs);

// A step of annealing on the device: a captured graph finds there where it stands.
template <class T>
struct Anneal {
    struct Now {
        std::uint64_t step;          // from 1 on; 0 before the first
        double difference;           // beta of the step less that of the step before
        T scale, scale_before;       // both of them
    };
    std::int64_t visible = 0, hidden = 0;
    const double* betas = nullptr;
    const double* base = nullptr;    // D
    const T *visible_bias = nullptr, *hidden_bias = nullptr;
    Now* now = nullptr;
    T *visible_now = nullptr, *hidden_now = nullptr, *hidden_before = nullptr;  // the biases that the temperatures give
    const double* slope = nullptr;   // D: visible_bias - base, as the weights have it
    double* logs = nullptr;          // of n runs' weights, then 2 n more for what a step needs
};
// On to the next temperature.
template <class T>
void next_temperature(State& state, const Anneal<T>& anneal);

// One step more.
void count_step(State& state, std::uint64_t* steps);

// Pseudo-likelihoods: sums over units of log p(v_i | all others), see rbm_likelihood.hpp.
template <class T>
struct Flipping {
    Matrix<const T> weights;             // D x H
    const std::int64_t* units = nullptr;  // which of v, n_units of them
    std::int64_t n_units = 0;
    bool by_ratios = false;              // v are states, and no weight so large that it takes too many digits
    double largest = 0;                  // max |W| of these units
    Matrix<double> on, off;              // n_units x H: exp(W) - 1 and exp(-W) - 1 by ratios, else W and nothing
    const T *visible_bias = nullptr, *hidden_bias = nullptr;

    Matrix<const T> activation;          // n x H: v W
    Parts<T> states;                     // v
    Matrix<const T> numbers;
    Matrix<double> given;                // n x H: p(h | v) by ratios, else the activations with their biases
    double* out = nullptr;               // n
};
// First of all: on and off.
template <class T>
void prepare_flips(State& state, const Flipping<T>& flipping);
template <class T>
void pseudo_log_likelihood(State& state, const Flipping<T>& flipping);

}  // namespace harmonium::cuda
