// What chains and scores of an RBM with units of any type do with rows of a layer, beside products and draws.
#pragma once

#include "operand.cuh"
#include "unit_layer.cuh"

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
    const T* bias = nullptr;        // units: in the slope's place
    const double* curve = nullptr;  // units; null: 0
    const double* share = nullptr;  // one number on the device; null: 1
    const double *plus = nullptr, *minus = nullptr;  // n; null: 0
    bool add = false;
    double* out = nullptr;          // n
};
template <class T>
void row_terms(State& state, const RowTerms<T>& terms);

// Pseudo-likelihoods: the sum over units, choices or words of log p(this one | all others), see unit_rbm_pseudo.cpp.
template <class T>
struct UnitPseudo {
    LayerRows<T> v;                     // n x D
    Matrix<const T> weights;            // D x H
    Matrix<const T> activation;         // n x H: v W
    const T *visible_bias = nullptr, *hidden_bias = nullptr;
    const T* exposure = nullptr;        // n, or null: 1
    const UnitGroup* groups = nullptr;  // of every visible unit: its own
    LayerView hidden;
    bool bounded = false;               // hidden units are bernoulli
    double* out = nullptr;              // n
};
template <class T>
void pseudo_log_likelihood(State& state, const UnitPseudo<T>& pseudo);

}  // namespace harmonium::cuda
