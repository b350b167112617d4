// What chains and scores of an RBM with units of any type do with rows of a layer, beside products and draws.
#pragma once

#include "operand.cuh"
#include "step_draw.cuh"

namespace harmonium::cuda {

// out = rows as numbers.
template <class T>
void numbers_of(State& state, const LayerRows<T>& rows, Matrix<T> out);

// out_i = [out_i +] share sum_j x_ij (slope_j - curve_j x_ij) + plus_i - minus_i. In double.
template <class T>
struct RowTerms {
    LayerRows<T> x;                 // n x units
    std::int64_t rows = 0, units = 0;
    const double* slope = nullptr;  // units
    const double* curve = nullptr;  // units; null: 0
    const double* share = nullptr;  // one number on the device; null: 1
    const double *plus = nullptr, *minus = nullptr;  // n; null: 0
    bool add = false;
    double* out = nullptr;          // n
};
template <class T>
void row_terms(State& state, const RowTerms<T>& terms);

// Chains at several temperatures, those of one below those of the one before, see tempered_chains.hpp.
template <class T>
struct Tempered {
    std::int64_t temperatures = 0, chains = 0;
    std::uint32_t first_row = 0;       // of the first chain in the draws of swaps
    StepDraw draw;
    Matrix<const T> visible;
    const double* slope = nullptr;     // b - base
    Matrix<T> hidden;                  // bernoulli units
    Matrix<const T> activation;        // of the hidden layer by the visible states, without biases
    const T* hidden_bias = nullptr;
    double* likes = nullptr;                 // temperatures x chains: scratch
    unsigned long long* accepted = nullptr;  // temperatures - 1: grows by the swaps that were accepted
};
// Swaps of hidden states between neighbouring temperatures: even pairs, then odd ones.
template <class T>
void swap_tempered(State& state, const Tempered<T>& tempered);

}  // namespace harmonium::cuda
