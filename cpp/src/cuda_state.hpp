// What the core knows of CUDA: that a context may have a state, and how ops ask for it. Defined in cuda/device.cpp, or
// where the library is built without CUDA in no_cuda.cpp.
#pragma once

#include "harmonium/context.hpp"
#include "harmonium/error.hpp"

namespace harmonium {

// In an op, after its checks: if constexpr (built_with_cuda) { if (context.cuda()) return cuda::gemm(...); }
constexpr bool built_with_cuda = HARMONIUM_CUDA;

// In an op without a kernel, before it reads anything: parallel_for would refuse too late.
inline void require_cpu(const Context& context, const char* who) {
    require(!context.cuda(), who, ": it has no CUDA kernel; compute it on the CPU, its arrays in the host's memory");
}

namespace cuda {

State* open_state(int device);  // throws std::runtime_error that says why there is none
void close_state(State* state);
void synchronize(State& state);

}  // namespace cuda
}  // namespace harmonium
