// Grids that cover a matrix: x along its rows, y down its columns; kernels stride over what is left.
#pragma once

#include "launch.cuh"

namespace harmonium::cuda {

struct Cover {
    dim3 grid, block;
};
// `across` threads for each row; narrow rows share a block.
inline Cover cover(std::int64_t rows, std::int64_t across, unsigned narrowest = 32) {
    constexpr unsigned threads = 256;
    unsigned x = narrowest;
    while (x < threads && x < across) x *= 2;
    return {dim3(blocks_for(across, x, 0x7FFFFFFF), blocks_for(rows, threads / x)), dim3(x, threads / x)};
}
// One thread for each Philox counter, which holds the draws of four columns, 16 apart.
inline Cover cover_counters(std::int64_t rows, std::int64_t cols) { return cover(rows, (cols + 63) / 64 * 16, 16); }

inline __device__ std::int64_t own_x() { return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
inline __device__ std::int64_t own_y() { return static_cast<std::int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; }
inline __device__ std::int64_t stride_y() { return static_cast<std::int64_t>(gridDim.y) * blockDim.y; }
// The first of a counter's columns.
inline __device__ std::int64_t first_column(std::int64_t counter) { return counter / 16 * 64 + counter % 16; }

}  // namespace harmonium::cuda
