#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium::cuda {

// transpose_bits of pack.hpp on the context's device.
void transpose_bits(Context& context, ConstBitMatrix bits, BitMatrix out);

}  // namespace harmonium::cuda
