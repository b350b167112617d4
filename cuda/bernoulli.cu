#include "bernoulli.cuh"

#include "harmonium/math.hpp"
#include "launch.cuh"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

// 16 lanes take a block of 64 columns: lane j the columns j, j + 16, j + 32, j + 48, which share one Philox counter. A
// ballot then holds 16 neighbouring bits for each half of the warp. All lanes stay to the end: ballots need them.
template <class T>
__global__ void bernoulli_kernel(Matrix<const T> activation, const T* bias, T scale, Draw draw, std::uint32_t first_row,
                                 Matrix<T> probability, BitMatrix bits) {
    const auto counter = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const std::int64_t block = counter / 16, first = 64 * block + counter % 16, cols = activation.cols;
    const unsigned shift = threadIdx.x & 16;
    for (std::int64_t i = blockIdx.y; i < activation.rows; i += gridDim.y) {
        const Philox4 words = philox_counter(draw, first_row + static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(counter));
        std::uint64_t word = 0;
        for (int w = 0; w < 4; ++w) {
            const std::int64_t j = first + 16 * w;
            bool drawn = false;
            if (j < cols) {
                const T p = sigmoid(detail::multiply_add(scale, activation.row(i)[j], bias[j]));
                drawn = unit_interval<T>(words.word[w]) < p;
                if (probability) probability.row(i)[j] = p;
            }
            const std::uint64_t sixteen = __ballot_sync(0xFFFFFFFFu, drawn) >> shift & 0xFFFFu;
            word |= sixteen << (16 * w);
        }
        if (bits && threadIdx.x % 16 == 0 && first < cols) bits.row(i)[block] = word;
    }
}

}  // namespace

template <class T>
void bernoulli(Context& context, Matrix<const T> activation, const T* bias, T scale, const Draw& draw, std::uint32_t first_row,
               Matrix<T> probability, BitMatrix bits) {
    State& state = use(context);
    if (activation.rows == 0 || activation.cols == 0) return;
    constexpr unsigned threads = 128;
    const dim3 grid(blocks_for((activation.cols + 63) / 64 * 16, threads, 0x7FFFFFFF), blocks_for(activation.rows, 1));
    launch(state.stream, bernoulli_kernel<T>, grid, threads, 0, activation, bias, scale, draw, first_row, probability, bits);
}
template void bernoulli(Context&, Matrix<const float>, const float*, float, const Draw&, std::uint32_t, Matrix<float>, BitMatrix);
template void bernoulli(Context&, Matrix<const double>, const double*, double, const Draw&, std::uint32_t, Matrix<double>, BitMatrix);

}  // namespace harmonium::cuda
