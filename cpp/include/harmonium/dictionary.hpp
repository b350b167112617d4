#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium {

// What a dictionary is learned from (Mairal, Bach, Ponce, Sapiro, "Online learning for matrix factorization and sparse
// coding", JMLR 11, 2010, algorithm 1): A <- keep A + share H^T H and B <- keep B + share H^T X for codes H and rows X.
//   h: n x K by its non-zeros, with values; x: n x d, float or double; A: K x K and B: K x d, double, neither may overlap.
//   Costs non-zeros squared and non-zeros x d a row. The same bits whatever the number of threads. Throws std::invalid_argument.
//   On a GPU both are products of codes written out.
template <class T>
void code_statistics(Context& context, const SparseRows<T>& h, Matrix<const T> x, double keep, double share, Matrix<double> a,
                     Matrix<double> b);

// One pass of block coordinate descent over the atoms (the same paper, algorithm 2, for atoms of norm 1):
//   u_k = B_k - sum over j != k of A_kj D_j, D_k <- u_k / |u_k|, or u_k's positive part over its norm with positive,
// the minimiser over D_k of 0.5 tr(D^T A D) - tr(D^T B) on the sphere. Atoms with A_kk <= 0 or u_k = 0 stay as they are.
//   d: K x d, changed; scratch: 32 x d. The same bits whatever the number of threads. Throws std::invalid_argument.
void dictionary_update(Context& context, Matrix<const double> a, Matrix<const double> b, bool positive, Matrix<double> scratch,
                       Matrix<double> d);

}  // namespace harmonium
