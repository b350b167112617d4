#include "unit_step.cuh"

#include "cover.cuh"
#include "harmonium/math.hpp"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

// Of row r: the data's come first.
template <class T>
__global__ void row_factors_kernel(UnitStep<T> s) {
    const std::int64_t r = own_x(), n = s.step.n, m = s.step.m, step = s.step.place->done, first = step * s.step.batch_size;
    if (r >= (s.enumerated ? n : n + m)) return;
    const std::int64_t i = r < n ? r : r - n;
    T weight = 1, words = 1, factor;
    if (r < n || !s.model_factors) {
        if (s.weights) weight = s.weights[first + i];
        if (s.words) words = s.words[first + i];
        factor = s.share * weight;
        if (r >= n) factor = -factor;
    } else {
        factor = s.model_factors[step];
        if (s.sizes) words = s.sizes[step * m + i];
    }
    s.weight[r] = weight;
    s.factor[r] = factor;
    s.mean_factor[r] = factor * words;
    s.exposure[r] = words;
}

// Numbers as training sees them: divided by their standard deviations, mirrored, and drawn from where they are probabilities.
template <class T>
__global__ void prepare_kernel(UnitStep<T> s) {
    const std::int64_t counter = own_x(), first = first_column(counter);
    if (first >= s.step.visible) return;
    const Draw draw = s.step.data_draw.now();
    for (std::int64_t i = own_y(); i < s.step.n; i += stride_y()) {
        Philox4 words{};
        if (s.draw_data) words = philox_counter(draw, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(counter));
        for (int w = 0; w < 4; ++w) {
            const std::int64_t j = first + 16 * w;
            if (j >= s.step.visible) break;
            T x = s.states.row(i)[j];
            if (s.scale) x /= s.scale[j];
            if (s.step.mirrored && (s.step.mirrored[j / 64] >> (j % 64) & 1)) x = T(1) - x;
            if (s.draw_data && s.visible.types[j] == UnitType::bernoulli) x = unit_interval<T>(words.word[w]) < x ? T(1) : T(0);
            s.states.row(i)[j] = x;
        }
    }
}

// d log p / d log sigma_i = <v_i^2 - v_i (b_i + W h)_i> - 1, see move_scale of the CPU's loop.
template <class T>
__global__ void move_scale_kernel(UnitStep<T> s, Matrix<const T> activation) {
    const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
    const bool moves = j < s.step.visible && s.scale_moves[j] && s.visible.types[j] == UnitType::gaussian;
    const T bias = moves ? s.step.visible_bias[j] : T(0);
    double slope = sum_down<double>(s.step.n, moves, [&](std::int64_t i) {
        const T v = s.states.row(i)[j];
        return static_cast<double>(s.factor[i] * v * (v - (activation.row(i)[j] + bias)));
    });
    if (threadIdx.y > 0 || !moves) return;
    const std::int64_t step = s.step.place->done;
    slope = static_cast<double>(s.step.rates[step]) * (slope - static_cast<double>(s.masses[step]));
    s.scale[j] *= static_cast<T>(exp(slope < -0.1 ? -0.1 : slope > 0.1 ? 0.1 : slope));
}

// Sums over the rows of 32 columns: first the visible layer's columns, then the hidden one's.
template <class T>
__global__ void unit_means_kernel(UnitStep<T> s) {
    const std::int64_t visible_blocks = (s.step.visible + 31) / 32, n = s.step.n, m = s.step.m;
    const bool hidden = blockIdx.x >= visible_blocks;
    const std::int64_t j = (blockIdx.x - (hidden ? visible_blocks : 0)) * 32 + threadIdx.x;
    const bool inside = j < (hidden ? s.step.hidden : s.step.visible);
    const Matrix<T>& x = hidden ? s.probability : s.states;
    const T* times = hidden ? s.mean_factor : s.factor;
    const T data = sum_down<T>(n, inside, [&](std::int64_t r) { return times[r] * x.row(r)[j]; });
    __syncthreads();  // the next sum's memory is this one's
    const T model = sum_down<T>(m, inside, [&](std::int64_t r) { return times[n + r] * x.row(n + r)[j]; });
    __syncthreads();
    const T active = sum_down<T>(hidden ? n : 0, inside, [&](std::int64_t r) { return s.weight[r] * x.row(r)[j]; });
    if (threadIdx.y > 0 || !inside) return;
    const T mass = s.masses[s.step.place->done];
    T* offset = (hidden ? s.step.hidden_offset : s.step.visible_offset) + j;
    *offset += s.step.offset_rate * (data - mass * *offset);
    T difference = data + model;
    if (hidden) {
        // The gradient sees activities moved towards the target, as the derivative of their cross-entropy does.
        const T move = s.sparsity_cost != T(0) && mass != T(0) ? s.sparsity_cost * (s.sparsity_target - data / mass) : T(0);
        s.sparsity_move[j] = move;
        s.step.hidden_mean[j] = active / static_cast<T>(n);
        difference += mass * move;
    }
    (hidden ? s.step.hidden_difference : s.step.visible_difference)[j] = difference;
}

template <class T>
__global__ void weigh_kernel(UnitStep<T> s) {
    const std::int64_t j = own_x();
    if (j >= s.step.hidden) return;
    const T move = s.sparsity_move[j];
    for (std::int64_t r = own_y(); r < s.step.n + s.step.m; r += stride_y()) {
        T& h = s.probability.row(r)[j];
        h = s.factor[r] * (r < s.step.n ? h + move : h);
    }
}

template <class T>
__global__ void add_fast_kernel(std::int64_t size, const T* slow, const T* fast, T* seen) {
    for (std::int64_t i = own_x(); i < size; i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) seen[i] = slow[i] + fast[i];
}
template <class T>
__global__ void move_fast_kernel(std::int64_t size, double rate, const T* slope, T* fast) {
    for (std::int64_t i = own_x(); i < size; i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
        fast[i] = static_cast<T>(19.0 / 20 * static_cast<double>(fast[i]) + rate * static_cast<double>(slope[i]));
    }
}

// Power iteration as largest_singular_value of the CPU's loop. numbers: |W| as it is known, 1 / |v|, and whether v stays.
enum { norm_at, inverse_at, over_at };

__device__ double length_of(const double* x, std::int64_t n) {
    double sum = 0;
    for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x) sum += x[j] * x[j];
    return __builtin_sqrt(block_sum(sum));
}
__global__ void begin_power_kernel(bool first, std::int64_t hidden, const double* v, double* numbers) {
    const double length = length_of(v, hidden);
    if (threadIdx.x > 0) return;
    if (first) numbers[norm_at] = numbers[over_at] = 0;
    if (length == 0) numbers[over_at] = 1, numbers[norm_at] = 0;
    numbers[inverse_at] = length > 0 ? 1 / length : 0;
}
// A warp takes a row.
template <class T>
__global__ void forward_power_kernel(Matrix<const T> w, const double* v, const double* numbers, double* u) {
    for (std::int64_t i = own_y(); i < w.rows; i += stride_y()) {
        double sum = 0;
        for (std::int64_t j = threadIdx.x; j < w.cols; j += 32) sum += static_cast<double>(w.row(i)[j]) * (v[j] * numbers[inverse_at]);
        sum = warp_sum(sum);
        if (threadIdx.x == 0) u[i] = sum;
    }
}
__global__ void norm_kernel(std::int64_t visible, const double* u, double* numbers) {
    const double norm = length_of(u, visible);
    if (threadIdx.x > 0 || numbers[over_at] != 0) return;
    const double change = norm - numbers[norm_at];
    numbers[norm_at] = norm;
    if ((change < 0 ? -change : change) < 1e-9 * norm) numbers[over_at] = 1;
}
template <class T>
__global__ void back_power_kernel(Matrix<const T> w, const double* u, const double* numbers, double* v) {
    const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
    const bool goes = j < w.cols && numbers[over_at] == 0;
    const double sum = sum_down<double>(w.rows, goes, [&](std::int64_t i) { return static_cast<double>(w.row(i)[j]) * u[i]; });
    if (threadIdx.y == 0 && goes) v[j] = sum;
}
template <class T>
__global__ void project_kernel(StepView<T> s, const double* numbers) {
    constexpr double largest = 0.98;
    const std::int64_t j = own_x();
    if (j >= s.hidden) return;
    const double norm = numbers[norm_at];
    const T factor = norm > largest ? static_cast<T>(largest / norm) : T(1), share = s.shares ? s.shares[s.place->done] : T(-1);
    for (std::int64_t i = own_y(); i < s.visible; i += stride_y()) {
        T& w = s.weights.row(i)[j];
        w *= factor;
        if (share >= T(0)) s.mean_weights.row(i)[j] = w - share * (w - s.mean_weights.row(i)[j]);
    }
}

}  // namespace

template <class T>
void take_rows(State& state, const UnitStep<T>& s) {
    launch(state.stream, row_factors_kernel<T>, blocks_for(s.step.n + s.step.m, 128, 0x7FFFFFFF), 128, 0, s);
    gather<T>(state, s.step.place, s.step.batch_size, s.states.rows_from(0, s.step.n), {});
    if (!s.scale && !s.step.mirrored && !s.draw_data) return;
    const Cover c = cover_counters(s.step.n, s.step.visible);
    launch(state.stream, prepare_kernel<T>, c.grid, c.block, 0, s);
}
template <class T>
void move_scale(State& state, const UnitStep<T>& s, Matrix<const T> activation) {
    launch(state.stream, move_scale_kernel<T>, blocks_for(s.step.visible, 32, 0x7FFFFFFF), dim3(32, rows_down), 0, s, activation);
}
template <class T>
void unit_means(State& state, const UnitStep<T>& s) {
    const unsigned blocks = blocks_for(s.step.visible, 32, 0x3FFFFFFF) + blocks_for(s.step.hidden, 32, 0x3FFFFFFF);
    launch(state.stream, unit_means_kernel<T>, blocks, dim3(32, rows_down), 0, s);
}
template <class T>
void weigh_rows(State& state, const UnitStep<T>& s) {
    const Cover c = cover(s.step.n + s.step.m, s.step.hidden);
    launch(state.stream, weigh_kernel<T>, c.grid, c.block, 0, s);
}
template <class T>
void add_fast(State& state, std::int64_t size, const T* slow, const T* fast, T* seen) {
    launch(state.stream, add_fast_kernel<T>, blocks_for(size, 256), 256, 0, size, slow, fast, seen);
}
template <class T>
void move_fast(State& state, std::int64_t size, double rate, const T* slope, T* fast) {
    launch(state.stream, move_fast_kernel<T>, blocks_for(size, 256), 256, 0, size, rate, slope, fast);
}
template <class T>
void keep_proper(State& state, const StepView<T>& s, double* v, double* u, double* numbers) {
    constexpr int most_steps = 4;
    constexpr unsigned threads = 256, warps = 8;
    const Matrix<const T> w = s.weights;
    const dim3 rows(1, blocks_for(s.visible, warps));
    for (int step = 0; step < most_steps; ++step) {
        launch(state.stream, begin_power_kernel, 1, threads, 0, step == 0, s.hidden, v, numbers);
        launch(state.stream, forward_power_kernel<T>, rows, dim3(32, warps), 0, w, v, numbers, u);
        launch(state.stream, norm_kernel, 1, threads, 0, s.visible, u, numbers);
        launch(state.stream, back_power_kernel<T>, blocks_for(s.hidden, 32, 0x7FFFFFFF), dim3(32, rows_down), 0, w, u, numbers, v);
    }
    const Cover c = cover(s.visible, s.hidden);
    launch(state.stream, project_kernel<T>, c.grid, c.block, 0, s, numbers);
}

#define HARMONIUM_INSTANTIATE(T)                                                               \
    template void take_rows(State&, const UnitStep<T>&);                                       \
    template void move_scale(State&, const UnitStep<T>&, Matrix<const T>);                     \
    template void unit_means(State&, const UnitStep<T>&);                                      \
    template void weigh_rows(State&, const UnitStep<T>&);                                      \
    template void add_fast(State&, std::int64_t, const T*, const T*, T*);                      \
    template void move_fast(State&, std::int64_t, double, const T*, T*);                       \
    template void keep_proper(State&, const StepView<T>&, double*, double*, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
