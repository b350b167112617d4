#include "units.cuh"

#include "cover.cuh"
#include "reduce.cuh"
#include "state.cuh"
#include "unit_layer.cuh"

namespace harmonium::cuda {

namespace {

constexpr unsigned all_lanes = 0xFFFFFFFFu;

// The natural parameters of a row's units.
template <class T>
struct Theta {
    const T *activation, *bias;
    T scale, times;
    __device__ Theta(const LayerView& layer, const UnitDraw<T>& d, std::int64_t i)
        : activation(d.activation.row(i)), bias(d.bias), scale(d.scale_now ? *d.scale_now : d.scale),
          times(d.exposure && !layer.bag ? d.exposure[i] : T(1)) {}
    __device__ T operator()(std::int64_t j) const { return activation[j] * scale + bias[j] * times; }
};

template <class T>
__device__ void keep_state(const UnitDraw<T>& d, std::int64_t i, std::int64_t j, T x) {
    d.states.row(i)[j] = d.mask && d.mask.bit(i, j) ? d.values.row(i)[j] : x;
}

template <class T>
__device__ T mean_of(UnitType type, T theta) {
    switch (type) {
        case UnitType::bernoulli: return sigmoid(theta);
        case UnitType::relu: return static_cast<T>(rectified_mean(static_cast<double>(theta)));
        default: return theta;
    }
}
template <class T>
__device__ T state_of(UnitType type, T theta, T u) {
    switch (type) {
        case UnitType::bernoulli: return u < sigmoid(theta) ? T(1) : T(0);
        case UnitType::relu: return static_cast<T>(rectified_quantile(static_cast<double>(theta), inside(u)));
        default: return theta + static_cast<T>(normal_quantile(inside(u)));
    }
}

// Units that stand alone. A thread takes the columns of a counter.
template <class T>
__global__ void values_kernel(LayerView layer, UnitDraw<T> d) {
    const std::int64_t counter = own_x(), first = first_column(counter);
    if (first >= layer.units) return;
    const Draw draw = d.draw.now();
    for (std::int64_t i = own_y(); i < d.activation.rows; i += stride_y()) {
        const Theta<T> theta(layer, d, i);
        Philox4 words{};
        if (d.states) words = philox_counter(draw, d.first_row + static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(counter));
        for (int w = 0; w < 4; ++w) {
            const std::int64_t j = first + 16 * w;
            if (j >= layer.units) break;
            const UnitType type = layer.types[j];
            if (type == UnitType::categorical) continue;
            const T a = theta(j);
            if (d.states) keep_state(d, i, j, state_of(type, a, unit_interval<T>(words.word[w])));
            if (d.mean) d.mean.row(i)[j] = mean_of(type, a);
        }
    }
}

// A warp takes a choice of a row. Sums are the CPU's to the last bit: 16 of every 16th unit, then half by half; those that the
// level is compared with are of one unit after the other.
template <class T>
__global__ void choices_kernel(LayerView layer, UnitDraw<T> d) {
    const Draw draw = d.draw.now();
    for (std::int64_t g = own_y(); g < layer.n_choices; g += stride_y()) {
        const UnitGroup group = layer.choices[g];
        const std::int64_t lane = threadIdx.x, end = group.first + group.count;
        for (std::int64_t i = blockIdx.x; i < d.activation.rows; i += gridDim.x) {
            const Theta<T> theta(layer, d, i);
            T top = theta(group.first);
            for (std::int64_t j = group.first + lane; j < end; j += 32) top = theta(j) > top ? theta(j) : top;
            top = warp_max(top);
            const auto weight = [&](std::int64_t j) { return j < end ? exp(theta(j) - top) : T(0); };
            T total = 0;
            for (std::int64_t first = group.first; first < end; first += 32) {
                const T own = weight(first + lane);
                total += own;
                total += __shfl_down_sync(all_lanes, own, 16);
            }
            for (int half = 8; half; half /= 2) total += __shfl_down_sync(all_lanes, total, half);
            total = __shfl_sync(all_lanes, total, 0);
            if (d.states) {
                const T level = uniform<T>(draw, d.first_row + static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(group.first)) * total;
                T below = 0;
                std::int64_t chosen = -1, last = group.first;
                for (std::int64_t first = group.first; first < end && chosen < 0; first += 32) {
                    const T own = weight(first + lane);
                    const unsigned possible = __ballot_sync(all_lanes, own > T(0));
                    if (possible) last = first + 31 - __clz(static_cast<int>(possible));
                    for (int k = 0; k < 32 && chosen < 0; ++k) {  // every lane the same
                        below += __shfl_sync(all_lanes, own, k);
                        if (level < below) chosen = first + k;
                    }
                }
                if (chosen < 0) chosen = last;
                for (std::int64_t j = group.first + lane; j < end; j += 32) keep_state(d, i, j, T(j == chosen));
            }
            for (std::int64_t j = group.first + lane; d.mean && j < end; j += 32) d.mean.row(i)[j] = weight(j) / total;
        }
    }
}

constexpr unsigned bag_threads = 256;

template <class T>
__device__ T greatest(const Theta<T>& theta, std::int64_t n) {
    T top = theta(0);
    for (std::int64_t j = threadIdx.x; j < n; j += bag_threads) top = theta(j) > top ? theta(j) : top;
    return block_sum_and_most(T(0), top).most;
}

// A block takes a bag; words are looked for among heaps as on the CPU, see draw_words there.
template <class T>
__global__ void bag_kernel(LayerView layer, UnitDraw<T> d) {
    constexpr std::int64_t most = 4096;
    __shared__ T ends[most];
    const std::int64_t n = layer.units;
    const Draw draw = d.draw.now();
    for (std::int64_t i = blockIdx.x; i < d.activation.rows; i += gridDim.x) {
        const Theta<T> theta(layer, d, i);
        const T exposure = d.exposure ? d.exposure[i] : T(1), top = greatest(theta, n);
        const auto weight = [&](std::int64_t j) { return exp(theta(j) - top); };
        if (d.states) {
            const std::int64_t depth = n > 16 * most ? (n + most - 1) / most : 16, heaps = (n + depth - 1) / depth;
            for (std::int64_t k = threadIdx.x; k < heaps; k += bag_threads) {
                T sum = 0;
                for (std::int64_t j = k; j < n; j += heaps) sum += weight(j);
                ends[k] = sum;
            }
            for (std::int64_t j = threadIdx.x; j < n; j += bag_threads) d.states.row(i)[j] = T(0);
            __syncthreads();
            if (threadIdx.x == 0) {
                T total = 0;
                for (std::int64_t k = 0; k < heaps; ++k) ends[k] = total += ends[k];
            }
            __syncthreads();
            const T total = ends[heaps - 1];
            const auto words = static_cast<std::int64_t>(exposure);
            for (std::int64_t k = threadIdx.x; k < words; k += bag_threads) {
                const T level = uniform<T>(draw, d.first_row + static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(k)) * total;
                std::int64_t heap = 0;
                for (std::int64_t size = heaps; size > 1;) {
                    const std::int64_t half = size / 2;
                    heap += level >= ends[heap + half - 1] ? half : 0;
                    size -= half;
                }
                T below = heap > 0 ? ends[heap - 1] : T(0);
                std::int64_t chosen = -1, last = heap;
                for (std::int64_t j = heap; j < n && chosen < 0; j += heaps) {
                    const T own = weight(j);
                    below += own;
                    if (own > T(0)) last = j;
                    if (level < below) chosen = j;
                }
                atomicAdd(&d.states.row(i)[chosen < 0 ? last : chosen], T(1));  // whole numbers: in any order
            }
        }
        if (d.mean) {
            double sum = 0;
            for (std::int64_t j = threadIdx.x; j < n; j += bag_threads) sum += static_cast<double>(weight(j));
            const T share = exposure / static_cast<T>(block_sum_and_most(sum, 0.0).sum);
            for (std::int64_t j = threadIdx.x; j < n; j += bag_threads) d.mean.row(i)[j] = weight(j) * share;
        }
        __syncthreads();  // `ends` is the next row's
    }
}

// log sum exp by one warp: what lane 0 gets.
template <class T>
__device__ double log_of_choice(const Theta<T>& theta, const UnitGroup& group) {
    const std::int64_t end = group.first + group.count, lane = threadIdx.x % 32;
    T top = theta(group.first);
    for (std::int64_t j = group.first + lane; j < end; j += 32) top = theta(j) > top ? theta(j) : top;
    top = warp_max(top);
    double sum = 0;
    for (std::int64_t j = group.first + lane; j < end; j += 32) sum += exp(static_cast<double>(theta(j)) - static_cast<double>(top));
    sum = warp_sum(sum);
    return lane == 0 ? static_cast<double>(top) + log(sum) : 0.0;
}

// A block takes a row.
template <class T>
__global__ void log_normaliser_kernel(LayerView layer, UnitDraw<T> d) {
    for (std::int64_t i = blockIdx.x; i < d.activation.rows; i += gridDim.x) {
        const Theta<T> theta(layer, d, i);
        double sum = 0;
        if (layer.bag) {
            const T top = greatest(theta, layer.units);
            for (std::int64_t j = threadIdx.x; j < layer.units; j += bag_threads) sum += exp(static_cast<double>(theta(j)) - static_cast<double>(top));
            sum = block_sum(sum);
            if (threadIdx.x == 0) sum = static_cast<double>(d.exposure ? d.exposure[i] : T(1)) * (static_cast<double>(top) + log(sum));
        } else {
            for (std::int64_t j = threadIdx.x; layer.values && j < layer.units; j += bag_threads) {
                if (layer.types[j] != UnitType::categorical) sum += log_normaliser_of(layer.types[j], static_cast<double>(theta(j)));
            }
            for (std::int64_t g = threadIdx.x / 32; g < layer.n_choices; g += bag_threads / 32) sum += log_of_choice(theta, layer.choices[g]);
            sum = block_sum(sum);
        }
        if (threadIdx.x == 0) d.log_normaliser[i] = sum;
    }
}

}  // namespace

template <class T>
void draw_units(State& state, const LayerView& layer, const UnitDraw<T>& d) {
    const std::int64_t rows = d.activation.rows;
    if (rows == 0) return;
    if (d.log_normaliser) launch(state.stream, log_normaliser_kernel<T>, blocks_for(rows, 1), bag_threads, 0, layer, d);  // before means
    if (!d.states && !d.mean) return;
    if (layer.bag) launch(state.stream, bag_kernel<T>, blocks_for(rows, 1), bag_threads, 0, layer, d);
    if (layer.values) {
        const Cover c = cover_counters(rows, layer.units);
        launch(state.stream, values_kernel<T>, c.grid, c.block, 0, layer, d);
    }
    if (layer.n_choices > 0) {
        constexpr unsigned warps = 4;
        const dim3 grid(blocks_for(rows, 1), blocks_for(layer.n_choices, warps));
        launch(state.stream, choices_kernel<T>, grid, dim3(32, warps), 0, layer, d);
    }
}

template <class T>
void units(Context& context, const Layer& layer, const T* bias, T scale, const T* exposure, const Draw& draw,
           std::uint32_t first_row, Matrix<T> activation, Matrix<T> drawn, double* log_normaliser) {
    State& state = use(context);
    const DeviceLayer there(state, layer);
    UnitDraw<T> d;
    d.activation = d.mean = activation;
    d.bias = bias, d.scale = scale, d.exposure = exposure;
    d.draw = draw, d.first_row = first_row;
    d.states = drawn;
    d.log_normaliser = log_normaliser;
    draw_units(state, there.view(), d);
    CUDA_CHECK(cudaStreamSynchronize(state.stream));  // `there` is needed as long
}

#define HARMONIUM_INSTANTIATE(T)                                                                                            \
    template void draw_units(State&, const LayerView&, const UnitDraw<T>&);                                                 \
    template void units(Context&, const Layer&, const T*, T, const T*, const Draw&, std::uint32_t, Matrix<T>, Matrix<T>, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
