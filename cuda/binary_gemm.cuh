#pragma once

#include "harmonium/context.hpp"
#include "harmonium/states.hpp"

namespace harmonium::cuda {

// binary_gemm and binary_gemm_tn of binary_gemm.hpp on the context's device. For bits:
//   float32: A is exact in bfloat16 and B the sum of three parts: one product with sums in float32. With two parts B is off by
//   2^-17 |B|, for two thirds of the time. double: as gemm.
template <class T>
void binary_gemm(Context& context, ConstBitMatrix a, Matrix<const T> b, bool transpose_b, bool accumulate, Matrix<T> out, int parts = 3);
// For sparse rows, of the device as all else: sums of B's rows in the type of B.
template <class T>
void binary_gemm(Context& context, const SparseRows<T>& a, Matrix<const T> b, bool transpose_b, bool accumulate, Matrix<T> out);
template <class T>
void binary_gemm_tn(Context& context, ConstBitMatrix a, Matrix<const T> b, bool accumulate, Matrix<T> out, int parts = 3);

}  // namespace harmonium::cuda
