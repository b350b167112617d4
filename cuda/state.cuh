// What a Context of a GPU keeps: its stream, scratch memory and the products that cuBLAS has planned for it.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "buffer.cuh"
#include "cublas.cuh"
#include "harmonium/context.hpp"

namespace harmonium::cuda {

// Scratch memories that an op may need at the same time.
enum class Scratch { first, second, workspace, count };

struct State {
    explicit State(int device);
    ~State();
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    // At least `size` elements; contents last until the next request for the same memory. Allocates when it has to
    // grow: a loop asks once for its largest before it begins, and always before a graph is captured.
    template <class T>
    T* scratch(Scratch which, std::int64_t size) {
        auto& buffer = memory[static_cast<int>(which)];
        buffer.reserve(static_cast<std::size_t>(size) * sizeof(T));
        return reinterpret_cast<T*>(buffer.data());
    }

    int index;
    int multiprocessors = 0;
    cudaStream_t stream = nullptr;
    DeviceBuffer<unsigned char> memory[static_cast<int>(Scratch::count)];
    ProductPlans plans;
};

// The context's, with its device made the calling thread's current one. Every launcher begins with it.
State& use(Context& context);

}  // namespace harmonium::cuda
