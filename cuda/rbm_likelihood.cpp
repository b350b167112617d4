// Free energies, pseudo-likelihoods and annealed importance sampling of a fitted RBM on a GPU. Runs of annealing stay there with
// their weights until the last temperature; a temperature is a graph replayed.
#include <cmath>
#include <numeric>
#include <vector>

#include "graph.cuh"
#include "likelihood_kernels.hpp"
#include "rbm.cuh"
#include "rbm_chains.cuh"
#include "rbm_scores.cuh"

namespace harmonium::cuda {

namespace {

DeviceBuffer<double> doubles(State& state, const std::vector<double>& from) {
    DeviceBuffer<double> there(from.size());
    copy_numbers<double>(state, from.data(), static_cast<std::int64_t>(from.size()), there.data());
    return there;
}

// Some of the runs of one call, the first of which is its `first`-th.
template <class T>
class Annealing {
    using Now = typename Anneal<T>::Now;

public:
    Annealing(Context& context, const DeviceModel<T>& model, const double* base, const double* slope, const double* betas, std::int64_t n,
              std::int64_t first, std::uint64_t seed)
        : context_(context), model_(model), chains_(model, n), slope_(slope), n_(n), first_(static_cast<std::uint32_t>(first)), seed_(seed),
          now_(zeroed<Now>(model.state, 1)), biases_(static_cast<std::size_t>(model.visible + 2 * model.hidden)), logs_(zeroed<double>(model.state, n)) {
        anneal_.visible = model.visible, anneal_.hidden = model.hidden;
        anneal_.betas = betas, anneal_.base = base;
        anneal_.visible_bias = model.bias(true), anneal_.hidden_bias = model.bias(false);
        anneal_.now = now_.data();
        anneal_.visible_now = biases_.data();
        anneal_.hidden_now = biases_.data() + model.visible;
        anneal_.hidden_before = anneal_.hidden_now + model.hidden;
    }
    ~Annealing() { CUDA_IGNORE(cudaStreamSynchronize(model_.state.stream)); }

    void start_at(ConstBitMatrix states) {
        const std::int64_t words = states.words();
        const DeviceBuffer<std::uint64_t> there(static_cast<std::size_t>(n_ * words));
        copy_rows(model_.state, Matrix<const std::uint64_t>(states.data, n_, words, states.stride), Matrix<std::uint64_t>(there.data(), n_, words));
        states_of_bits(model_.state, {there.data(), n_, model_.visible}, chains_.states(true));
    }
    // From the base model, whose visible units are independent.
    void start_by_draws(const std::vector<T>& base) {
        const Matrix<T> activation = chains_.activation(true);
        CUDA_CHECK(cudaMemsetAsync(activation.data, 0, static_cast<std::size_t>(n_ * model_.visible) * sizeof(T), model_.state.stream));
        copy_numbers<T>(model_.state, base.data(), model_.visible, anneal_.visible_now);
        draw(true, {Draw(seed_, Stream::start, 0)}, anneal_.visible_now, nullptr);
    }

    template <class Poll>
    void run(std::int64_t n_betas, const Poll& poll, double* log_weights) {
        for (std::int64_t k = 1; k < n_betas; ++k) {
            poll(k);
            replay_.queue(model_.state.stream, [&] { step(); });
        }
        copy_numbers<double>(model_.state, logs_.data(), n_, log_weights);
        context_.synchronize();
    }

private:
    void step() {
        const Now* now = now_.data();
        next_temperature(model_.state, anneal_);
        chains_.activate(false);
        RowLogs<T> logs;
        logs.activation = chains_.activation(false);
        logs.now = {anneal_.hidden_now, &now->scale};
        logs.before = {anneal_.hidden_before, &now->scale_before};
        logs.states = chains_.states(true);
        logs.slope = slope_;
        logs.share = &now->difference;
        logs.add = true;
        logs.out = logs_.data();
        row_logs(model_.state, logs);
        draw(false, {seed_, Stream::hidden, &now->step}, anneal_.hidden_now, &now->scale);
        chains_.activate(true);
        draw(true, {seed_, Stream::visible, &now->step}, anneal_.visible_now, &now->scale);
    }
    void draw(bool of_visible, const StepDraw& numbers, const T* bias, const T* scale) {
        LayerDraw<T> layer;
        layer.draw = numbers;
        layer.first_row = first_;
        layer.bias = bias;
        layer.scale = scale;
        chains_.draw(of_visible, layer);
    }

    Context& context_;
    const DeviceModel<T>& model_;
    Chains<T> chains_;
    const double* slope_;
    std::int64_t n_;
    std::uint32_t first_;
    std::uint64_t seed_;
    DeviceBuffer<Now> now_;
    DeviceBuffer<T> biases_;
    DeviceBuffer<double> logs_;
    Anneal<T> anneal_;
    Replay replay_;
};

}  // namespace

template <class T>
void rbm_free_energy(Context& context, const Rbm<T>& model, const States<T>& v, double* out) {
    const std::int64_t rows = v.rows(), visible = model.visible(), hidden = model.hidden();
    if (rows == 0) return;
    const DeviceModel<T> there(context, model);
    const DeviceBuffer<double> slope = doubles(there.state, {model.visible_bias, model.visible_bias + visible});
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
    const DeviceBuffer<double> slopes = doubles(there.state, slope), bases = doubles(there.state, {base, base + visible});
    const DeviceBuffer<double> steps = doubles(there.state, {betas, betas + n_betas});
    const std::int64_t bytes = Chains<T>::bytes(there) + 8 * BitMatrix::words_for(visible) + 8;
    over_chains(context, bytes, n_runs, n_betas, [&](std::int64_t first, std::int64_t n, const auto& poll) {
        Annealing<T> runs(context, there, bases.data(), slopes.data(), steps.data(), n, first, seed);
        if (start) runs.start_at(start.rows_from(first, n));
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
