#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium::cuda {

// shrink of shrink.hpp on the context's device; that thresholds are not negative is seen to by a kernel.
template <class T>
void shrink(Context& context, Matrix<const T> x, const T* a, bool positive, Matrix<T> out);

}  // namespace harmonium::cuda
