// Copies between the host's memory and a GPU's, for tests.
#pragma once

#include <vector>

#include "cuda/buffer.cuh"
#include "cuda/state.cuh"
#include "inputs.hpp"

namespace harmonium_test {

template <class T>
struct OnDevice {
    Context& context;
    cuda::DeviceBuffer<T> memory;

    OnDevice(Context& context_, std::size_t size) : context(context_), memory(size) {}
    OnDevice(Context& context_, const std::vector<T>& from) : OnDevice(context_, from.size()) {
        CUDA_CHECK(cudaMemcpyAsync(memory.data(), from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice,
                                   cuda::use(context).stream));
        context.synchronize();
    }
    std::vector<T> on_host() const {
        std::vector<T> out(memory.size());
        CUDA_CHECK(cudaMemcpyAsync(out.data(), memory.data(), out.size() * sizeof(T), cudaMemcpyDeviceToHost,
                                   cuda::use(context).stream));
        context.synchronize();
        return out;
    }
    Matrix<T> view(std::int64_t rows, std::int64_t cols) const { return {memory.data(), rows, cols}; }
};

}  // namespace harmonium_test
