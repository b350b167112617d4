// The one way CUDA is called: CUDA_CHECK(cudaMemsetAsync(...)) throws std::runtime_error with file, line, call and CUDA's
// own words. In destructors, which must not throw, CUDA_IGNORE says that the answer is not looked at.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace harmonium::cuda {

[[noreturn]] void throw_cuda_error(cudaError_t error, const char* call, const char* file, int line);
// OutOfDeviceMemory: how much was asked for, how much is free, how to do with less.
[[noreturn]] void throw_out_of_memory(std::size_t bytes);

}  // namespace harmonium::cuda

#define CUDA_CHECK(call)                                                                                      \
    do {                                                                                                      \
        const cudaError_t cuda_check_error = (call);                                                          \
        if (cuda_check_error != cudaSuccess) {                                                                \
            ::harmonium::cuda::throw_cuda_error(cuda_check_error, #call, __FILE__, __LINE__);                 \
        }                                                                                                     \
    } while (false)
#define CUDA_IGNORE(call) static_cast<void>(call)
