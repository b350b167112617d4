#include "harmonium/units.hpp"

#include <algorithm>

#include "cuda/units.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"
#include "pack_kernels.hpp"
#include "units_kernels.hpp"

namespace harmonium {

void check_layer(const Layer& layer, const char* name) {
    std::int64_t next = 0;
    for (const UnitGroup& group : layer.groups) {
        require(group.count > 0 && group.first == next, name, " layer: a group begins at unit ", group.first, " with ",
                group.count, " units, the one before ends at ", next);
        require(group.type != UnitType::count || layer.groups.size() == 1, name,
                " layer: a bag of words cannot stand beside other units");
        next += group.count;
    }
    require(next > 0, name, " layer: no units");
}

namespace {

// Columns [64 p, 64 p + its width) of row i.
template <class T>
T* part(const Panels<T>& m, std::int64_t i, std::int64_t p) {
    return m.panel(p).row(i);
}
template <class T>
T* part(const Matrix<T>& m, std::int64_t i, std::int64_t p) {
    return m.row(i) + 64 * p;
}
template <class T>
std::int64_t padding(const Panels<T>& m, std::int64_t p) {
    return m.panel_cols(p) - m.valid_cols(p);
}
template <class T>
std::int64_t padding(const Matrix<T>&, std::int64_t) {
    return 0;
}

template <class T, class Rows>
void check(const Layer& layer, const T* exposure, const Rows& activation, const DrawnStates<T>& drawn) {
    const std::int64_t rows = activation.rows, m = activation.cols;
    require(layer.units() == m, "units: ", m, " columns, the layer has ", layer.units(), " units");
    require(!drawn.bits || (drawn.bits.rows == rows && drawn.bits.cols == m), "units: bits of ", drawn.bits.rows, " x ",
            drawn.bits.cols, ", activation ", rows, " x ", m);
    require(!drawn.dense || (drawn.dense.rows == rows && drawn.dense.cols == m), "units: states of ", drawn.dense.rows,
            " x ", drawn.dense.cols, ", activation ", rows, " x ", m);
    require(!drawn.tokens || layer.counts(), "units: words are drawn for a bag of words only");
    require(exposure || !(drawn.tokens || (drawn.dense && layer.counts())), "units: words are drawn for a bag of a given size");
}

template <class T, class Rows>
void on_cpu(Context& context, const Layer& layer, const T* bias, T scale, const T* exposure, const Draw& draw,
            std::uint32_t first_row, const Rows& activation, const DrawnStates<T>& drawn, double* log_normaliser) {
    constexpr std::int64_t height = 4;
    const std::int64_t rows = activation.rows, m = activation.cols, padded = (m + 63) / 64 * 64;
    context.reserve_scratch(static_cast<std::size_t>(3 * padded) * sizeof(T));
    context.parallel_for((rows + height - 1) / height, [&](std::int64_t task, int worker) {
        T* scratch = context.scratch<T>(worker);
        UnitsRow<T> row;
        row.groups = layer.groups.data();
        row.n_groups = static_cast<std::int64_t>(layer.groups.size());
        row.units = m;
        row.bias = bias;
        row.scale = scale;
        row.draw = draw;
        row.activation = scratch;
        row.uniforms = scratch + padded;
        for (std::int64_t i = task * height; i < std::min(rows, (task + 1) * height); ++i) {
            for (std::int64_t p = 0; 64 * p < m; ++p) {
                const T* from = part(activation, i, p);
                std::copy(from, from + std::min<std::int64_t>(64, m - 64 * p), scratch + 64 * p);
            }
            row.exposure = exposure ? exposure[i] : T(1);
            row.row = first_row + static_cast<std::uint32_t>(i);
            row.drawn = drawn.dense ? drawn.dense.row(i) : drawn.bits ? scratch + 2 * padded : nullptr;
            row.tokens = drawn.tokens ? drawn.tokens + drawn.starts[i] : nullptr;
            row.log_normaliser = log_normaliser ? log_normaliser + i : nullptr;
            units_kernels<T>().units(row);
            if (drawn.bits) input_kernels<T>().pack_row(row.drawn, m, drawn.bits.row(i));
            for (std::int64_t p = 0; 64 * p < m; ++p) {
                const T* from = scratch + 64 * p;
                T* end = std::copy(from, from + std::min<std::int64_t>(64, m - 64 * p), part(activation, i, p));
                std::fill(end, end + padding(activation, p), T(0));
            }
        }
    });
}

}  // namespace

template <class T>
void units(Context& context, const Layer& layer, const T* bias, T scale, const T* exposure, const Draw& draw,
           std::uint32_t first_row, Panels<T> activation, const DrawnStates<T>& drawn, double* log_normaliser) {
    check(layer, exposure, activation, drawn);
    on_cpu(context, layer, bias, scale, exposure, draw, first_row, activation, drawn, log_normaliser);
}

template <class T>
void units(Context& context, const Layer& layer, const T* bias, T scale, const T* exposure, const Draw& draw,
           std::uint32_t first_row, Matrix<T> activation, const DrawnStates<T>& drawn, double* log_normaliser) {
    check(layer, exposure, activation, drawn);
    if constexpr (built_with_cuda) {
        if (context.cuda()) {
            require(!drawn.bits && !drawn.tokens, "units: on a GPU states are drawn as numbers, not as bits or words");
            return cuda::units(context, layer, bias, scale, exposure, draw, first_row, activation, drawn.dense, log_normaliser);
        }
    }
    on_cpu(context, layer, bias, scale, exposure, draw, first_row, activation, drawn, log_normaliser);
}

#define HARMONIUM_INSTANTIATE(T)                                                                                             \
    template void units(Context&, const Layer&, const T*, T, const T*, const Draw&, std::uint32_t, Panels<T>,                \
                        const DrawnStates<T>&, double*);                                                                     \
    template void units(Context&, const Layer&, const T*, T, const T*, const Draw&, std::uint32_t, Matrix<T>,                \
                        const DrawnStates<T>&, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
