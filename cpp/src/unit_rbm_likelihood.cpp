#include <cmath>

#include "cuda/unit_rbm.cuh"
#include "cuda_state.hpp"
#include "harmonium/math.hpp"
#include "unit_states.hpp"

namespace harmonium {

template <class T>
void rbm_free_energy(Context& context, const UnitRbm<T>& model, const UnitData<T>& v, double* out) {
    constexpr std::int64_t step = 4096;
    check_model(model);
    const std::int64_t n = v.states.rows(), hidden = model.hidden.units();
    require(v.states.cols() == model.visible.units(), "RBM: X has ", v.states.cols(), " columns, the model has ", model.visible.units());
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_free_energy(context, model, v, out);
    }
    const PanelModel<T> panels(model);
    PanelMemory<T> memory(std::min(step, n), hidden);
    Conditional<T> up = panels.hidden();
    const double square = completed_square(model.hidden, model.hidden_bias);
    for (std::int64_t first = 0; first < n; first += step) {
        context.poll(static_cast<double>(first) / static_cast<double>(n));
        const std::int64_t count = std::min(step, n - first);
        const States<T> part = v.states.rows_from(first, count);
        if (v.exposure) up.exposure = v.exposure + first;
        up(context, part, {memory.memory.data(), count, hidden}, nullptr, out + first);
        for (std::int64_t i = 0; i < count; ++i) {
            const double times = v.exposure ? static_cast<double>(v.exposure[first + i]) : 1;
            out[first + i] = times * square - out[first + i] - own_term(model.visible, part, i, model.visible_bias);
        }
    }
}

std::int64_t count_states(const Layer& layer) {
    std::int64_t states = 1;
    for (const UnitGroup& group : layer.groups) {
        if (group.type != UnitType::bernoulli && group.type != UnitType::categorical) return 0;
        for (std::int64_t j = 0; j < (group.type == UnitType::bernoulli ? group.count : 1); ++j) {
            states *= group.type == UnitType::bernoulli ? 2 : group.count;
            if (states > max_layer_states) return 0;
        }
    }
    return states;
}

template <class T>
void rbm_enumerate(Context& context, const UnitRbm<T>& model, bool hidden, std::int64_t first, std::int64_t count,
                   double* own, double* others) {
    constexpr std::int64_t step = 1024;
    check_model(model);
    const Layer& layer = hidden ? model.hidden : model.visible;
    const Layer& other = hidden ? model.visible : model.hidden;
    require(first >= 0 && first + count <= count_states(layer), "RBM: states ", first, " to ", first + count, " of ",
            count_states(layer));
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_enumerate(context, model, hidden, first, count, own, others);
    }
    const PanelModel<T> panels(model);
    const std::int64_t units = layer.units();
    std::vector<std::uint64_t> words(step * BitMatrix::words_for(units));
    PanelMemory<T> memory(step, other.units());
    std::vector<T> ones(step, T(1));
    Conditional<T> up = hidden ? panels.visible() : panels.hidden();
    if (model.visible.counts()) up.exposure = ones.data();
    const double square = completed_square(other, hidden ? model.visible_bias : model.hidden_bias);
    for (std::int64_t from = first; from < first + count; from += step) {
        context.poll(static_cast<double>(from - first) / static_cast<double>(count));
        const std::int64_t n = std::min(step, first + count - from);
        const BitMatrix bits(words.data(), n, units);
        enumerate_states(layer, from, bits);
        const States<T> states{bits};
        up(context, states, {memory.memory.data(), n, other.units()}, nullptr, others + (from - first));
        for (std::int64_t i = 0; i < n; ++i) {
            own[from - first + i] = own_term(layer, states, i, hidden ? model.hidden_bias : model.visible_bias);
            others[from - first + i] -= square;
        }
    }
}

template <class T>
void rbm_anneal(Context& context, const UnitRbm<T>& model, const double* base, const double* betas, std::int64_t n_betas,
                const UnitData<T>& start, std::uint64_t seed, std::int64_t n_runs, double* log_weights, Matrix<T> v_out) {
    const std::int64_t visible = model.visible.units(), hidden = model.hidden.units();
    const bool given = start.states.rows() > 0;
    require(n_runs >= 1, "log_partition: n_runs=", n_runs, ", at least 1 is needed");
    require(n_betas >= 2, "log_partition: ", n_betas, " temperatures, at least 2 are needed");
    for (std::int64_t k = 0; k < n_betas; ++k) {
        require(betas[k] >= 0 && betas[k] <= 1, "log_partition: beta ", betas[k], " is not in [0, 1]");
    }
    require(given || betas[0] == 0, "log_partition: runs from the base model start at beta 0, not ", betas[0]);
    require(!given || (start.states.rows() == n_runs && start.states.cols() == visible), "log_partition: start is ",
            start.states.rows(), " x ", start.states.cols(), ", not ", n_runs, " x ", visible);
    require(start.exposure || !model.visible.counts(), "log_partition: a bag of words needs its number of words");
    check_model(model);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_anneal(context, model, base, betas, n_betas, start, seed, n_runs, log_weights, v_out);
    }
    const PanelModel<T> panels(model);
    StateBuffer<T> v(model.visible, n_runs), h(model.hidden, n_runs);
    PanelMemory<T> visible_mean(n_runs, visible), hidden_mean(n_runs, hidden), activation(n_runs, hidden);
    std::vector<T> visible_bias(visible), hidden_bias(hidden), hidden_before(hidden), base_t(base, base + visible);
    std::vector<double> now(n_runs), before(n_runs);
    const auto set_biases = [&](double beta, std::vector<T>& c) {
        for (std::int64_t i = 0; i < visible; ++i) {
            visible_bias[i] = static_cast<T>((1 - beta) * base[i] + beta * static_cast<double>(model.visible_bias[i]));
        }
        for (std::int64_t j = 0; j < hidden; ++j) c[j] = static_cast<T>(beta * static_cast<double>(model.hidden_bias[j]));
    };
    if (given) {
        v.assign(start.states);
    } else {
        std::vector<std::uint64_t> none(n_runs * BitMatrix::words_for(hidden));
        Conditional<T> draw = panels.visible();
        draw.bias = base_t.data();
        draw.scale = T(0);
        draw.exposure = start.exposure;
        draw.draw = {seed, Stream::start, 0};
        draw(context, States<T>(ConstBitMatrix(none.data(), n_runs, hidden)), visible_mean.panels, &v);
    }
    std::fill(log_weights, log_weights + n_runs, 0.0);
    for (std::int64_t k = 1; k < n_betas; ++k) {
        context.poll(static_cast<double>(k) / static_cast<double>(n_betas));
        set_biases(betas[k - 1], hidden_before);
        set_biases(betas[k], hidden_bias);
        // The natural parameters only: squares of gaussian biases are no part of the ratio.
        for (std::int64_t i = 0; i < n_runs; ++i) {
            const double difference = betas[k] - betas[k - 1];
            log_weights[i] += difference * (natural_term<T>(v.states(), i, model.visible_bias) -
                                            natural_term<T>(v.states(), i, base_t.data()));
        }
        binary_gemm<T>(context, v.states(), panels.weights.panels, false, false, activation.panels);
        hidden_mean.memory = activation.memory;
        units<T>(context, model.hidden, hidden_before.data(), static_cast<T>(betas[k - 1]), start.exposure, Draw(), 0,
                 hidden_mean.panels, DrawnStates<T>(), before.data());
        h.resize(n_runs, nullptr);
        units<T>(context, model.hidden, hidden_bias.data(), static_cast<T>(betas[k]), start.exposure,
                 {seed, Stream::hidden, static_cast<std::uint64_t>(k)}, 0, activation.panels, h.target(), now.data());
        for (std::int64_t i = 0; i < n_runs; ++i) log_weights[i] += now[i] - before[i];
        Conditional<T> down = panels.visible();
        down.bias = visible_bias.data();
        down.scale = static_cast<T>(betas[k]);
        down.exposure = start.exposure;
        down.draw = {seed, Stream::visible, static_cast<std::uint64_t>(k)};
        down(context, h.states(), visible_mean.panels, &v);
    }
    for (std::int64_t i = 0; v_out && i < n_runs; ++i) StateBuffer<T>::read_row(v.states(), i, v_out.row(i));
}

#define HARMONIUM_INSTANTIATE(T)                                                                                        \
    template void rbm_free_energy(Context&, const UnitRbm<T>&, const UnitData<T>&, double*);                            \
    template void rbm_enumerate(Context&, const UnitRbm<T>&, bool, std::int64_t, std::int64_t, double*, double*);       \
    template void rbm_anneal(Context&, const UnitRbm<T>&, const double*, const double*, std::int64_t, const UnitData<T>&, \
                             std::uint64_t, std::int64_t, double*, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
