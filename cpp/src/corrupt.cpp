#include "harmonium/corrupt.hpp"

#include <algorithm>

#include "corrupt_kernels.hpp"
#include "cuda/corrupt.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"

namespace harmonium {

template <class T>
void corrupt(Context& context, Corruption kind, T level, const Draw& draw, std::uint32_t first_row, const T* low, const T* high,
             const OutputGroup* groups, std::int64_t n_groups, Matrix<T> x) {
    require(level >= 0 && (kind == Corruption::gaussian || level <= 1), "corrupt: level=", level, " is no probability");
    require(kind != Corruption::salt_and_pepper || (low && high), "corrupt: salt and pepper need the columns' limits");
    if (kind == Corruption::none) return;
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::corrupt<T>(context, kind, level, draw, first_row, low, high, groups, n_groups, x);
    }
    context.reserve_scratch(static_cast<std::size_t>((x.cols + 63) / 64 * 64) * sizeof(T));
    context.parallel_for(x.rows, [&](std::int64_t i, int worker) {
        T* u = context.scratch<T>(worker);
        T* row = x.row(i);
        corrupt_kernels<T>().uniforms(draw, first_row + static_cast<std::uint32_t>(i), x.cols, u);
        for (std::int64_t g = 0; g < n_groups && kind != Corruption::gaussian; ++g) {
            if (groups[g].likelihood != Likelihood::categorical) continue;
            const std::int64_t first = groups[g].first, count = groups[g].count;
            const T own = u[first];
            std::fill(u + first, u + first + count, kind == Corruption::masking ? own : T(1));  // 1: left as it is
            if (kind == Corruption::salt_and_pepper && own < level) {
                const auto choice = static_cast<std::int64_t>(own / level * static_cast<T>(count));
                std::fill(row + first, row + first + count, T(0));
                row[first + std::min(choice, count - 1)] = T(1);
            }
        }
        corrupt_kernels<T>().corrupt(kind, level, u, low, high, x.cols, row);
    });
}
template void corrupt(Context&, Corruption, float, const Draw&, std::uint32_t, const float*, const float*, const OutputGroup*,
                      std::int64_t, Matrix<float>);
template void corrupt(Context&, Corruption, double, const Draw&, std::uint32_t, const double*, const double*, const OutputGroup*,
                      std::int64_t, Matrix<double>);

}  // namespace harmonium
