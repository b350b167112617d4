#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium::cuda {

// gemm of gemm.hpp on the context's device, by cuBLASLt; float32 without TF32.
template <class T>
void gemm(Context& context, T alpha, Matrix<const T> a, bool transpose_a, Matrix<const T> b, bool transpose_b, T beta, Matrix<T> c);

}  // namespace harmonium::cuda
