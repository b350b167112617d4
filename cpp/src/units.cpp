#include "harmonium/units.hpp"

#include <algorithm>

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

template <class T>
void units(Context& context, const Layer& layer, const T* bias, T scale, const T* exposure, const Draw& draw,
           std::uint32_t first_row, Panels<T> activation, const DrawnStates<T>& drawn, double* log_normaliser) {
    constexpr std::int64_t height = 4;
    const std::int64_t rows = activation.rows, m = activation.cols, padded = (m + 63) / 64 * 64;
    require(layer.units() == m, "units: ", m, " columns, the layer has ", layer.units(), " units");
    require(!drawn.bits || (drawn.bits.rows == rows && drawn.bits.cols == m), "units: bits of ", drawn.bits.rows, " x ",
            drawn.bits.cols, ", activation ", rows, " x ", m);
    require(!drawn.dense || (drawn.dense.rows == rows && drawn.dense.cols == m), "units: states of ", drawn.dense.rows,
            " x ", drawn.dense.cols, ", activation ", rows, " x ", m);
    require(!drawn.tokens || (layer.counts() && exposure), "units: words are drawn for a bag of words of a given size only");
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
            for (std::int64_t p = 0; p < activation.count(); ++p) {
                const T* from = activation.panel(p).row(i);
                std::copy(from, from + activation.valid_cols(p), scratch + 64 * p);
            }
            row.exposure = exposure ? exposure[i] : T(1);
            row.row = first_row + static_cast<std::uint32_t>(i);
            row.drawn = drawn.dense ? drawn.dense.row(i) : drawn.bits ? scratch + 2 * padded : nullptr;
            row.tokens = drawn.tokens ? drawn.tokens + drawn.starts[i] : nullptr;
            row.log_normaliser = log_normaliser ? log_normaliser + i : nullptr;
            units_kernels<T>().units(row);
            if (drawn.bits) input_kernels<T>().pack_row(row.drawn, m, drawn.bits.row(i));
            for (std::int64_t p = 0; p < activation.count(); ++p) {
                const std::int64_t valid = activation.valid_cols(p);
                T* to = activation.panel(p).row(i);
                std::fill(std::copy(scratch + 64 * p, scratch + 64 * p + valid, to), to + activation.panel_cols(p), T(0));
            }
        }
    });
}
template void units(Context&, const Layer&, const float*, float, const float*, const Draw&, std::uint32_t, Panels<float>,
                    const DrawnStates<float>&, double*);
template void units(Context&, const Layer&, const double*, double, const double*, const Draw&, std::uint32_t, Panels<double>,
                    const DrawnStates<double>&, double*);

}  // namespace harmonium
