#pragma once

#include "harmonium/update.hpp"
#include "harmonium/weight_step.hpp"

namespace harmonium::cuda {

// What changes from one step to the next, on the device, so that a captured graph takes it anew.
struct Pace {
    double rate, first_correction, second_correction;
};
// The step that is taken, `first` steps after the first of paces: paces[*at].
struct Paces {
    const Pace* paces = nullptr;  // null: as the options have it
    const std::int64_t* at = nullptr;
};

// The ops of update.hpp and weight_step.hpp on the context's device; options are prepared.
template <class T>
void update(Context& context, const Update& options, std::int64_t n, const T* gradient, T* u, T* s, T* theta);
template <class T>
double add_decay(Context& context, T decay, std::int64_t n, const T* theta, T* gradient);
// The gradient is summed by cuBLASLt, in memory of the context's (Scratch::first) where it is not stored; dense terms.
template <class T>
void weight_step(Context& context, const WeightStep<T>& step, const Paces& paces = {});
// The step of a layer's biases: the gradient is the sums of delta's columns.
template <class T>
void bias_step(Context& context, Matrix<const T> delta, const Update& options, const Paces& paces, T* u, T* s, T* theta);

// *out (on the device) = the sum of squares of m, or added to it.
template <class T>
void sum_of_squares(Context& context, Matrix<const T> m, bool accumulate, double* out);

}  // namespace harmonium::cuda
