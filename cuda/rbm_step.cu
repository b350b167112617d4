#include "rbm_step.cuh"

#include "launch.cuh"

namespace harmonium::cuda {

namespace {

// Column j of row i of the batch, whose value in the data is x.
template <class T>
__device__ void store(const StepView<T>& s, std::int64_t i, std::int64_t j, T x, std::uint32_t random) {
    if (s.mirrored && (s.mirrored[j / 64] >> (j % 64) & 1)) x = T(1) - x;
    if (s.draw_data) s.states.set_state(i, j, unit_interval<T>(random) < x);
    else if (s.dense) s.dense.row(i)[j] = x;
    else s.states.set_state(i, j, x != T(0));
}

template <class T>
__global__ void gather_kernel(StepView<T> s) {
    const auto counter = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const std::int64_t start = counter / 16 * 64 + counter % 16;
    if (start >= s.visible) return;
    const Place<T>& place = *s.place;
    const RowBlock<T> from = place.block;
    const Draw draw = s.data_draw.now();
    for (std::int64_t i = blockIdx.y; i < s.n; i += gridDim.y) {
        const std::int64_t row = from.row(place.batch * s.batch_size + i);
        Philox4 random{};
        if (s.draw_data) random = philox_counter(draw, static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(counter));
        for (int w = 0; w < 4; ++w) {
            const std::int64_t j = start + 16 * w;
            if (j < s.visible) store(s, i, j, from.value(row, j), random.word[w]);
        }
    }
}

// The entries of sparse rows, where 0 stands in all of their columns. A block takes a row.
template <class T>
__global__ void scatter_kernel(StepView<T> s) {
    const RowBlock<T> from = s.place->block;
    const Draw draw = s.data_draw.now();
    for (std::int64_t i = blockIdx.x; i < s.n; i += gridDim.x) {
        from.for_entries(from.row(s.place->batch * s.batch_size + i), threadIdx.x, blockDim.x, [&](std::int64_t j, T x) {
            store(s, i, j, x, s.draw_data ? philox_word(draw, static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(j)) : 0u);
        });
    }
}

// Sums over the rows of 32 columns by a block of 32 x 32: first the visible layer's columns, then the hidden one's.
template <class T>
__global__ void means_kernel(StepView<T> s) {
    __shared__ T of_data[32][33], of_model[32][33];
    const std::int64_t visible_blocks = (s.visible + 31) / 32;
    const bool hidden = blockIdx.x >= visible_blocks;
    const std::int64_t j = (blockIdx.x - (hidden ? visible_blocks : 0)) * 32 + threadIdx.x, cols = hidden ? s.hidden : s.visible;
    const auto value = [&](std::int64_t i) {
        const bool data = i < s.n;
        if (data && s.dense) return hidden ? s.dense_probability.row(i)[j] : s.dense.row(i)[j];
        return hidden ? s.probability.value(i, j) : T(s.states.is_on(i, j));
    };
    T data = 0, model = 0;
    if (j < cols) {
        for (std::int64_t i = threadIdx.y; i < s.n; i += 32) data += value(i);
        for (std::int64_t i = s.n + threadIdx.y; i < s.n + s.m; i += 32) model += value(i);
    }
    of_data[threadIdx.y][threadIdx.x] = data;
    of_model[threadIdx.y][threadIdx.x] = model;
    __syncthreads();
    if (threadIdx.y || j >= cols) return;
    data = model = 0;
    for (int k = 0; k < 32; ++k) data += of_data[k][threadIdx.x], model += of_model[k][threadIdx.x];
    T* offset = (hidden ? s.hidden_offset : s.visible_offset) + j;
    if (hidden) {
        s.hidden_difference[j] = data + model;
        s.hidden_mean[j] = data;
    } else {
        data /= static_cast<T>(s.n);
        s.visible_difference[j] = data - model / static_cast<T>(s.m);
    }
    *offset += s.offset_rate * (data - *offset);
}

template <class T>
__device__ void average(T now, T* mean, T share) {
    if (share >= T(0)) *mean = now - share * (now - *mean);
}

// A tile of 32 x 32 by 32 x 8 threads: centring, the sums that the biases need, the step, and the weights' new parts.
template <class T>
__global__ void update_kernel(StepView<T> s) {
    __shared__ double column[8][33];
    const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * update_tile + threadIdx.x;
    const T rate = s.rates[s.place->done], share = s.shares ? s.shares[s.place->done] : T(-1);
    const bool inside = j < s.hidden;
    const T difference = inside ? s.hidden_difference[j] : T(0), lambda = inside ? s.hidden_offset[j] : T(0);
    for (std::int64_t tile = blockIdx.y; tile * update_tile < s.visible; tile += gridDim.y) {
        double mu_g = 0;
        for (int k = 0; k < 4; ++k) {
            const std::int64_t i = tile * update_tile + threadIdx.y + 8 * k;
            const bool here = inside && i < s.visible;
            T g = here ? s.gradient.row(i)[j] : T(0);
            if (s.centred) {
                const T mu = here ? s.visible_offset[i] : T(0);
                if (here) g = g - mu * difference - s.visible_difference[i] * lambda;
                mu_g += static_cast<double>(mu * g);
                auto along = static_cast<double>(g * lambda);
                for (int distance = 16; distance; distance /= 2) along += __shfl_xor_sync(0xFFFFFFFFu, along, distance);
                if (threadIdx.x == 0 && i < s.visible) s.row_parts.row(blockIdx.x)[i] = along;
            }
            if (!here) continue;
            T& w = s.weights.row(i)[j];
            g -= s.weight_decay * w;
            if (s.l1 != T(0)) g -= s.l1 * (w > T(0) ? T(1) : w < T(0) ? T(-1) : T(0));
            if (s.weight_velocity) {
                T& velocity = s.weight_velocity.row(i)[j];
                g += s.momentum * velocity;
                velocity = g;
            }
            w += rate * g;
            s.factor.set(i, j, w);
            if (s.mean_weights) average(w, &s.mean_weights.row(i)[j], share);
        }
        if (!s.centred) continue;
        column[threadIdx.y][threadIdx.x] = mu_g;
        __syncthreads();
        if (threadIdx.y == 0 && inside) {
            double sum = 0;
            for (int k = 0; k < 8; ++k) sum += column[k][threadIdx.x];
            s.col_parts.row(tile)[j] = sum;
        }
        __syncthreads();  // the next tile's
    }
}

template <class T>
__global__ void bias_kernel(StepView<T> s) {
    const auto k = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (k >= s.visible + s.hidden) return;
    const bool hidden = k >= s.visible;
    const std::int64_t j = hidden ? k - s.visible : k;
    const Matrix<double>& parts = hidden ? s.col_parts : s.row_parts;
    double correction = 0;
    for (std::int64_t t = 0; s.centred && t < parts.rows; ++t) correction += parts.row(t)[j];
    T move = (hidden ? s.hidden_difference : s.visible_difference)[j] - static_cast<T>(correction);
    T* velocity = hidden ? s.hidden_velocity : s.visible_velocity;
    if (velocity) move = velocity[j] = s.momentum * velocity[j] + move;
    T& bias = (hidden ? s.hidden_bias : s.visible_bias)[j];
    bias += s.rates[s.place->done] * move;
    if (s.shares) average(bias, (hidden ? s.mean_hidden_bias : s.mean_visible_bias) + j, s.shares[s.place->done]);
}

// One warp: the step is over.
template <class T>
__global__ void advance_kernel(StepView<T> s) {
    double sum = 0;
    for (std::int64_t j = threadIdx.x; j < s.hidden; j += 32) sum += static_cast<double>(s.hidden_mean[j]);
    for (int distance = 16; distance; distance /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, distance);
    if (threadIdx.x) return;
    *s.activity += sum * static_cast<double>(s.n);
    ++s.place->batch, ++s.place->done, ++s.place->step;
}

}  // namespace

template <class T>
void gather_rows(State& state, const StepView<T>& s) {
    const dim3 grid(blocks_for((s.visible + 63) / 64 * 16, 128, 0x7FFFFFFF), blocks_for(s.n, 1));
    launch(state.stream, gather_kernel<T>, grid, 128, 0, s);
    if (s.sparse) launch(state.stream, scatter_kernel<T>, blocks_for(s.n, 1), 128, 0, s);
}
template <class T>
void layer_means(State& state, const StepView<T>& s) {
    launch(state.stream, means_kernel<T>, blocks_for(s.visible, 32, 0x3FFFFFFF) + blocks_for(s.hidden, 32, 0x3FFFFFFF), dim3(32, 32), 0, s);
}
template <class T>
void update_weights(State& state, const StepView<T>& s) {
    const dim3 grid(blocks_for(s.hidden, update_tile, 0x7FFFFFFF), blocks_for(s.visible, update_tile));
    launch(state.stream, update_kernel<T>, grid, dim3(32, 8), 0, s);
}
template <class T>
void update_biases(State& state, const StepView<T>& s) {
    launch(state.stream, bias_kernel<T>, blocks_for(s.visible + s.hidden, 128, 0x7FFFFFFF), 128, 0, s);
    launch(state.stream, advance_kernel<T>, 1, 32, 0, s);
}

#define HARMONIUM_INSTANTIATE(T)                                  \
    template void gather_rows(State&, const StepView<T>&);        \
    template void layer_means(State&, const StepView<T>&);        \
    template void update_weights(State&, const StepView<T>&);     \
    template void update_biases(State&, const StepView<T>&);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
