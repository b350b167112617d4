#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"
#include "harmonium/philox.hpp"

namespace harmonium::cuda {

// bernoulli of bernoulli.hpp on the context's device.
template <class T>
void bernoulli(Context& context, Matrix<const T> activation, const T* bias, T scale, const Draw& draw, std::uint32_t first_row,
               Matrix<T> probability, BitMatrix bits);

}  // namespace harmonium::cuda
