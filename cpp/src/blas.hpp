// The serial CBLAS product that gemm and the panel products call.
#pragma once

#include "harmonium/matrix.hpp"

namespace harmonium {

void blas_gemm(float alpha, Matrix<const float> a, bool transpose_a, Matrix<const float> b, bool transpose_b, float beta,
               Matrix<float> c);
void blas_gemm(double alpha, Matrix<const double> a, bool transpose_a, Matrix<const double> b, bool transpose_b,
               double beta, Matrix<double> c);

}  // namespace harmonium
