#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"
#include "harmonium/philox.hpp"

namespace harmonium::cuda {

// uniform of random.hpp on the context's device.
template <class T>
void uniform(Context& context, const Draw& draw, std::uint32_t first_row, Matrix<T> out);

}  // namespace harmonium::cuda
