#include "rbm_scores.cuh"

#include "cover.cuh"
#include "harmonium/math.hpp"
#include "launch.cuh"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

template <class T>
__device__ double state_of(const Parts<T>& states, const Matrix<const T>& numbers, std::int64_t i, std::int64_t j) {
    return numbers ? static_cast<double>(numbers.row(i)[j]) : static_cast<double>(states.is_on(i, j));
}

template <class T>
__device__ double softplus_at(T activation, const Heat<T>& heat, T scale, std::int64_t j) {
    return softplus(static_cast<double>(activation) * static_cast<double>(scale) + static_cast<double>(heat.bias[j]));
}

// A block takes a row.
template <class T>
__global__ void row_logs_kernel(RowLogs<T> logs) {
    const std::int64_t visible = logs.numbers ? logs.numbers.cols : logs.states.cols;
    const T now = logs.now.scale ? *logs.now.scale : T(1), before = logs.before.scale ? *logs.before.scale : T(1);
    const double share = logs.share ? *logs.share : 1.0;
    for (std::int64_t i = blockIdx.x; i < logs.activation.rows; i += gridDim.x) {
        double linear = 0, sum = 0;
        for (std::int64_t k = threadIdx.x; k < visible; k += blockDim.x) linear += state_of(logs.states, logs.numbers, i, k) * logs.slope[k];
        for (std::int64_t j = threadIdx.x; j < logs.activation.cols; j += blockDim.x) {
            const T a = logs.activation.row(i)[j];
            sum += softplus_at(a, logs.now, now, j);
            if (logs.before.bias) sum -= softplus_at(a, logs.before, before, j);
        }
        sum = block_sum(share * linear + sum);
        if (threadIdx.x == 0) logs.out[i] = logs.add ? logs.out[i] + sum : sum;
    }
}

// One block: all its threads have read where annealing stands before one moves it on.
template <class T>
__global__ void next_temperature_kernel(Anneal<T> anneal) {
    const std::uint64_t step = anneal.now->step + 1;
    const double beta = anneal.betas[step], before = anneal.betas[step - 1];
    __syncthreads();
    if (threadIdx.x == 0) *anneal.now = {step, beta - before, static_cast<T>(beta), static_cast<T>(before)};
    for (std::int64_t i = threadIdx.x; i < anneal.visible; i += blockDim.x) {
        anneal.visible_now[i] = static_cast<T>((1 - beta) * anneal.base[i] + beta * static_cast<double>(anneal.visible_bias[i]));
    }
    for (std::int64_t j = threadIdx.x; j < anneal.hidden; j += blockDim.x) {
        const auto c = static_cast<double>(anneal.hidden_bias[j]);
        anneal.hidden_now[j] = static_cast<T>(beta * c);
        anneal.hidden_before[j] = static_cast<T>(before * c);
    }
}

__global__ void count_kernel(std::uint64_t* steps) { ++*steps; }

template <class T>
__global__ void flips_kernel(Flipping<T> f) {
    for (std::int64_t k = own_y(); k < f.n_units; k += stride_y()) {
        const std::int64_t j = own_x();
        if (j >= f.weights.cols) return;
        const auto w = static_cast<double>(f.weights.row(f.units[k])[j]);
        f.on.row(k)[j] = f.by_ratios ? exp(w) - 1 : w;
        if (f.by_ratios) f.off.row(k)[j] = exp(-w) - 1;
    }
}

template <class T>
__global__ void given_kernel(Flipping<T> f) {
    for (std::int64_t i = own_y(); i < f.activation.rows; i += stride_y()) {
        const std::int64_t j = own_x();
        if (j >= f.activation.cols) return;
        const double a = static_cast<double>(f.activation.row(i)[j]) + static_cast<double>(f.hidden_bias[j]);
        f.given.row(i)[j] = f.by_ratios ? sigmoid(a) : a;
    }
}

constexpr int flip_rows = 8, flip_tile = 32;

// A warp takes a row, its lanes 32 units, all of them 32 hidden units at a time. By ratios, the change of -F that a flip makes is
// the log of a product of 1 + p (e^(+-W) - 1); `tiles` tiles of such factors fit a double.
template <class T>
__global__ void pseudo_kernel(Flipping<T> f, std::int64_t tiles) {
    __shared__ double given[flip_rows][flip_tile + 1], on[flip_tile][flip_tile + 1], off[flip_tile][flip_tile + 1];
    const unsigned lane = threadIdx.x, y = threadIdx.y;
    const std::int64_t rows = f.activation.rows, hidden = f.activation.cols;
    for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * flip_rows; first < rows; first += static_cast<std::int64_t>(gridDim.x) * flip_rows) {
        const std::int64_t i = first + y;
        double sum = 0;
        for (std::int64_t from = 0; from < f.n_units; from += flip_tile) {
            const bool here = i < rows && from + lane < f.n_units;
            const std::int64_t unit = here ? f.units[from + lane] : 0;
            const double x = here ? state_of(f.states, f.numbers, i, unit) : 0.0, move = 1 - 2 * x;
            double change = 0, product = 1;
            std::int64_t multiplied = 0;
            for (std::int64_t start = 0; start < hidden; start += flip_tile) {
                const std::int64_t j = start + lane;
                given[y][lane] = i < rows && j < hidden ? f.given.row(i)[j] : 0.0;
                for (unsigned k = y; k < flip_tile; k += flip_rows) {
                    const bool inside = from + k < f.n_units && j < hidden;  // beyond, factors are 1 and changes 0
                    on[k][lane] = inside ? f.on.row(from + k)[j] : 0.0;
                    if (f.by_ratios) off[k][lane] = inside ? f.off.row(from + k)[j] : 0.0;
                }
                __syncthreads();
                if (f.by_ratios) {
                    const double* ratio = x != 0 ? off[lane] : on[lane];
                    for (int k = 0; k < flip_tile; ++k) product *= given[y][k] * ratio[k] + 1.0;
                    if (++multiplied == tiles) {
                        change += log(product);
                        product = 1, multiplied = 0;
                    }
                } else {
                    for (int k = 0; k < flip_tile; ++k) change += softplus(given[y][k] + move * on[lane][k]) - softplus(given[y][k]);
                }
                __syncthreads();
            }
            if (f.by_ratios) change += log(product);
            if (here) sum -= softplus(move * static_cast<double>(f.visible_bias[unit]) + change);
        }
        sum = warp_sum(sum);
        if (lane == 0 && i < rows) f.out[i] = sum;
    }
}

}  // namespace

template <class T>
void row_logs(State& state, const RowLogs<T>& logs) {
    if (logs.activation.rows) launch(state.stream, row_logs_kernel<T>, blocks_for(logs.activation.rows, 1), 128, 0, logs);
}
template <class T>
void next_temperature(State& state, const Anneal<T>& anneal) {
    launch(state.stream, next_temperature_kernel<T>, 1, 512, 0, anneal);
}
void count_step(State& state, std::uint64_t* steps) { launch(state.stream, count_kernel, 1, 1, 0, steps); }

template <class T>
void prepare_flips(State& state, const Flipping<T>& f) {
    const Cover over = cover(f.n_units, f.weights.cols);
    if (f.n_units && f.weights.cols) launch(state.stream, flips_kernel<T>, over.grid, over.block, 0, f);
}
template <class T>
void pseudo_log_likelihood(State& state, const Flipping<T>& f) {
    const std::int64_t rows = f.activation.rows;
    if (rows == 0) return;
    const Cover over = cover(rows, f.activation.cols);
    if (f.activation.cols) launch(state.stream, given_kernel<T>, over.grid, over.block, 0, f);
    const double reach = f.largest > 1e-3 ? f.largest : 1e-3;
    const auto tiles = static_cast<std::int64_t>(700 / (flip_tile * reach));
    launch(state.stream, pseudo_kernel<T>, blocks_for(rows, flip_rows), dim3(flip_tile, flip_rows), 0, f, tiles < 1 ? 1 : tiles);
}

#define HARMONIUM_INSTANTIATE(T)                                   \
    template void row_logs(State&, const RowLogs<T>&);             \
    template void next_temperature(State&, const Anneal<T>&);      \
    template void prepare_flips(State&, const Flipping<T>&);       \
    template void pseudo_log_likelihood(State&, const Flipping<T>&);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
