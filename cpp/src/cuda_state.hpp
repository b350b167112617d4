// What the core knows of CUDA: that a context may have a state, and how ops ask for it. Defined in cuda/device.cpp, or
// where the library is built without CUDA in no_cuda.cpp.
#pragma once

#include "harmonium/context.hpp"

namespace harmonium {

// In an op, after its checks: if constexpr (built_with_cuda) { if (context.cuda()) return cuda::gemm(...); }
constexpr bool built_with_cuda = HARMONIUM_CUDA;

namespace cuda {

State* open_state(int device);  // throws std::runtime_error that says why there is none
void close_state(State* state);
void synchronize(State& state);

}  // namespace cuda
}  // namespace harmonium
