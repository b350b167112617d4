#include "cuda/unit_rbm.cuh"
#include "cuda_state.hpp"
#include "tempered_chains.hpp"

namespace harmonium {

namespace {

// Puts the clamped units of v back; a choice is kept whole or drawn whole.
template <class T>
void keep(ConstBitMatrix mask, Matrix<const T> values, StateBuffer<T>& v, bool binary) {
    if (!mask) return;
    for (std::int64_t i = 0; i < mask.rows; ++i) {
        for (std::int64_t j = 0; j < mask.cols; ++j) {
            if (!mask.bit(i, j)) continue;
            if (!binary) {
                v.dense().row(i)[j] = values.row(i)[j];
                continue;
            }
            const std::uint64_t bit = std::uint64_t(1) << (j % 64);
            std::uint64_t& word = v.bits().row(i)[j / 64];
            word = values.row(i)[j] != T(0) ? word | bit : word & ~bit;
        }
    }
}

template <class T>
void check_given(const UnitRbm<T>& model, const UnitData<T>& given, bool hidden) {
    const std::int64_t units = hidden ? model.hidden.units() : model.visible.units();
    require(given.states.cols() == units, "RBM: states have ", given.states.cols(), " columns, the layer has ", units);
    require(given.exposure || !model.visible.counts(), "RBM: a bag of words needs its number of words");
}

}  // namespace

template <class T>
void rbm_probability(Context& context, const UnitRbm<T>& model, const UnitData<T>& given, bool of_visible, Matrix<T> out) {
    constexpr std::int64_t step = 4096;
    check_model(model);
    check_given(model, given, of_visible);
    require(out.rows == given.states.rows(), "RBM: ", given.states.rows(), " rows in, ", out.rows, " rows out");
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_probability(context, model, given, of_visible, out);
    }
    const PanelModel<T> panels(model);
    PanelMemory<T> memory(std::min(step, out.rows), out.cols);
    Conditional<T> layer = of_visible ? panels.visible() : panels.hidden();
    for (std::int64_t first = 0; first < out.rows; first += step) {
        context.poll(static_cast<double>(first) / static_cast<double>(out.rows));
        const std::int64_t count = std::min(step, out.rows - first);
        if (given.exposure) layer.exposure = given.exposure + first;
        const Panels<T> mean(memory.memory.data(), count, out.cols);
        layer(context, given.states.rows_from(first, count), mean, nullptr);
        from_panels<T>(mean, out.rows_from(first, count));
    }
}

template <class T>
void rbm_gibbs(Context& context, const UnitRbm<T>& model, const UnitData<T>& start, bool from_hidden, std::int64_t n_steps,
               std::uint64_t seed, ConstBitMatrix mask, Matrix<const T> values, Matrix<T> v) {
    const std::int64_t n = start.states.rows(), visible = model.visible.units(), hidden = model.hidden.units();
    require(n_steps >= 1, "RBM: n_steps=", n_steps, ", at least 1 is needed");
    check_model(model);
    check_given(model, start, from_hidden);
    require(v.rows == n && v.cols == visible, "RBM: v is ", v.rows, " x ", v.cols, ", not ", n, " x ", visible);
    require(!mask || !model.visible.counts(), "RBM: words of a bag cannot be clamped");
    require(!mask || (mask.rows == n && mask.cols == visible && values.rows == n && values.cols == visible),
            "RBM: clamp is ", mask.rows, " x ", mask.cols, " and ", values.rows, " x ", values.cols, ", not ", n, " x ", visible);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_gibbs(context, model, start, from_hidden, n_steps, seed, mask, values, v);
    }
    const PanelModel<T> panels(model);
    StateBuffer<T> of_visible(model.visible, n), of_hidden(model.hidden, n);
    PanelMemory<T> visible_mean(n, visible), hidden_mean(n, hidden);
    Conditional<T> up = panels.hidden(), down = panels.visible();
    up.exposure = down.exposure = start.exposure;
    for (std::int64_t step = 0; step < n_steps; ++step) {
        context.poll(static_cast<double>(step) / static_cast<double>(n_steps));
        const auto number = static_cast<std::uint64_t>(step);
        up.draw = {seed, Stream::hidden, number};
        down.draw = {seed, Stream::visible, number};
        if (step > 0 || !from_hidden) up(context, step == 0 ? start.states : of_visible.states(), hidden_mean.panels, &of_hidden);
        down(context, step == 0 && from_hidden ? start.states : of_hidden.states(), visible_mean.panels, &of_visible);
        keep(mask, values, of_visible, model.visible.binary());
    }
    for (std::int64_t i = 0; i < n; ++i) StateBuffer<T>::read_row(of_visible.states(), i, v.row(i));
}

template <class T>
void rbm_temper(Context& context, const UnitRbm<T>& model, const T* base, std::int64_t n_temperatures, std::int64_t n_steps,
                std::uint64_t seed, Matrix<T> v, double* swaps) {
    require(model.hidden.only(UnitType::bernoulli) && !model.visible.counts(),
            "RBM: parallel tempering takes bernoulli hidden units and no bags of words");
    require(n_temperatures >= 2 && n_steps >= 1, "RBM: ", n_temperatures, " temperatures and ", n_steps, " steps");
    check_model(model);
    require(v.cols == model.visible.units(), "RBM: v has ", v.cols, " columns, the layer ", model.visible.units(), " units");
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_temper(context, model, base, n_temperatures, n_steps, seed, v, swaps);
    }
    const PanelModel<T> panels(model);
    TemperedChains<T> chains(model.visible, model.hidden, v.rows, n_temperatures);
    chains.start(context, model.hidden_bias, seed);
    PanelMemory<T> mean(v.rows, model.hidden.units());
    for (std::int64_t step = 0; step < n_steps; ++step) {
        context.poll(static_cast<double>(step) / static_cast<double>(n_steps));
        chains.step(context, panels.weights.panels, model.visible_bias, base, model.hidden_bias, nullptr,
                    [&](Stream stream) { return Draw(seed, stream, static_cast<std::uint64_t>(step)); }, mean.panels);
    }
    chains.read_swaps(swaps);
    for (std::int64_t i = 0; i < v.rows; ++i) StateBuffer<T>::read_row(chains.visible(0).states(), i, v.row(i));
}

#define HARMONIUM_INSTANTIATE(T)                                                                                         \
    template void rbm_probability(Context&, const UnitRbm<T>&, const UnitData<T>&, bool, Matrix<T>);                     \
    template void rbm_gibbs(Context&, const UnitRbm<T>&, const UnitData<T>&, bool, std::int64_t, std::uint64_t,          \
                            ConstBitMatrix, Matrix<const T>, Matrix<T>);                                                 \
    template void rbm_temper(Context&, const UnitRbm<T>&, const T*, std::int64_t, std::int64_t, std::uint64_t, Matrix<T>, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
