#include "harmonium/device_rows.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "copy.cuh"
#include "cover.cuh"
#include "row_feed.cuh"
#include "state.cuh"

namespace harmonium {

namespace cuda {
namespace {

constexpr unsigned rows_down = 8;

// What a block of 32 x rows_down threads finds in 32 columns of its share of the rows: parts x cols values each. Every number
// is looked at once; the parts are few, and the host's to join.
template <class T>
__global__ void summarise_kernel(Matrix<const T> x, std::int64_t rows_each, double* least, double* greatest, double* sum, int* others) {
    __shared__ double shared[3][rows_down][32];
    __shared__ int found[rows_down][32];
    const std::int64_t j = own_x(), first = static_cast<std::int64_t>(blockIdx.y) * rows_each;
    const std::int64_t end = first + rows_each < x.rows ? first + rows_each : x.rows;
    // NaN stays: nothing compares with it.
    const auto join = [](double& low, double& high, double other_low, double other_high) {
        if (other_low < low || other_low != other_low) low = other_low;
        if (other_high > high || other_high != other_high) high = other_high;
    };
    double low = j < x.cols ? static_cast<double>(x.row(first)[j]) : 0, high = low, total = 0;
    int other = 0;
    for (std::int64_t i = first + threadIdx.y; j < x.cols && i < end; i += rows_down) {
        const auto value = static_cast<double>(x.row(i)[j]);
        join(low, high, value, value);
        total += value;
        other |= value != 0 && value != 1;
    }
    shared[0][threadIdx.y][threadIdx.x] = low, shared[1][threadIdx.y][threadIdx.x] = high, shared[2][threadIdx.y][threadIdx.x] = total;
    found[threadIdx.y][threadIdx.x] = other;
    __syncthreads();
    if (threadIdx.y > 0 || j >= x.cols) return;
    for (unsigned k = 1; k < rows_down; ++k) {
        join(low, high, shared[0][k][threadIdx.x], shared[1][k][threadIdx.x]);
        total += shared[2][k][threadIdx.x];
        other |= found[k][threadIdx.x];
    }
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.y) * x.cols + j;
    least[at] = low, greatest[at] = high, sum[at] = total, others[at] = other;
}

// A warp reads 32 neighbours at a time, and its first lane writes a word of them.
template <class T>
__global__ void pack_kernel(Matrix<const T> x, BitMatrix out) {
    auto* halves = reinterpret_cast<std::uint32_t*>(out.data);
    const std::int64_t j = own_x();
    for (std::int64_t i = own_y(); i < x.rows; i += stride_y()) {
        const unsigned mask = __ballot_sync(0xFFFFFFFFu, j < x.cols && x.row(i)[j] != T(0));
        if (threadIdx.x % 32 == 0 && j / 64 < out.words()) halves[2 * i * out.stride + j / 32] = mask;
    }
}

template <class T>
__global__ void unpack_kernel(ConstBitMatrix bits, Matrix<T> out) {
    const std::int64_t j = own_x();
    if (j >= out.cols) return;
    for (std::int64_t i = own_y(); i < out.rows; i += stride_y()) out.row(i)[j] = T(bits.bit(i, j));
}

template <class T>
__global__ void take_kernel(Matrix<const T> x, const std::int64_t* order, Matrix<T> out) {
    for (std::int64_t i = own_y(); i < out.rows; i += stride_y()) {
        const T* from = x.row(order ? order[i] : i);
        for (std::int64_t j = own_x(); j < out.cols; j += static_cast<std::int64_t>(gridDim.x) * blockDim.x) out.row(i)[j] = from[j];
    }
}

}  // namespace
}  // namespace cuda

template <class T>
ColumnSummary summarise_columns(Context& context, Matrix<const T> x) {
    using namespace cuda;
    State& state = use(context);
    const auto cols = static_cast<std::size_t>(x.cols);
    constexpr double infinity = std::numeric_limits<double>::infinity();
    ColumnSummary found{std::vector<double>(cols, infinity), std::vector<double>(cols, -infinity), std::vector<double>(cols, 0.0), true};
    if (x.rows == 0 || x.cols == 0) return found;
    const std::int64_t most = std::clamp<std::int64_t>((1 << 17) / x.cols, 1, 256);  // parts: the host joins few numbers
    const std::int64_t rows_each = std::max<std::int64_t>((x.rows + most - 1) / most, 64), parts = (x.rows + rows_each - 1) / rows_each;
    const std::int64_t n = parts * x.cols;
    const DeviceBuffer<double> memory(static_cast<std::size_t>(3 * n));
    const DeviceBuffer<int> others(static_cast<std::size_t>(n));
    launch(state.stream, summarise_kernel<T>, dim3(blocks_for(x.cols, 32, 0x7FFFFFFF), static_cast<unsigned>(parts)), dim3(32, rows_down), 0, x, rows_each,
           memory.data(), memory.data() + n, memory.data() + 2 * n, others.data());
    std::vector<double> values(memory.size());
    std::vector<int> other(others.size());
    CUDA_CHECK(cudaMemcpyAsync(values.data(), memory.data(), values.size() * sizeof(double), cudaMemcpyDeviceToHost, state.stream));
    CUDA_CHECK(cudaMemcpyAsync(other.data(), others.data(), other.size() * sizeof(int), cudaMemcpyDeviceToHost, state.stream));
    context.synchronize();
    for (std::size_t at = 0; at < other.size(); ++at) {
        const std::size_t j = at % cols;
        const double low = values[at], high = values[other.size() + at];
        if (low < found.least[j] || low != low) found.least[j] = low;
        if (high > found.greatest[j] || high != high) found.greatest[j] = high;
        found.mean[j] += values[2 * other.size() + at];
        found.binary = found.binary && !other[at];
    }
    for (double& mean : found.mean) mean /= static_cast<double>(x.rows);
    return found;
}

template <class T>
void pack_rows(Context& context, Matrix<const T> x, BitMatrix out) {
    using namespace cuda;
    State& state = use(context);
    if (x.rows == 0 || x.cols == 0) return;
    const Cover c = cover(x.rows, 64 * out.words());
    launch(state.stream, pack_kernel<T>, c.grid, c.block, 0, x, out);
}

template <class T>
void unpack_rows(Context& context, ConstBitMatrix bits, Matrix<T> out) {
    using namespace cuda;
    State& state = use(context);
    if (out.rows == 0 || out.cols == 0) return;
    const Cover c = cover(out.rows, out.cols);
    launch(state.stream, unpack_kernel<T>, c.grid, c.block, 0, bits, out);
}

template <class T>
void take_rows(Context& context, Matrix<const T> x, const std::int64_t* order, Matrix<T> out) {
    using namespace cuda;
    State& state = use(context);
    if (out.rows == 0 || out.cols == 0) return;
    const auto n = static_cast<std::size_t>(out.rows);
    const DeviceBuffer<std::int64_t> there(order ? n : 0);
    if (order) CUDA_CHECK(cudaMemcpyAsync(there.data(), order, n * sizeof(std::int64_t), cudaMemcpyHostToDevice, state.stream));
    const bool stays = on_device(out.data);
    const DeviceBuffer<T> taken(stays ? 0 : n * static_cast<std::size_t>(out.cols));
    const Matrix<T> to = stays ? out : Matrix<T>(taken.data(), out.rows, out.cols);
    const Cover c = cover(out.rows, out.cols);
    launch(state.stream, take_kernel<T>, c.grid, c.block, 0, x, order ? static_cast<const std::int64_t*>(there.data()) : nullptr, to);
    if (!stays) copy_rows(state, to, out);
    context.synchronize();
}

#define HARMONIUM_INSTANTIATE(T)                                                \
    template ColumnSummary summarise_columns(Context&, Matrix<const T>);        \
    template void pack_rows(Context&, Matrix<const T>, BitMatrix);
HARMONIUM_INSTANTIATE(std::uint8_t)
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE
template void unpack_rows(Context&, ConstBitMatrix, Matrix<float>);
template void take_rows(Context&, Matrix<const std::uint64_t>, const std::int64_t*, Matrix<std::uint64_t>);
template void take_rows(Context&, Matrix<const float>, const std::int64_t*, Matrix<float>);
template void take_rows(Context&, Matrix<const double>, const std::int64_t*, Matrix<double>);

}  // namespace harmonium
