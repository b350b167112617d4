// Free energies, sums over states of a layer and annealed importance sampling of a fitted RBM with units of any type on a GPU, as rbm_likelihood.cpp has those
// of Bernoulli units.
#include "enumerate.cuh"
#include "unit_model.cuh"
#include "unit_states.hpp"

namespace harmonium::cuda {

template <class T>
void rbm_free_energy(Context& context, const UnitRbm<T>& model, const UnitData<T>& v, double* out) {
    const std::int64_t rows = v.states.rows(), visible = model.visible.units(), hidden = model.hidden.units();
    if (rows == 0) return;
    const UnitModel<T> there(context, model);
    std::vector<double> slopes(model.visible_bias, model.visible_bias + visible), curves(slopes.size());
    for (const UnitGroup& group : model.visible.groups) {
        if (group.type == UnitType::gaussian || group.type == UnitType::relu) std::fill_n(curves.begin() + group.first, group.count, 0.5);
    }
    const DeviceBuffer<double> slope = on_the_device(there.state(), slopes.data(), visible), curve = on_the_device(there.state(), curves.data(), visible);
    const DeviceBuffer<T> exposure = on_the_device(there.state(), v.exposure, rows);
    const std::int64_t piece = rows_at_a_time(rows, static_cast<std::int64_t>(sizeof(T)) * (2 * visible + hidden) + 16);
    const DeviceBuffer<T> memory(static_cast<std::size_t>(piece * hidden));
    const DeviceBuffer<double> sums(static_cast<std::size_t>(2 * piece));
    over_rows(context, v.states, piece, [&](const LayerRows<T>& given, std::int64_t at) {
        context.poll(static_cast<double>(at) / static_cast<double>(rows));
        const Matrix<T> activation(memory.data(), std::min(piece, rows - at), hidden);
        there.activate(given, false, activation);
        UnitDraw<T> integral;
        integral.activation = activation;
        integral.bias = there.bias(false);
        integral.exposure = v.exposure ? exposure.data() + at : nullptr;
        integral.log_normaliser = sums.data() + piece;
        draw_units(there.state(), there.layer(false), integral);
        RowTerms<T> terms;
        terms.x = given;
        terms.rows = activation.rows, terms.units = visible;
        terms.slope = slope.data(), terms.curve = curve.data();
        terms.plus = integral.log_normaliser;
        terms.out = sums.data();
        row_terms(there.state(), terms);
        copy_numbers<double>(there.state(), sums.data(), terms.rows, out + at);
    });
    const double of_visible = completed_square(model.visible, model.visible_bias), of_hidden = completed_square(model.hidden, model.hidden_bias);
    for (std::int64_t i = 0; i < rows; ++i) out[i] = of_visible + of_hidden * (v.exposure ? static_cast<double>(v.exposure[i]) : 1.0) - out[i];
}

template <class T>
void rbm_pseudo_log_likelihood(Context& context, const UnitRbm<T>& model, const UnitData<T>& v, double* out) {
    const std::int64_t rows = v.states.rows(), visible = model.visible.units(), hidden = model.hidden.units();
    if (rows == 0) return;
    const UnitModel<T> there(context, model);
    std::vector<UnitGroup> groups;
    for (const UnitGroup& group : model.visible.groups) groups.insert(groups.end(), static_cast<std::size_t>(group.count), group);
    const DeviceBuffer<UnitGroup> of_units = on_the_device(there.state(), groups.data(), visible);
    const DeviceBuffer<T> exposure = on_the_device(there.state(), v.exposure, rows);
    UnitPseudo<T> pseudo;
    pseudo.weights = there.weights();
    pseudo.visible_bias = there.bias(true), pseudo.hidden_bias = there.bias(false);
    pseudo.groups = of_units.data();
    pseudo.hidden = there.layer(false);
    pseudo.bounded = model.hidden.groups[0].type == UnitType::bernoulli;
    const std::int64_t piece = rows_at_a_time(rows, static_cast<std::int64_t>(sizeof(T)) * (2 * visible + hidden) + 8);
    const DeviceBuffer<T> memory(static_cast<std::size_t>(piece * hidden));
    const DeviceBuffer<double> sums(static_cast<std::size_t>(piece));
    over_rows(context, v.states, piece, [&](const LayerRows<T>& given, std::int64_t at) {
        context.poll(static_cast<double>(at) / static_cast<double>(rows));
        const Matrix<T> activation(memory.data(), std::min(piece, rows - at), hidden);
        there.activate(given, false, activation);
        pseudo.v = given;
        pseudo.activation = activation;
        pseudo.exposure = v.exposure ? exposure.data() + at : nullptr;
        pseudo.out = sums.data();
        pseudo_log_likelihood(there.state(), pseudo);
        copy_numbers<double>(there.state(), sums.data(), activation.rows, out + at);
    });
}

template <class T>
void rbm_enumerate(Context& context, const UnitRbm<T>& model, bool hidden, std::int64_t first, std::int64_t count, double* own, double* others) {
    constexpr std::int64_t most = 1 << 16;  // the pieces cost little but their launches
    if (count == 0) return;
    const UnitModel<T> there(context, model);
    const std::int64_t units = there.units(!hidden), integrated = there.units(hidden);
    const T* bias = hidden ? model.hidden_bias : model.visible_bias;
    const std::vector<double> slopes(bias, bias + units);
    const DeviceBuffer<double> slope = on_the_device(there.state(), slopes.data(), units);
    const double square = hidden ? completed_square(model.visible, model.visible_bias) : completed_square(model.hidden, model.hidden_bias);
    using Element = typename ElementOf<T>::type;
    const auto bytes = static_cast<std::int64_t>(sizeof(Element)) * Parts<T>::size(1, units) + static_cast<std::int64_t>(sizeof(T)) * integrated + 16;
    const std::int64_t piece = rows_at_a_time(count, bytes, most);
    const DeviceBuffer<Element> states = zeroed<Element>(there.state(), Parts<T>::size(piece, units));
    const DeviceBuffer<T> memory(static_cast<std::size_t>(piece * integrated));
    const DeviceBuffer<double> sums(static_cast<std::size_t>(2 * piece));
    for (std::int64_t at = 0; at < count; at += piece) {
        context.poll(static_cast<double>(at) / static_cast<double>(count));
        RowTerms<T> terms;
        terms.rows = std::min(piece, count - at), terms.units = units;
        terms.x.states = {states.data(), terms.rows, units};
        terms.slope = slope.data();
        terms.out = sums.data();
        enumerate_states(there.state(), there.layer(!hidden), first + at, terms.x.states);
        row_terms(there.state(), terms);
        const Matrix<T> activation(memory.data(), terms.rows, integrated);
        there.activate(terms.x, hidden, activation);
        UnitDraw<T> integral;
        integral.activation = activation;
        integral.bias = there.bias(hidden);
        integral.log_normaliser = sums.data() + piece;
        draw_units(there.state(), there.layer(hidden), integral);
        copy_numbers<double>(there.state(), terms.out, terms.rows, own + at);
        copy_numbers<double>(there.state(), integral.log_normaliser, terms.rows, others + at);
        context.synchronize();
        for (std::int64_t i = at; i < at + terms.rows; ++i) others[i] -= square;
    }
}

template <class T>
void rbm_anneal(Context& context, const UnitRbm<T>& model, const double* base, const double* betas, std::int64_t n_betas,
                const UnitData<T>& start, std::uint64_t seed, std::int64_t n_runs, double* log_weights, Matrix<T> v) {
    const std::int64_t visible = model.visible.units();
    const UnitModel<T> there(context, model);
    const std::vector<T> narrow(base, base + visible);  // as they are drawn from
    std::vector<double> slopes(static_cast<std::size_t>(visible));
    for (std::int64_t i = 0; i < visible; ++i) {
        slopes[static_cast<std::size_t>(i)] = static_cast<double>(model.visible_bias[i]) - static_cast<double>(narrow[static_cast<std::size_t>(i)]);
    }
    const DeviceBuffer<double> slope = on_the_device(there.state(), slopes.data(), visible), bases = on_the_device(there.state(), base, visible);
    const DeviceBuffer<double> steps = on_the_device(there.state(), betas, n_betas);
    const std::int64_t bytes = UnitChains<T>::bytes(there) + static_cast<std::int64_t>(sizeof(T)) + Annealing<UnitChains<T>>::bytes;
    over_chains(context, bytes, n_runs, n_betas, [&](std::int64_t first, std::int64_t n, const auto& poll) {
        UnitChains<T> chains(there, n);
        if (start.exposure) chains.expose(start.exposure + first);
        Annealing<UnitChains<T>> runs(context, chains, bases.data(), slope.data(), steps.data(), first, seed);
        if (start.states.rows() > 0) chains.start_at(context, start.states.rows_from(first, n));
        else runs.start_by_draws(narrow);
        runs.run(n_betas, poll, log_weights + first);
        if (v) copy_rows(there.state(), chains.states(true), v.rows_from(first, n));
        context.synchronize();
    });
}

#define HARMONIUM_INSTANTIATE(T)                                                                                                \
    template void rbm_free_energy(Context&, const UnitRbm<T>&, const UnitData<T>&, double*);                                    \
    template void rbm_pseudo_log_likelihood(Context&, const UnitRbm<T>&, const UnitData<T>&, double*);                          \
    template void rbm_enumerate(Context&, const UnitRbm<T>&, bool, std::int64_t, std::int64_t, double*, double*);               \
    template void rbm_anneal(Context&, const UnitRbm<T>&, const double*, const double*, std::int64_t, const UnitData<T>&, std::uint64_t, \
                             std::int64_t, double*, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
