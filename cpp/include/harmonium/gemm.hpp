#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium {

// C = alpha op(A) op(B) + beta C, where op transposes on request.
//   op(A): m x k, op(B): k x n, C: m x n, float or double; C may not overlap A or B.
//   By CBLAS, cut into fixed blocks of C's columns or rows: the same bits whatever the number of threads.
//   Error: at most 2 k eps |A| |B| (Higham, Accuracy and Stability, 2002, eq. 3.13). Throws std::invalid_argument.
template <class T>
void gemm(Context& context, T alpha, Matrix<const T> a, bool transpose_a, Matrix<const T> b, bool transpose_b, T beta,
          Matrix<T> c);

// The kernel that OpenBLAS runs ("SkylakeX", ...), or "" where the linked BLAS is another one.
const char* blas_core();

}  // namespace harmonium
