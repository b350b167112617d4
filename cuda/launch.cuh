// The one way kernels start: launch(stream, kernel, grid, block, shared_bytes, arguments...), on a device and emulated alike.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <tuple>

#include "check.cuh"

namespace harmonium::cuda {

// The stream, and where launch() stands.
struct At {
    cudaStream_t stream;
    const char* file;
    int line;
    At(cudaStream_t stream_, const char* file_ = __builtin_FILE(), int line_ = __builtin_LINE())
        : stream(stream_), file(file_), line(line_) {}
};

template <class... P, class... A>
void launch(At at, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, const A&... arguments) {
    if (shared_bytes > 48 << 10) {  // what a block has unasked
        const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
        if (error != cudaSuccess) throw_cuda_error(error, "cudaFuncSetAttribute", at.file, at.line);
    }
    std::tuple<std::decay_t<P>...> values(arguments...);
    std::apply(
        [&](auto&... value) {
            void* pointers[] = {&value...};
            const cudaError_t error = cudaLaunchKernel(kernel, grid, block, pointers, shared_bytes, at.stream);
            if (error != cudaSuccess) throw_cuda_error(error, "launch", at.file, at.line);
        },
        values);
}

// Blocks that cover `items` by `per_block` each, at most `most`: kernels stride over the rest.
inline unsigned blocks_for(std::int64_t items, std::int64_t per_block, std::int64_t most = 65535) {
    const std::int64_t blocks = (items + per_block - 1) / per_block;
    return static_cast<unsigned>(blocks < 1 ? 1 : blocks < most ? blocks : most);
}

// A block's dynamic shared memory, 16-byte aligned.
template <class T>
__device__ T* dynamic_shared() {
#if defined(HARMONIUM_EMULATE)
    return static_cast<T*>(harmonium_emulate::dynamic_shared());
#else
    extern __shared__ __align__(16) unsigned char harmonium_shared_bytes[];
    return reinterpret_cast<T*>(harmonium_shared_bytes);
#endif
}

}  // namespace harmonium::cuda
