// Kernels behind the likelihoods, in double. Lengths are multiples of 16, padded so that padding changes nothing.
#pragma once

#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

constexpr double padding_activation = -1e4;  // a padded unit is never on: its softplus and its sigmoid are 0
inline std::int64_t padded_length(std::int64_t n) { return (n + 15) / 16 * 16; }
constexpr double largest_ratio = 15;  // above this |W|, exp(-|W|) - 1 loses more than 9 digits of 1 + p r

// Of the visible units that a pseudo-likelihood sums over.
struct Flips {
    const std::int64_t* units;  // which of v, n of them
    std::int64_t n;
    const double* bias;      // n
    const double* weights;   // n x length
    const double* on_flip;   // n x length: exp(W) - 1, for units that flip from 0 to 1
    const double* off_flip;  // n x length: exp(-W) - 1, for units that flip from 1 to 0
    const double* row_sums;  // n: sum_j |W_ij|, which bounds every log product
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
    // sum_i log p(v_i | others) for each row of v: rows of length values of c + v^T W, padding very negative, are replaced
    // by their sigmoids. All rows go through one unit's ratios before the next unit's are fetched.
    void (*pseudo)(ConstBitMatrix v, double* activation, const Flips& flips, double* out);
    // The same for one row of numbers x, by exps: slower, for any x and any size of W.
    double (*pseudo_any)(const double* x, const double* activation, const Flips& flips);
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
