// Solvers of one row's lasso, min over h of 0.5 |x - h D|^2 + sum_j alpha_j |h_j|: what lasso.cpp prepares and dispatches.
// They work in float64 whatever X is: in float32 a relative gap of 1e-6 is beyond what sums over features resolve.
#pragma once

#include <cstdint>

#include "isa.hpp"

namespace harmonium {

// Rows start on cache lines and are padded to whole lines: the kernels read up to 8 values past an end.
constexpr std::int64_t lasso_padded(std::int64_t n) { return (n + 7) / 8 * 8; }

template <class T>
struct LassoRow {
    // The same for every row. Padding: 0 in the dictionary and the Gram matrix.
    std::int64_t atoms = 0, features = 0;
    const T* dictionary = nullptr;
    std::int64_t dictionary_stride = 0;
    const T* gram = nullptr;  // D D^T; null: correlations are taken from residuals, at features x atoms each time
    std::int64_t gram_stride = 0;
    T lipschitz = 0;  // at least the largest eigenvalue of D D^T
    T tol = 0;
    std::int64_t max_iter = 0;
    bool positive = false;
    bool float_codes = false;  // codes are rounded to float32 before their gap is taken

    const T* x = nullptr;                   // padded with 0, and 0 where an entry is missing
    const T* observed = nullptr;            // 1 or 0 for each feature; null: all are there
    const T* start_correlations = nullptr;  // D x, padded with 0
    const T* alpha = nullptr;               // padded with infinity
    const T* inverse_alpha = nullptr;       // padded with 0

    T* codes = nullptr;  // atoms; on entry where to start
    T objective = 0;     // of the codes returned
    T gap = 0;
    std::int64_t n_iter = 0;
    bool converged = false;
};

// One worker's memory, carved from one block. capacity: atoms that can be at work at a time.
template <class T>
struct LassoScratch {
    T *codes, *previous, *correlation, *previous_correlation;  // atoms
    T *minus;                                                  // atoms: codes that are not zero, their signs turned
    T *alpha, *inverse_alpha;                                  // atoms
    T *residual;                                               // features
    T *local_gram, *inverse, *masked;                          // capacity rows
    T *value, *gradient, *penalty, *step, *slope, *weight;     // capacity
    std::int32_t *found, *slot_of;                             // atoms
    std::int32_t *atom_of;                                     // capacity
    std::int64_t capacity = 0, capacity_stride = 0;
};

template <class T>
struct LassoKernels {
    void (*ista)(LassoRow<T>& row, LassoScratch<T>& scratch);
    void (*fista)(LassoRow<T>& row, LassoScratch<T>& scratch);
    void (*cd)(LassoRow<T>& row, LassoScratch<T>& scratch);
};

HARMONIUM_DECLARE_KERNELS(LassoKernels, lasso_kernels)

}  // namespace harmonium
