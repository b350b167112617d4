#include "rbm_layer.cuh"

#include "harmonium/math.hpp"
#include "launch.cuh"

namespace harmonium::cuda {

namespace {

// Lanes and columns as in bernoulli.cu.
template <class T>
__global__ void layer_kernel(LayerDraw<T> layer) {
    const auto counter = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const std::int64_t block = counter / 16, first = 64 * block + counter % 16, cols = layer.activation.cols;
    const unsigned shift = threadIdx.x & 16;
    const Draw draw = layer.draw.now();
    const bool drawing = layer.states || layer.bits;
    const T scale = layer.scale_now ? *layer.scale_now : T(1);
    for (std::int64_t i = blockIdx.y; i < layer.activation.rows; i += gridDim.y) {
        Philox4 words{};
        if (drawing) words = philox_counter(draw, layer.first_row + static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(counter));
        std::uint64_t word = 0;
        for (int w = 0; w < 4; ++w) {
            const std::int64_t j = first + 16 * w;
            bool drawn = false;
            if (j < cols) {
                const T p = sigmoid(detail::multiply_add(layer.activation.row(i)[j], scale, layer.bias[j]));
                drawn = unit_interval<T>(words.word[w]) < p;
                if (layer.mask && layer.mask.bit(i, j)) drawn = layer.values.bit(i, j);
                if (layer.states) layer.states.set_state(i, j, drawn);
                if (layer.probability) layer.probability.row(i)[j] = p * layer.probability_scale;
                if (layer.probability_parts) layer.probability_parts.set(i, j, p * layer.probability_scale);
            }
            const std::uint64_t sixteen = __ballot_sync(0xFFFFFFFFu, drawn) >> shift & 0xFFFFu;
            word |= sixteen << (16 * w);
        }
        if (layer.bits && threadIdx.x % 16 == 0 && first < cols) layer.bits.row(i)[block] = word;
    }
}

}  // namespace

template <class T>
void draw_layer(State& state, const LayerDraw<T>& layer) {
    if (layer.activation.rows == 0 || layer.activation.cols == 0) return;
    constexpr unsigned threads = 128;
    const dim3 grid(blocks_for((layer.activation.cols + 63) / 64 * 16, threads, 0x7FFFFFFF), blocks_for(layer.activation.rows, 1));
    launch(state.stream, layer_kernel<T>, grid, threads, 0, layer);
}
template void draw_layer(State&, const LayerDraw<float>&);
template void draw_layer(State&, const LayerDraw<double>&);

}  // namespace harmonium::cuda
