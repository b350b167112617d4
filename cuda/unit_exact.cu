#include "unit_exact.cuh"

#include "cover.cuh"
#include "harmonium/math.hpp"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

constexpr unsigned threads = 256;

__device__ double largest_of(const double* logs, std::int64_t states) {
    double most = logs[0];
    for (std::int64_t k = threadIdx.x; k < states; k += threads) most = logs[k] > most ? logs[k] : most;
    return block_sum_and_most(0.0, most).most;
}
__device__ double weight_of(double log, double most, double words) { return exp(words * (log - most)); }

// A block takes a size: a row's of the data, or that of all. totals: what it counts over the sum of its weights; then the largest log.
template <class T>
__global__ void totals_kernel(UnitStep<T> s, std::int64_t sizes, const double* logs, double* totals) {
    const std::int64_t states = s.step.m;
    const double most = largest_of(logs, states);
    for (std::int64_t r = blockIdx.x; r < sizes; r += gridDim.x) {
        const double words = s.visible.bag ? static_cast<double>(s.exposure[r]) : 1.0;
        double sum = 0;
        for (std::int64_t k = threadIdx.x; k < states; k += threads) sum += weight_of(logs[k], most, words);
        sum = block_sum(sum);
        if (threadIdx.x > 0) continue;
        totals[r] = (s.visible.bag ? words * static_cast<double>(s.factor[r]) : static_cast<double>(s.masses[s.step.place->done])) / sum;
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) totals[sizes] = most;
}

// A thread takes a state.
template <class T>
__global__ void factors_kernel(UnitStep<T> s, std::int64_t sizes, const double* logs, const double* totals) {
    const std::int64_t k = own_x();
    if (k >= s.step.m) return;
    double sum = 0;
    for (std::int64_t r = 0; r < sizes; ++r) {
        sum += totals[r] * weight_of(logs[k], totals[sizes], s.visible.bag ? static_cast<double>(s.exposure[r]) : 1.0);
    }
    s.factor[s.step.n + k] = s.mean_factor[s.step.n + k] = static_cast<T>(-sum);
}

// A block takes a row, its threads neighbouring states; one thread looks among those that the level lies within.
template <class T>
__global__ void choose_kernel(const double* logs, std::int64_t states, const T* sizes, Draw draw, std::int64_t m, std::int64_t* which) {
    __shared__ double ends[threads];
    const double most = largest_of(logs, states);
    const std::int64_t each = (states + threads - 1) / threads, first = threadIdx.x * each;
    const std::int64_t end = first + each < states ? first + each : states;
    for (std::int64_t i = blockIdx.x; i < m; i += gridDim.x) {
        const double words = sizes ? static_cast<double>(sizes[i]) : 1.0;
        double sum = 0;
        for (std::int64_t k = first; k < end; ++k) sum += weight_of(logs[k], most, words);
        ends[threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.x == 0) {
            which[i] = states - 1;  // where logs are NaN nobody finds another
            for (unsigned t = 1; t < threads; ++t) ends[t] += ends[t - 1];
        }
        __syncthreads();
        const double level = uniform<double>(draw, static_cast<std::uint32_t>(i), 0) * ends[threads - 1];
        double below = threadIdx.x > 0 ? ends[threadIdx.x - 1] : 0.0;
        if (below <= level && level < ends[threadIdx.x]) {
            std::int64_t chosen = first;
            for (std::int64_t k = first; k < end; ++k) {
                const double own = weight_of(logs[k], most, words);
                if (own > 0) chosen = k;
                below += own;
                if (level < below) break;
            }
            which[i] = chosen;
        }
        __syncthreads();  // `ends` are the next row's
    }
}

}  // namespace

template <class T>
void weigh_states(State& state, const UnitStep<T>& s, const double* logs, double* totals) {
    const std::int64_t sizes = s.visible.bag ? s.step.n : 1;
    launch(state.stream, totals_kernel<T>, blocks_for(sizes, 1), threads, 0, s, sizes, logs, totals);
    launch(state.stream, factors_kernel<T>, blocks_for(s.step.m, 128, 0x7FFFFFFF), 128, 0, s, sizes, logs, totals);
}
template <class T>
void choose_states(State& state, const double* logs, std::int64_t states, const T* sizes, const Draw& draw, std::int64_t m,
                   std::int64_t* which) {
    if (m) launch(state.stream, choose_kernel<T>, blocks_for(m, 1), threads, 0, logs, states, sizes, draw, m, which);
}

#define HARMONIUM_INSTANTIATE(T)                                                              \
    template void weigh_states(State&, const UnitStep<T>&, const double*, double*);           \
    template void choose_states(State&, const double*, std::int64_t, const T*, const Draw&, std::int64_t, std::int64_t*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
