#pragma once

#include "harmonium/dense.hpp"
#include "harmonium/philox.hpp"
#include "step_draw.cuh"

namespace harmonium::cuda {

// The ops of dense.hpp on the context's device: products by cuBLASLt, what follows them in one pass each.
template <class T>
void dense_forward(Context& context, const States<T>& x, Matrix<const T> w, bool transpose_w, const T* bias, Activation f,
                   Matrix<T> out);
template <class T>
void dense_backward(Context& context, Matrix<const T> delta, Matrix<const T> w, bool transpose_w, Activation f,
                    Matrix<const T> a, T a_scale, Matrix<T> out);
template <class T>
void column_sums(Context& context, Matrix<const T> m, bool accumulate, T* out);
template <class T>
void dropout(Context& context, T rate, const Draw& draw, std::uint32_t first_row, Matrix<T> m);

// In place of a product's result: f(z + bias), bias null: 0, and then dropout unless its rate is 0.
template <class T>
void finish_forward(Context& context, Activation f, const T* bias, T rate, const StepDraw& draw, std::uint32_t first_row, Matrix<T> out);
// In place of delta op(W)^T: times f'(z), then dropout as forward, then plus `more`, if it has data.
template <class T>
void finish_backward(Context& context, Activation f, Matrix<const T> a, T a_scale, T rate, const StepDraw& draw,
                     std::uint32_t first_row, Matrix<const T> more, Matrix<T> out);

// States as a dense matrix: as they are, or sparse rows written out in `room`, rows x cols.
template <class T>
Matrix<const T> write_out(Context& context, const States<T>& x, Matrix<T> room);
// The same in scratch memory of the context, Scratch::second.
template <class T>
Matrix<const T> write_out(Context& context, const States<T>& x);

}  // namespace harmonium::cuda
