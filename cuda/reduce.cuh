// Sums within a block, always in the same order.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace harmonium::cuda {

template <class T>
__device__ T warp_sum(T value) {
    for (int distance = 16; distance; distance /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, distance);
    return value;
}
template <class T>
__device__ T warp_max(T value) {
    for (int distance = 16; distance; distance /= 2) {
        const T other = __shfl_xor_sync(0xFFFFFFFFu, value, distance);
        value = other > value ? other : value;
    }
    return value;
}

// Over all threads of a one-dimensional block of whole warps; thread 0 gets it. Every thread has to come.
template <class T>
__device__ T block_sum(T value) {
    __shared__ T of_warp[32];
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    T sum = 0;
    if (threadIdx.x == 0) {
        for (unsigned w = 0; w < blockDim.x / 32; ++w) sum += of_warp[w];
    }
    __syncthreads();  // of_warp is the next sum's
    return sum;
}

// The sum of the one and the largest of the other, for all threads of such a block.
template <class T>
struct SumAndMost {
    T sum, most;
};
template <class T>
__device__ SumAndMost<T> block_sum_and_most(T sum, T most) {
    __shared__ T of_warp[2][32];
    sum = warp_sum(sum);
    most = warp_max(most);
    if (threadIdx.x % 32 == 0) of_warp[0][threadIdx.x / 32] = sum, of_warp[1][threadIdx.x / 32] = most;
    __syncthreads();
    SumAndMost<T> all{0, of_warp[1][0]};
    for (unsigned w = 0; w < blockDim.x / 32; ++w) {
        all.sum += of_warp[0][w];
        all.most = of_warp[1][w] > all.most ? of_warp[1][w] : all.most;
    }
    __syncthreads();  // of_warp is the next ones'
    return all;
}

// Blocks of 32 x rows_down threads take 32 columns each.
constexpr unsigned rows_down = 16;
// The sum over i < rows of term(i), where `valid`; threads (j, 0) get that of column j. Every thread has to come.
template <class T, class Term>
__device__ T sum_down(std::int64_t rows, bool valid, const Term& term) {
    __shared__ T partial[rows_down][32];
    T sum = 0;
#pragma unroll 8
    for (std::int64_t i = threadIdx.y; valid && i < rows; i += rows_down) sum += term(i);
    partial[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = rows_down / 2; half; half /= 2) {
        if (threadIdx.y < half) partial[threadIdx.y][threadIdx.x] += partial[threadIdx.y + half][threadIdx.x];
        __syncthreads();
    }
    return partial[0][threadIdx.x];
}

}  // namespace harmonium::cuda
