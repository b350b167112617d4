#include "corrupt.cuh"

#include <algorithm>

#include "cover.cuh"
#include "output_groups.cuh"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

template <class T>
__device__ T corrupted(Corruption kind, T level, T u, T low, T high, T x) {
    if (kind == Corruption::masking) return u < level ? T(0) : x;
    if (kind == Corruption::gaussian) return x + level * static_cast<T>(normal_quantile(inside(u)));
    return u >= level ? x : u < level / 2 ? low : high;
}

template <class T>
__global__ void values_kernel(Corruption kind, T level, StepDraw draw, std::uint32_t first_row, const T* low, const T* high, Matrix<T> x) {
    const std::int64_t counter = own_x(), first = first_column(counter);
    if (first >= x.cols) return;
    const Draw now = draw.now();
    const bool limits = kind == Corruption::salt_and_pepper;
    for (std::int64_t i = own_y(); i < x.rows; i += stride_y()) {
        const Philox4 words = philox_counter(now, first_row + static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(counter));
        for (int w = 0; w < 4; ++w) {
            const std::int64_t j = first + 16 * w;
            if (j >= x.cols) break;
            T& at = x.row(i)[j];
            at = corrupted(kind, level, unit_interval<T>(words.word[w]), limits ? low[j] : T(0), limits ? high[j] : T(0), at);
        }
    }
}

// Where there are choices: a block takes a row and goes through the groups, of which a choice has one draw.
template <class T>
__global__ void groups_kernel(Corruption kind, T level, StepDraw draw, std::uint32_t first_row, const T* low, const T* high,
                              OutputGroups groups, Matrix<T> x) {
    const Draw now = draw.now();
    const bool limits = kind == Corruption::salt_and_pepper;
    for (std::int64_t i = blockIdx.x; i < x.rows; i += gridDim.x) {
        const std::uint32_t row = first_row + static_cast<std::uint32_t>(i);
        for (int g = 0; g < groups.count; ++g) {
            const std::int64_t first = groups.group[g].first, count = groups.group[g].count;
            const bool choice = groups.group[g].likelihood == Likelihood::categorical;
            const T own = uniform<T>(now, row, static_cast<std::uint64_t>(first));
            if (choice && own >= level) continue;
            std::int64_t chosen = -1;
            if (choice && limits) {
                chosen = static_cast<std::int64_t>(own / level * static_cast<T>(count));
                if (chosen >= count) chosen = count - 1;
            }
            for (std::int64_t j = threadIdx.x; j < count; j += blockDim.x) {
                const std::int64_t column = first + j;
                T& at = x.row(i)[column];
                if (choice) at = j == chosen ? T(1) : T(0);
                else at = corrupted(kind, level, uniform<T>(now, row, static_cast<std::uint64_t>(column)), limits ? low[column] : T(0),
                                    limits ? high[column] : T(0), at);
            }
        }
    }
}

}  // namespace

template <class T>
void corrupt(Context& context, Corruption kind, T level, const StepDraw& draw, std::uint32_t first_row, const T* low, const T* high,
             const OutputGroup* groups, std::int64_t n_groups, Matrix<T> x) {
    State& state = use(context);
    if (kind == Corruption::none || x.rows == 0 || x.cols == 0) return;
    const bool choices = kind != Corruption::gaussian && std::any_of(groups, groups + n_groups, [](const OutputGroup& group) {
        return group.likelihood == Likelihood::categorical;
    });
    if (!choices) {
        const Cover c = cover_counters(x.rows, x.cols);
        launch(state.stream, values_kernel<T>, c.grid, c.block, 0, kind, level, draw, first_row, low, high, x);
        return;
    }
    over_groups(groups, n_groups, [&](const OutputGroups& part, bool) {
        launch(state.stream, groups_kernel<T>, blocks_for(x.rows, 1), 128, 0, kind, level, draw, first_row, low, high, part, x);
    });
}
template void corrupt(Context&, Corruption, float, const StepDraw&, std::uint32_t, const float*, const float*, const OutputGroup*,
                      std::int64_t, Matrix<float>);
template void corrupt(Context&, Corruption, double, const StepDraw&, std::uint32_t, const double*, const double*, const OutputGroup*,
                      std::int64_t, Matrix<double>);

}  // namespace harmonium::cuda
