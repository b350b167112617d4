// Kernels behind the pseudo-likelihood of units of any type beside bernoulli hidden units, in double. `length` is a multiple
// of 16; of padding theta is very negative and w is 0, so that it changes nothing.
#pragma once

#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct UnitPseudoKernels {
    // out_j = sigmoid, or exp, of theta_j + t w_j
    void (*probability)(const double* theta, const double* w, double t, std::int64_t length, double* out);
    void (*odds)(const double* theta, const double* w, double t, std::int64_t length, double* out);
    // sum_j softplus(theta_j + t w_j)
    double (*softplus_sum)(const double* theta, const double* w, double t, std::int64_t length);
    // out_k = log prod_j (1 + p_j ratio_kj) for n rows of ratios; any `every` factors (a multiple of 16) fit a double.
    void (*products)(const double* p, const double* ratio, std::int64_t n, std::int64_t length, std::int64_t every, double* out);
    // out_k = log prod_j (1 + odds_j step_j^k), k from 0 to n - 1; likewise. odds: changed.
    void (*path)(double* odds, const double* step, std::int64_t n, std::int64_t length, std::int64_t every, double* out);
    // log sum_k exp(x_k)
    double (*log_sum_exp)(const double* x, std::int64_t n);
};

HARMONIUM_DECLARE_KERNELS(UnitPseudoKernels, unit_pseudo_kernels)

}  // namespace harmonium
