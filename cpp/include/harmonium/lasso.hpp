#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium {

enum class LassoAlgorithm { ista, fista, cd };

// Of code (i, j): data[i * row_stride + j * col_stride], where a stride of 0 repeats.
struct LassoPenalty {
    const double* data = nullptr;
    std::int64_t row_stride = 0;
    std::int64_t col_stride = 0;
};

struct LassoOptions {
    LassoAlgorithm algorithm = LassoAlgorithm::cd;
    double tol = 1e-6;            // a row is done at a duality gap of at most tol times its objective
    std::int64_t max_iter = 10000;
    bool positive = false;        // codes are not negative
};

// codes_i = argmin over h of 0.5 |x_i - h D|^2 + sum_j alpha_ij |h_j| for every row (Tibshirani, JRSS B 58, 1996), within
// a certified duality gap (Kim et al., IEEE J. Sel. Top. Signal Process. 1, 2007, section III). Sums are taken in double.
//   x: n x d, D: K x d, codes: n x K, float or double; on entry codes is where to start. observed: n x d, 0 where x_ij is
//   missing: the sum is over the others; without data: all are there. gaps: n, of the codes as they are returned, absolute;
//   n_iter: n. alpha: positive or infinity. ista and fista step by 1 / L, L >= the largest eigenvalue of D D^T.
//   Rows do not depend on one another, nor on the number of threads. Memory: D and D D^T in double, and up to 4096 rows.
//   Returns the number of rows that max_iter left above tol. Throws std::invalid_argument, Interrupted.
// On a GPU, where cd does not run, arguments may be of either memory, and a row's codes depend on those coded with it
// within the tolerance: how a product is cut decides the order of its sums.
template <class T>
std::int64_t lasso(Context& context, Matrix<const T> x, Matrix<const T> dictionary, LassoPenalty alpha,
                   Matrix<const std::uint8_t> observed, const LassoOptions& options, Matrix<T> codes, double* gaps,
                   std::int32_t* n_iter);

// An upper bound of the largest eigenvalue of D D^T, at most 3 % above it: the power iteration of all vectors at a time,
// (trace M^256)^(1/256) for M the smaller of D D^T and D^T D, by seven squarings; at most n^(1/256) too large.
template <class T>
double lipschitz_bound(Context& context, Matrix<const T> dictionary);

}  // namespace harmonium
