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
inline void copy_bits(State& state, ConstBitMatrix from, BitMatrix to) {
    copy_rows(state, Matrix<const std::uint64_t>(from.data, from.rows, from.words(), from.stride),
              Matrix<std::uint64_t>(to.data, to.rows, to.words(), to.stride));
}
// Numbers of the host, or none, on the device.
template <class T>
DeviceBuffer<T> on_the_device(State& state, const T* from, std::int64_t n) {
    DeviceBuffer<T> there(static_cast<std::size_t>(from ? n : 0));
    if (from) copy_numbers<T>(state, from, n, there.data());
    return there;
}

}  // namespace harmonium::cuda
