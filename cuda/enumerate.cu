#include "enumerate.cuh"

#include "cover.cuh"
#include "enumeration.hpp"

namespace harmonium::cuda {

namespace {

template <class T>
struct NumberRow {
    T* x;
    HARMONIUM_HOST_DEVICE void clear(std::int64_t j) const { x[j] = T(0); }
    HARMONIUM_HOST_DEVICE void set(std::int64_t j) const { x[j] = T(1); }
};
template <class T>
struct PartsRow {
    Parts<T> x;
    std::int64_t i;
    HARMONIUM_HOST_DEVICE void clear(std::int64_t j) const { x.set_state(i, j, false); }
    HARMONIUM_HOST_DEVICE void set(std::int64_t j) const { x.set_state(i, j, true); }
};
template <class T>
__device__ NumberRow<T> row_of(const Matrix<T>& out, std::int64_t i) {
    return {out.row(i)};
}
template <class T>
__device__ PartsRow<T> row_of(const Parts<T>& out, std::int64_t i) {
    return {out, i};
}

// A thread takes a state. which: their numbers; null: first, first + 1, ...
template <class Out>
__global__ void states_kernel(LayerView layer, std::int64_t first, const std::int64_t* which, Out out) {
    for (std::int64_t i = own_x(); i < out.rows; i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
        const auto row = row_of(out, i);
        for (std::int64_t j = 0; j < layer.units; ++j) row.clear(j);
        set_units(layer.groups, layer.n_groups, which ? which[i] : first + i, row);
    }
}

template <class Out>
void write_states(State& state, const LayerView& layer, std::int64_t first, const std::int64_t* which, const Out& out) {
    if (out.rows) launch(state.stream, states_kernel<Out>, blocks_for(out.rows, 128), 128, 0, layer, first, which, out);
}

}  // namespace

template <class T>
void enumerate_states(State& state, const LayerView& layer, std::int64_t first, Matrix<T> out) {
    write_states(state, layer, first, nullptr, out);
}
template <class T>
void enumerate_states(State& state, const LayerView& layer, std::int64_t first, const Parts<T>& out) {
    write_states(state, layer, first, nullptr, out);
}
template <class T>
void chosen_states(State& state, const LayerView& layer, const std::int64_t* which, Matrix<T> out) {
    write_states(state, layer, 0, which, out);
}

#define HARMONIUM_INSTANTIATE(T)                                                                  \
    template void enumerate_states(State&, const LayerView&, std::int64_t, Matrix<T>);            \
    template void enumerate_states(State&, const LayerView&, std::int64_t, const Parts<T>&);      \
    template void chosen_states(State&, const LayerView&, const std::int64_t*, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
