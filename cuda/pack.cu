#include "pack.cuh"

#include "cover.cuh"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

// A thread takes a word of out, its neighbours the columns beside: they read the same words.
__global__ void transpose_kernel(ConstBitMatrix bits, BitMatrix out) {
    for (std::int64_t w = own_y(); w < out.words(); w += stride_y()) {
        const std::int64_t j = own_x();
        if (j >= bits.cols) return;
        std::uint64_t word = 0;
        for (std::int64_t i = 64 * w; i < 64 * w + 64 && i < bits.rows; ++i) word |= static_cast<std::uint64_t>(bits.bit(i, j)) << (i % 64);
        out.row(j)[w] = word;
    }
}

}  // namespace

void transpose_bits(Context& context, ConstBitMatrix bits, BitMatrix out) {
    State& state = use(context);
    const Cover over = cover(out.words(), bits.cols);
    if (bits.rows && bits.cols) launch(state.stream, transpose_kernel, over.grid, over.block, 0, bits, out);
}

}  // namespace harmonium::cuda
