#include "unit_chains.cuh"

#include "cover.cuh"
#include "harmonium/math.hpp"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

// A thread takes a unit, or a choice; then hidden units follow. As base_biases of unit_states.hpp.
template <class T>
__global__ void temper_kernel(Tempering<T> s) {
    const std::int64_t k = own_x(), units = s.visible.units, choices = s.visible.n_choices;
    const auto set = [&](std::int64_t j, double bias) {
        const T base = s.base[j] = static_cast<T>(bias);
        for (std::int64_t t = 0; t < s.temperatures; ++t) s.visible_biases.row(t)[j] = base + s.beta(t) * (s.visible_bias[j] - base);
    };
    if (k < units) {
        const UnitType type = s.visible.types[k];
        double mean = static_cast<double>(s.visible_offset[k]);
        if (type == UnitType::categorical) return;
        if (type == UnitType::bernoulli) {
            mean = mean < 0.005 ? 0.005 : mean > 0.995 ? 0.995 : mean;
            mean = log(mean) - log(1 - mean);
        }
        set(k, mean);
    } else if (k < units + choices) {
        const UnitGroup group = s.visible.choices[k - units];
        double total = 0;
        for (std::int64_t j = group.first; j < group.first + group.count; ++j) total += static_cast<double>(s.visible_offset[j]);
        const double least = 0.1 * total / static_cast<double>(group.count);
        for (std::int64_t j = group.first; j < group.first + group.count; ++j) {
            const auto mean = static_cast<double>(s.visible_offset[j]);
            set(j, log(mean < least ? least : mean));
        }
    } else if (k < units + choices + s.hidden) {
        const std::int64_t j = k - units - choices;
        for (std::int64_t t = 0; t < s.temperatures; ++t) s.hidden_biases.row(t)[j] = s.hidden_bias[j] * s.beta(t);
    }
}

// L(v, h) = (b - base).v + c.h + v^T W h. A block takes a chain.
template <class T>
__global__ void likes_kernel(Tempering<T> s, Matrix<const T> v, Matrix<const T> activation, Matrix<const T> h) {
    for (std::int64_t i = blockIdx.x; i < v.rows; i += gridDim.x) {
        double sum = 0;
        for (std::int64_t j = threadIdx.x; j < v.cols; j += blockDim.x) {
            sum += static_cast<double>(v.row(i)[j]) * (static_cast<double>(s.visible_bias[j]) - static_cast<double>(s.base[j]));
        }
        for (std::int64_t j = threadIdx.x; j < h.cols; j += blockDim.x) {
            sum += static_cast<double>(h.row(i)[j]) * (static_cast<double>(activation.row(i)[j]) + static_cast<double>(s.hidden_bias[j]));
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) s.likes[i] = sum;
    }
}

// A block takes one chain at all temperatures: pairs that begin at an even one first.
template <class T>
__global__ void swap_kernel(Tempering<T> s, StepDraw steps, Matrix<T> h) {
    __shared__ bool accepted;
    const Draw draw = steps.now();
    const double gap = 1 / static_cast<double>(s.temperatures - 1);
    for (std::int64_t i = blockIdx.x; i < s.chains; i += gridDim.x) {
        for (std::int64_t first = 0; first < 2; ++first) {
            for (std::int64_t t = first; t + 1 < s.temperatures; t += 2) {
                if (threadIdx.x == 0) {
                    double &cold = s.likes[t * s.chains + i], &hot = s.likes[(t + 1) * s.chains + i];
                    const double gain = gap * (hot - cold);
                    accepted = uniform<double>(draw, s.first_row + static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(t)) < exp(gain < 0 ? gain : 0.0);
                    if (accepted) {
                        const double other = cold;
                        cold = hot, hot = other;
                        atomicAdd(&s.accepted[t], 1.0);  // whole numbers: in any order
                    }
                }
                __syncthreads();
                T *cold = h.row(t * s.chains + i), *hot = h.row((t + 1) * s.chains + i);
                for (std::int64_t j = threadIdx.x; accepted && j < h.cols; j += blockDim.x) {
                    const T other = cold[j];
                    cold[j] = hot[j], hot[j] = other;
                }
                __syncthreads();
            }
        }
    }
}

// A thread takes a word of a row.
template <class T>
__global__ void fill_kernel(const Place<T>* place, std::int64_t batch_size, const std::uint64_t* mirrored, ConstBitMatrix observed,
                            Matrix<const T> drawn, Matrix<T> states, BitMatrix filled) {
    const std::int64_t w = own_x();
    if (w >= filled.words()) return;
    for (std::int64_t i = own_y(); i < states.rows; i += stride_y()) {
        const std::int64_t row = place->block.row(place->batch * batch_size + i);
        const std::uint64_t known = observed.row(row)[w];
        std::uint64_t now = 0;
        for (std::int64_t j = 64 * w; j < states.cols && j < 64 * (w + 1); ++j) {
            T& x = states.row(i)[j];
            if (!(known >> (j % 64) & 1)) x = drawn.row(i)[j];
            now |= static_cast<std::uint64_t>(x != T(0)) << (j % 64);
        }
        filled.row(row)[w] = mirrored ? now ^ mirrored[w] : now;
    }
}

}  // namespace

template <class T>
void temper_biases(State& state, const Tempering<T>& s) {
    launch(state.stream, temper_kernel<T>, blocks_for(s.visible.units + s.visible.n_choices + s.hidden, 128, 0x7FFFFFFF), 128, 0, s);
}
template <class T>
void swap_chains(State& state, const Tempering<T>& s, const StepDraw& draw, Matrix<const T> v, Matrix<const T> activation, Matrix<T> h) {
    launch(state.stream, likes_kernel<T>, blocks_for(v.rows, 1), 128, 0, s, v, activation, h);
    launch(state.stream, swap_kernel<T>, blocks_for(s.chains, 1), 128, 0, s, draw, h);
}
template <class T>
void fill_missing(State& state, const Place<T>* place, std::int64_t batch_size, const std::uint64_t* mirrored, ConstBitMatrix observed,
                  Matrix<const T> drawn, Matrix<T> states, BitMatrix filled) {
    const Cover c = cover(states.rows, filled.words());
    launch(state.stream, fill_kernel<T>, c.grid, c.block, 0, place, batch_size, mirrored, observed, drawn, states, filled);
}

#define HARMONIUM_INSTANTIATE(T)                                                                                                    \
    template void temper_biases(State&, const Tempering<T>&);                                                                       \
    template void swap_chains(State&, const Tempering<T>&, const StepDraw&, Matrix<const T>, Matrix<const T>, Matrix<T>);            \
    template void fill_missing(State&, const Place<T>*, std::int64_t, const std::uint64_t*, ConstBitMatrix, Matrix<const T>, Matrix<T>, \
                               BitMatrix);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
