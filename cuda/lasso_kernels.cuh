// The steps of ista and fista on many rows at a time. Rows stand in slots; a row that is done leaves its slot to another.
#pragma once

#include "harmonium/bfloat16.hpp"
#include "harmonium/lasso.hpp"
#include "state.cuh"

namespace harmonium::cuda {

// The Gram matrix is not used: with two products of features x atoms a step costs less from twice as many atoms as
// features on, missing entries need nothing more, and |r|^2 is a sum of squares, without cancellation.
struct LassoSlot {
    double residual_squared, residual_x;
    double t;       // momentum's
    double uphill;  // <y - h, h - h_before> for codes h, those before and the point y between: positive, momentum misled
    double least_gap;
    std::int32_t row, n_iter, idle;  // idle: steps since the gap was last much less than before
    bool fresh, working;
};

// What every row of a block has, by row, and the dictionary. d', K': features and atoms as multiples of 8, zeros in between.
struct LassoBlock {
    std::int64_t rows, atoms, features, atom_stride, feature_stride;
    const double* dictionary;        // K' x d'
    const Bfloat16 *below, *beside;  // its parts for the two products: (3 K') x d' and K' x (3 d')
    const double* step;              // 1 / L
    Matrix<const double> x;          // 0 where an entry is missing
    Matrix<const std::uint8_t> observed;
    LassoPenalty alpha;
    double *gaps, *objectives;
    std::int32_t* n_iter;
    std::uint8_t* converged;
};

// Steps in R: double; or float with bfloat16 products of two parts, h1 D1 + h2 D1 + h1 D2, which err by 2^-15 |h||D| at most.
template <class R>
struct LassoWork {
    R *codes, *before, *correlation, *correlation_before;  // slots x K'
    R* residual;                                           // slots x d'
    Bfloat16 *code_parts, *residual_parts;                 // slots x 3 K', slots x 3 d'; of float only
    LassoSlot* slots;
};

// Rows take their slots with the codes to start from; an infinite penalty of such a code would make the objective infinite.
template <class R, class T>
void lasso_start(State& state, const LassoBlock& block, const LassoWork<R>& work, Matrix<const T> codes);
// Residuals and correlations of the codes in the first `slots` slots.
template <class R>
void lasso_correlations(State& state, const LassoBlock& block, const LassoWork<R>& work, std::int64_t slots);
// Judges the codes of each slot and puts the next ones there; a row that is done, at its last step or at the end of what
// R resolves writes its codes, n_iter and converged.
template <class R, class T>
void lasso_step(State& state, const LassoBlock& block, const LassoWork<R>& work, const LassoOptions& options, std::int64_t slots,
                Matrix<T> codes);
// How many slots are at work.
void lasso_count(State& state, const LassoSlot* slots, std::int64_t n, int* count);
// Moves the rows at work into the first `count` slots. moves: 2 n + 1 numbers.
template <class R>
void lasso_compact(State& state, const LassoBlock& block, const LassoWork<R>& work, std::int64_t n, std::int64_t count, int* moves);
// Gaps and objectives of the codes in the slots, which are those of the rows in order.
void lasso_gaps(State& state, const LassoBlock& block, const LassoWork<double>& work, bool positive);

// A dictionary with zeros around it, and its parts.
template <class T>
void lasso_dictionary(State& state, Matrix<const T> dictionary, std::int64_t atom_stride, std::int64_t feature_stride, double* wide,
                      Bfloat16* below, Bfloat16* beside);
// In double, with zeros where an entry is missing.
template <class T>
void lasso_rows(State& state, Matrix<const T> x, Matrix<const std::uint8_t> observed, Matrix<double> out);
// The first penalty that is not positive, counted along rows; rows x atoms where there is none.
void lasso_refused(State& state, LassoPenalty alpha, std::int64_t rows, std::int64_t atoms, unsigned long long* first);

// As lipschitz_bound in lasso.cpp: power has n x n numbers, square as many; bound: two numbers, the bound and 1 / it.
void trace_bound(Context& context, Matrix<const double> d, double* power, double* square, double* bound);

}  // namespace harmonium::cuda
