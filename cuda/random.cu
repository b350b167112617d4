#include "random.cuh"

#include "launch.cuh"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

// A thread takes one counter: four words, for the columns 64 b + j + 16 w of block b.
template <class T>
__global__ void uniform_kernel(Draw draw, std::uint32_t first_row, Matrix<T> out) {
    const auto counter = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const std::int64_t first = counter / 16 * 64 + counter % 16;
    if (first >= out.cols) return;
    for (std::int64_t i = blockIdx.y; i < out.rows; i += gridDim.y) {
        const Philox4 words = philox_counter(draw, first_row + static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(counter));
        for (int w = 0; w < 4; ++w) {
            const std::int64_t j = first + 16 * w;
            if (j < out.cols) out.row(i)[j] = unit_interval<T>(words.word[w]);
        }
    }
}

}  // namespace

template <class T>
void uniform(Context& context, const Draw& draw, std::uint32_t first_row, Matrix<T> out) {
    State& state = use(context);
    if (out.rows == 0 || out.cols == 0) return;
    constexpr unsigned threads = 256;
    const dim3 grid(blocks_for((out.cols + 63) / 64 * 16, threads, 0x7FFFFFFF), blocks_for(out.rows, 1));
    launch(state.stream, uniform_kernel<T>, grid, threads, 0, draw, first_row, out);
}
template void uniform(Context&, const Draw&, std::uint32_t, Matrix<float>);
template void uniform(Context&, const Draw&, std::uint32_t, Matrix<double>);

}  // namespace harmonium::cuda
