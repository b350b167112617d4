// Kernels behind the likelihoods, in double. Lengths are multiples of 16, padded so that padding changes nothing.
#pragma once

#include <cstdint>

#include "isa.hpp"

namespace harmonium {

struct FlipRatios {
    const double* on_flip;   // D x length: exp(W) - 1, for units that flip from 0 to 1
    const double* off_flip;  // D x length: exp(-W) - 1, for units that flip from 1 to 0
    const double* row_sums;  // D: sum_j |W_ij|, which bounds every log product
    std::int64_t length;
    double largest;          // max |W|
};

struct LogSum {
    double largest = -1e308;  // log-sum-exp: log(sum) + largest
    double sum = 0;
};

template <class T>
struct LikelihoodKernels {
    // exp over n values, times sign first; `minus` subtracted after: out[i] = exp(sign * x[i]) - minus
    void (*exp_minus)(const double* x, std::int64_t n, double sign, double minus, double* out);
    // sum_i log p(v_i | others) for one row: activation: length values of c + v^T W (padding: very negative); p: scratch of length.
    double (*pseudo)(const std::uint64_t* v, std::int64_t visible, const double* visible_bias, const double* activation,
                     double* p, const FlipRatios& ratios);
    // The same for a row of numbers x, by exps: slower, for any x and any size of W. weights: D x length.
    double (*pseudo_any)(const double* x, std::int64_t visible, const double* visible_bias, const double* activation,
                         const double* weights, std::int64_t length);
    // log sum over the 2^bits states of the first `bits` units, in Gray code order, the others fixed:
    //   sum of exp(bias_sum) prod_i (1 + exp(activation_i)), unit k adding bias[k] and multiplying exp(activation) by up
    //   (k-th row of length values) or down. odds: exp(activation), changed. Factors at most exp(largest), times `every`
    //   of them fit a double.
    LogSum (*gray)(int bits, const double* bias, const double* up, const double* down, double bias_sum, double* odds,
                   std::int64_t length, int every);
    // The same for activations too large for their exp; rows: W itself, activation: changed.
    LogSum (*gray_any)(int bits, const double* bias, const double* rows, double bias_sum, double* activation,
                       std::int64_t length);
};

HARMONIUM_DECLARE_KERNELS(LikelihoodKernels, likelihood_kernels)

}  // namespace harmonium
