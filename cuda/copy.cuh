// Copies of rows between the host's memory and the device's, whichever side either is on.
#pragma once

#include "harmonium/matrix.hpp"
#include "state.cuh"

namespace harmonium::cuda {

// Queued on the state's stream; copies from or to pageable memory are over when this returns.
template <class From, class To>
void copy_rows(State& state, const Matrix<From>& from, const Matrix<To>& to) {
    static_assert(std::is_same_v<std::remove_const_t<From>, To>);
    if (to.rows == 0 || to.cols == 0) return;
    CUDA_CHECK(cudaMemcpy2DAsync(to.data, static_cast<std::size_t>(to.stride) * sizeof(To), from.data, static_cast<std::size_t>(from.stride) * sizeof(To),
                                 static_cast<std::size_t>(to.cols) * sizeof(To), static_cast<std::size_t>(to.rows), cudaMemcpyDefault, state.stream));
}
template <class T>
void copy_numbers(State& state, const T* from, std::int64_t count, T* to) {
    if (count) CUDA_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDefault, state.stream));
}

}  // namespace harmonium::cuda
