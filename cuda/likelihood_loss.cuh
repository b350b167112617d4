#pragma once

#include "harmonium/likelihood_loss.hpp"

namespace harmonium::cuda {

// The ops of likelihood_loss.hpp on the context's device; groups are the host's.
template <class T>
void likelihood_loss(Context& context, const OutputGroup* groups, std::int64_t n_groups, const States<T>& x, bool derivatives,
                     T scale, Matrix<T> z, double* loss);
template <class T>
void likelihood_mean(Context& context, const OutputGroup* groups, std::int64_t n_groups, Matrix<T> z);

}  // namespace harmonium::cuda
