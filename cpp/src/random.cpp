#include "harmonium/random.hpp"

#include <algorithm>

#include "cuda/random.cuh"
#include "cuda_state.hpp"
#include "random_kernels.hpp"

namespace harmonium {

template <class T>
void uniform(Context& context, const Draw& draw, std::uint32_t first_row, Matrix<T> out) {
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::uniform(context, draw, first_row, out);
    }
    constexpr std::int64_t height = 64;
    context.parallel_for((out.rows + height - 1) / height, [&](std::int64_t chunk, int) {
        for (std::int64_t i = chunk * height; i < std::min(out.rows, (chunk + 1) * height); ++i) {
            for (std::int64_t first = 0; first < out.cols; first += 64) {
                T block[64];
                random_kernels<T>().uniform(draw, first_row + static_cast<std::uint32_t>(i), first / 64, block);
                std::copy(block, block + std::min<std::int64_t>(64, out.cols - first), out.row(i) + first);
            }
        }
    });
}
template void uniform(Context&, const Draw&, std::uint32_t, Matrix<float>);
template void uniform(Context&, const Draw&, std::uint32_t, Matrix<double>);

}  // namespace harmonium
