#pragma once

#include "harmonium/lasso.hpp"

namespace harmonium::cuda {

// lasso of lasso.hpp on the context's device, by ista or fista. Every argument may be of the host's memory or of the
// device's: rows are taken to the device a block at a time.
template <class T>
std::int64_t lasso(Context& context, Matrix<const T> x, Matrix<const T> dictionary, LassoPenalty alpha,
                   Matrix<const std::uint8_t> observed, const LassoOptions& options, Matrix<T> codes, double* gaps,
                   std::int32_t* n_iter);
template <class T>
double lipschitz_bound(Context& context, Matrix<const T> dictionary);

}  // namespace harmonium::cuda
