// Free energies, pseudo-likelihoods and annealed importance sampling of a fitted RBM on a GPU. Runs of annealing stay there with
// their weights until the last temperature.
#include <cmath>
#include <numeric>
#include <vector>

#include "likelihood_kernels.hpp"
#include "rbm.cuh"
#include "rbm_chains.cuh"

namespace harmonium::cuda {

template <class T>
void rbm_free_energy(Context& context, const Rbm<T>& model, const States<T>& v, double* out) {
    const std::int64_t rows = v.rows(), visible = model.visible(), hidden = model.hidden();
    if (rows == 0) return;
    const DeviceModel<T> there(context, model);
    const std::vector<double> biases(model.visible_bias, model.visible_bias + visible);
    const DeviceBuffer<double> slope = on_the_device(there.state, biases.data(), visible);
    const std::int64_t piece = rows_at_a_time(rows, static_cast<std::int64_t>(sizeof(T)) * (2 * visible + hidden) + 8);
    const DeviceBuffer<T> memory(static_cast<std::size_t>(piece * hidden));
    const DeviceBuffer<double> sums(static_cast<std::size_t>(piece));
    over_rows(context, v, piece, [&](const LayerRows<T>& given, std::int64_t at) {
        context.poll(static_cast<double>(at) / static_cast<double>(rows));
        RowLogs<T> logs;
        const Matrix<T> activation(memory.data(), std::min(piece, rows - at), hidden);
        there.activate(given, false, activation);
        logs.activation = activation;
        logs.now.bias = there.bias(false);
        logs.states = given.states;
        logs.numbers = given.numbers;
        logs.slope = slope.data();
        logs.out = sums.data();
        row_logs(there.state, logs);
        copy_numbers<double>(there.state, sums.data(), activation.rows, out + at);
    });
    for (std::int64_t i = 0; i < rows; ++i) out[i] = -out[i];
}

template <class T>
void rbm_pseudo_log_likelihood(Context& context, const Rbm<T>& model, const States<T>& v, double* out, const std::int64_t* units,
                               std::int64_t n_units) {
    const std::int64_t rows = v.rows(), visible = model.visible(), hidden = model.hidden();
    if (rows == 0) return;
    const DeviceModel<T> there(context, model);
    std::vector<std::int64_t> all(static_cast<std::size_t>(units ? 0 : visible));
    std::iota(all.begin(), all.end(), std::int64_t(0));
    Flipping<T> f;
    f.n_units = units ? n_units : visible;
    if (!units) units = all.data();
    for (std::int64_t k = 0; k < f.n_units; ++k) {
        const T* row = model.weights.row(units[k]);
        for (std::int64_t j = 0; j < hidden; ++j) f.largest = std::max(f.largest, static_cast<double>(std::abs(row[j])));
    }
    f.by_ratios = v.bits_only() && f.largest <= largest_ratio;
    const DeviceBuffer<std::int64_t> which(static_cast<std::size_t>(f.n_units));
    copy_numbers<std::int64_t>(there.state, units, f.n_units, which.data());
    const std::int64_t size = f.n_units * hidden;
    const DeviceBuffer<double> flips(static_cast<std::size_t>(f.by_ratios ? 2 * size : size));
    f.weights = there.weights();
    f.units = which.data();
    f.on = {flips.data(), f.n_units, hidden};
    if (f.by_ratios) f.off = {flips.data() + size, f.n_units, hidden};
    f.visible_bias = there.bias(true), f.hidden_bias = there.bias(false);
    prepare_flips(there.state, f);

    const std::int64_t piece = rows_at_a_time(rows, static_cast<std::int64_t>(sizeof(T)) * (2 * visible + hidden) + 8 * (hidden + 1));
    const DeviceBuffer<T> memory(static_cast<std::size_t>(piece * hidden));
    const DeviceBuffer<double> given_memory(static_cast<std::size_t>(piece * hidden)), sums(static_cast<std::size_t>(piece));
    over_rows(context, v, piece, [&](const LayerRows<T>& given, std::int64_t at) {
        context.poll(static_cast<double>(at) / static_cast<double>(rows));
        const Matrix<T> activation(memory.data(), std::min(piece, rows - at), hidden);
        there.activate(given, false, activation);
        f.activation = activation;
        f.states = given.states;
        f.numbers = given.numbers;
        f.given = {given_memory.data(), activation.rows, hidden};
        f.out = sums.data();
        pseudo_log_likelihood(there.state, f);
        copy_numbers<double>(there.state, sums.data(), activation.rows, out + at);
    });
}

template <class T>
void rbm_anneal(Context& context, const Rbm<T>& model, const double* base, const double* betas, std::int64_t n_betas,
                ConstBitMatrix start, std::uint64_t seed, std::int64_t n_runs, double* log_weights) {
    const std::int64_t visible = model.visible();
    const DeviceModel<T> there(context, model);
    std::vector<double> slope(static_cast<std::size_t>(visible));
    for (std::int64_t i = 0; i < visible; ++i) slope[static_cast<std::size_t>(i)] = static_cast<double>(model.visible_bias[i]) - base[i];
    const DeviceBuffer<double> slopes = on_the_device(there.state, slope.data(), visible), bases = on_the_device(there.state, base, visible);
    const DeviceBuffer<double> steps = on_the_device(there.state, betas, n_betas);
    const std::int64_t bytes = Chains<T>::bytes(there) + 8 * BitMatrix::words_for(visible) + Annealing<Chains<T>>::bytes;
    over_chains(context, bytes, n_runs, n_betas, [&](std::int64_t first, std::int64_t n, const auto& poll) {
        const Chains<T> chains(there, n);
        Annealing<Chains<T>> runs(context, chains, bases.data(), slopes.data(), steps.data(), first, seed);
        if (start) chains.start_at(start.rows_from(first, n));
        else runs.start_by_draws({base, base + visible});
        runs.run(n_betas, poll, log_weights + first);
    });
}

#define HARMONIUM_INSTANTIATE(T)                                                                                                \
    template void rbm_free_energy(Context&, const Rbm<T>&, const States<T>&, double*);                                          \
    template void rbm_pseudo_log_likelihood(Context&, const Rbm<T>&, const States<T>&, double*, const std::int64_t*, std::int64_t); \
    template void rbm_anneal(Context&, const Rbm<T>&, const double*, const double*, std::int64_t, ConstBitMatrix, std::uint64_t, \
                             std::int64_t, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
