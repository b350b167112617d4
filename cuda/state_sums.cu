#include "state_sums.cuh"

#include "cover.cuh"
#include "harmonium/math.hpp"
#include "launch.cuh"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

constexpr int tile = StateSums::tile, deep = 16;       // states of a block, and other units at a time
constexpr int own = 4, apart = tile / own, threads = apart * apart;  // a thread has own x own pairs

__global__ void cause_kernel(CausedBy cause) {
    const std::int64_t i = own_x(), others = cause.weights.cols;
    if (i >= cause.out.cols) return;
    for (std::int64_t j = own_y(); j <= others; j += stride_y()) {
        double sum = cause.start && j < others ? cause.start[j] : 0.0;
        for (std::int64_t k = 0; k < cause.weights.rows; ++k) {
            if ((cause.first + i) >> k & 1) sum += j < others ? cause.weights.row(k)[j] : cause.bias[k];
        }
        cause.out.row(j)[i] = cause.odds && j < others ? exp(sum) : sum;
    }
}

// x >= 1 as x 2^n with 1 <= x < 2, which adds to n.
__device__ void take_exponent(double& x, int& n) {
    const auto bits = detail::bits_as<std::uint64_t>(x);
    n += static_cast<int>(bits >> 52) - 1023;
    x = detail::bits_as<double>((bits & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u);
}

// deep rows of the block's states from row `from` on; `none` beyond what there is.
__device__ void load(Matrix<const double> table, std::int64_t from, std::int64_t first, double none, double (*out)[tile]) {
    for (int k = static_cast<int>(threadIdx.x); k < deep * tile; k += threads) {
        const std::int64_t j = from + k / tile, i = first + k % tile;
        out[k / tile][k % tile] = j < table.rows - 1 && i < table.cols ? table.row(j)[i] : none;
    }
}

// By odds a factor is 1 + e_high e_low. Else exp(a) may not fit a double: max(a, 0) is summed, and 1 + exp(-|a|) multiplied up.
template <bool odds>
__global__ void sum_kernel(StateSums s) {
    __shared__ double high[deep][tile], low[deep][tile];
    const int x = static_cast<int>(threadIdx.x) % apart, y = static_cast<int>(threadIdx.x) / apart;
    const std::int64_t first_high = blockIdx.y * std::int64_t(tile), first_low = blockIdx.x * std::int64_t(tile), others = s.high.rows - 1;
    double product[own][own], positive[own][own] = {};
    int exponent[own][own] = {}, multiplied = 0;
    for (auto& row : product) {
        for (double& p : row) p = 1;
    }
    const auto take_exponents = [&] {
#pragma unroll
        for (int i = 0; i < own; ++i) {
#pragma unroll
            for (int k = 0; k < own; ++k) take_exponent(product[i][k], exponent[i][k]);
        }
    };
    for (std::int64_t from = 0; from < others; from += deep) {
        load(s.high, from, first_high, odds ? 0.0 : padding_activation, high);
        load(s.low, from, first_low, 0.0, low);
        __syncthreads();
#pragma unroll odds ? 4 : 1
        for (int j = 0; j < deep; ++j) {
            double a[own], b[own];
#pragma unroll
            for (int i = 0; i < own; ++i) a[i] = high[j][y + apart * i], b[i] = low[j][x + apart * i];
#pragma unroll
            for (int i = 0; i < own; ++i) {
#pragma unroll
                for (int k = 0; k < own; ++k) {
                    double& p = product[i][k];
                    if constexpr (odds) {
                        p = detail::multiply_add(p, a[i] * b[k], p);
                    } else {
                        const double sum = a[i] + b[k];
                        positive[i][k] += sum > 0 ? sum : 0.0;
                        p = detail::multiply_add(p, exp(sum > 0 ? -sum : sum), p);
                    }
                }
            }
            if (++multiplied == s.factors) {
                take_exponents();
                multiplied = 0;
            }
        }
        __syncthreads();
    }
    take_exponents();
    LogSum sum;
#pragma unroll
    for (int i = 0; i < own; ++i) {
#pragma unroll
        for (int k = 0; k < own; ++k) {
            const std::int64_t at_high = first_high + y + apart * i, at_low = first_low + x + apart * k;
            if (at_high >= s.high.cols || at_low >= s.low.cols) continue;
            const double factors = positive[i][k] + (static_cast<double>(exponent[i][k]) * 0.6931471805599453 + log(product[i][k]));
            const double weight = s.high.row(others)[at_high] + s.low.row(others)[at_low] + factors;
            const bool larger = weight > sum.largest;
            const double ratio = exp(larger ? sum.largest - weight : weight - sum.largest);
            sum.sum = larger ? sum.sum * ratio + 1.0 : sum.sum + ratio;
            if (larger) sum.largest = weight;
        }
    }
    const double largest = block_sum_and_most(0.0, sum.largest).most;
    const double all = block_sum(sum.sum * exp(sum.largest - largest));
    if (threadIdx.x == 0) {
        LogSum& part = s.parts[blockIdx.y * static_cast<std::int64_t>(gridDim.x) + blockIdx.x];
        part.largest = largest, part.sum = all;
    }
}

}  // namespace

void caused_activations(State& state, const CausedBy& cause) {
    const Cover over = cover(cause.out.rows, cause.out.cols);
    launch(state.stream, cause_kernel, over.grid, over.block, 0, cause);
}

void sum_states(State& state, const StateSums& s) {
    const dim3 grid(static_cast<unsigned>(StateSums::tiles(s.low.cols)), static_cast<unsigned>(StateSums::tiles(s.high.cols)));
    launch(state.stream, s.odds ? sum_kernel<true> : sum_kernel<false>, grid, threads, 0, s);
}

}  // namespace harmonium::cuda
