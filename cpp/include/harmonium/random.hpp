#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"
#include "harmonium/philox.hpp"

namespace harmonium {

// out(i, j) = uniform(draw, first_row + i, j) of philox.hpp, for all of out.
template <class T>
void uniform(Context& context, const Draw& draw, std::uint32_t first_row, Matrix<T> out);

}  // namespace harmonium
