// A fully connected layer: A = f(X op(W) + c), and its part of backpropagation (Rumelhart, Hinton, Williams 1986).
#pragma once

#include "harmonium/activation.hpp"
#include "harmonium/context.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

// out = f(X op(W) + bias), bias and f applied to each block of the product while it is in cache.
//   X: n x k, dense or sparse rows; op(W): k x m (sparse rows take W as it is); bias: m values; out: n x m, not X.
//   Error of the product as gemm's. Allocates scratch in the context once. Throws std::invalid_argument.
template <class T>
void dense_forward(Context& context, const States<T>& x, Matrix<const T> w, bool transpose_w, const T* bias, Activation f,
                   Matrix<T> out);

// out = (delta op(W)^T) f'(z), the derivative by the lower layer's input z given that by the upper layer's.
//   delta: n x m; a: n x k, lower layer's output; it is f(z) divided by a_scale, as dropout leaves it. out: n x k, not delta.
template <class T>
void dense_backward(Context& context, Matrix<const T> delta, Matrix<const T> w, bool transpose_w, Activation f,
                    Matrix<const T> a, T a_scale, Matrix<T> out);

// out[j] = the sum of column j, or added to it: of delta, the gradient by the biases (by the weights: weight_step.hpp).
template <class T>
void column_sums(Context& context, Matrix<const T> m, bool accumulate, T* out);

// Dropout (Hinton et al. 2012): entry (i, j) is kept, and divided by 1 - rate, where
// uniform(draw, first_row + i, j) >= rate.
template <class T>
void dropout(Context& context, T rate, const Draw& draw, std::uint32_t first_row, Matrix<T> m);

}  // namespace harmonium
