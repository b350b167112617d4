// Conditionals and chains of a fitted RBM with units of any type on a GPU, as rbm_sample.cpp has those of Bernoulli units.
#include "unit_chains.cuh"
#include "unit_model.cuh"

namespace harmonium::cuda {

namespace {

// Some of the chains at all temperatures, of each as many; a step works on them together.
template <class T>
class TemperedGibbs {
public:
    TemperedGibbs(Context& context, const UnitModel<T>& model, const UnitRbm<T>& given, const T* base, std::int64_t temperatures, std::int64_t n,
                  std::int64_t first, std::int64_t all, std::uint64_t seed)
        : context_(context), model_(model), n_(n), first_(first), all_(all), seed_(seed), chains_(model, temperatures * n),
          steps_(zeroed<std::uint64_t>(model.state(), 1)), numbers_(zeroed<double>(model.state(), temperatures * n + temperatures - 1)) {
        const std::int64_t visible = model.units(true), hidden = model.units(false);
        tempering_.temperatures = temperatures, tempering_.chains = n, tempering_.hidden = hidden;
        std::vector<T> biases(base, base + visible);  // the base's, then both layers' at every temperature
        for (std::int64_t t = 0; t < temperatures; ++t) {
            for (std::int64_t i = 0; i < visible; ++i) biases.push_back(base[i] + tempering_.beta(t) * (given.visible_bias[i] - base[i]));
        }
        for (std::int64_t t = 0; t < temperatures; ++t) {
            for (std::int64_t j = 0; j < hidden; ++j) biases.push_back(given.hidden_bias[j] * tempering_.beta(t));
        }
        biases_ = on_the_device(model.state(), biases.data(), static_cast<std::int64_t>(biases.size()));
        tempering_.first_row = static_cast<std::uint32_t>(first);
        tempering_.visible = model.layer(true);
        tempering_.visible_bias = model.bias(true), tempering_.hidden_bias = model.bias(false);
        tempering_.base = biases_.data();
        tempering_.visible_biases = {tempering_.base + visible, temperatures, visible};
        tempering_.hidden_biases = {tempering_.visible_biases.row(temperatures), temperatures, hidden};
        tempering_.likes = numbers_.data(), tempering_.accepted = tempering_.likes + temperatures * n;
    }
    ~TemperedGibbs() { CUDA_IGNORE(cudaStreamSynchronize(model_.state().stream)); }

    // Adds to accepted how often neighbours' states changed places.
    template <class Poll>
    void run(std::int64_t n_steps, const Poll& poll, Matrix<T> v, std::vector<double>& accepted) {
        chains_.forget(false);
        for (std::int64_t t = 0; t < tempering_.temperatures; ++t) draw(false, t, Draw(seed_, Stream::start, 0), model_.bias(false), 1);
        for (std::int64_t step = 0; step < n_steps; ++step) {
            poll(step);
            replay_.queue(model_.state().stream, [&] { this->step(); });
        }
        copy_rows(model_.state(), chains_.states(true).rows_from(0, n_), v);
        std::vector<double> counted(accepted.size());
        copy_numbers<double>(model_.state(), tempering_.accepted, tempering_.temperatures - 1, counted.data());
        context_.synchronize();
        for (std::size_t t = 0; t < counted.size(); ++t) accepted[t] += counted[t];
    }

private:
    void step() {
        for (const bool of_visible : {true, false}) {
            chains_.activate(of_visible);
            const Matrix<T> biases = of_visible ? tempering_.visible_biases : tempering_.hidden_biases;
            for (std::int64_t t = 0; t < tempering_.temperatures; ++t) {
                draw(of_visible, t, {seed_, of_visible ? Stream::visible : Stream::hidden, steps_.data()}, biases.row(t), tempering_.beta(t));
            }
        }
        swap_chains<T>(model_.state(), tempering_, {seed_, Stream::swap, steps_.data()}, chains_.states(true), chains_.activation(false), chains_.states(false));
        count_step(model_.state(), steps_.data());
    }
    void draw(bool of_visible, std::int64_t t, const StepDraw& numbers, const T* bias, T scale) {
        UnitDraw<T> draw;
        draw.activation = chains_.activation(of_visible).rows_from(t * n_, n_);
        draw.states = chains_.states(of_visible).rows_from(t * n_, n_);
        draw.draw = numbers;
        draw.first_row = static_cast<std::uint32_t>(t * all_ + first_);
        draw.bias = bias;
        draw.scale = scale;
        draw_units(model_.state(), model_.layer(of_visible), draw);
    }

    Context& context_;
    const UnitModel<T>& model_;
    std::int64_t n_, first_, all_;
    std::uint64_t seed_;
    UnitChains<T> chains_;
    DeviceBuffer<std::uint64_t> steps_;
    DeviceBuffer<double> numbers_;
    DeviceBuffer<T> biases_;
    Tempering<T> tempering_;
    Replay replay_;
};

}  // namespace

template <class T>
void rbm_gibbs(Context& context, const UnitRbm<T>& model, const UnitData<T>& start, bool from_hidden, std::int64_t n_steps,
               std::uint64_t seed, ConstBitMatrix mask, Matrix<const T> values, Matrix<T> v) {
    const UnitModel<T> there(context, model);
    const std::int64_t kept = mask ? 8 * mask.words() + static_cast<std::int64_t>(sizeof(T)) * mask.cols : 0;
    over_chains(context, UnitChains<T>::bytes(there) + kept + 8, v.rows, n_steps, [&](std::int64_t first, std::int64_t n, const auto& poll) {
        UnitChains<T> chains(there, n);
        if (start.exposure) chains.expose(start.exposure + first);
        if (mask) chains.clamp(mask.rows_from(first, n), values.rows_from(first, n));
        Gibbs<UnitChains<T>>(context, chains, first, seed).run(start.states.rows_from(first, n), from_hidden, n_steps, poll);
        copy_rows(there.state(), chains.states(true), v.rows_from(first, n));
        context.synchronize();
    });
}

template <class T>
void rbm_probability(Context& context, const UnitRbm<T>& model, const UnitData<T>& given, bool of_visible, Matrix<T> out) {
    if (out.rows == 0) return;
    const UnitModel<T> there(context, model);
    const DeviceBuffer<T> exposure = on_the_device(there.state(), given.exposure, out.rows);
    const std::int64_t piece = rows_at_a_time(out.rows, static_cast<std::int64_t>(sizeof(T)) * (2 * given.states.cols() + out.cols));
    const DeviceBuffer<T> memory(static_cast<std::size_t>(piece * out.cols));
    over_rows(context, given.states, piece, [&](const LayerRows<T>& rows, std::int64_t at) {
        context.poll(static_cast<double>(at) / static_cast<double>(out.rows));
        const Matrix<T> means(memory.data(), std::min(piece, out.rows - at), out.cols);
        there.activate(rows, of_visible, means);
        UnitDraw<T> draw;
        draw.activation = draw.mean = means;
        draw.bias = there.bias(of_visible);
        draw.exposure = given.exposure ? exposure.data() + at : nullptr;
        draw_units(there.state(), there.layer(of_visible), draw);
        copy_rows(there.state(), means, out.rows_from(at, means.rows));
    });
}

template <class T>
void rbm_temper(Context& context, const UnitRbm<T>& model, const T* base, std::int64_t n_temperatures, std::int64_t n_steps,
                std::uint64_t seed, Matrix<T> v, double* swaps) {
    const UnitModel<T> there(context, model);
    std::vector<double> accepted(static_cast<std::size_t>(n_temperatures - 1));
    over_chains(context, n_temperatures * (UnitChains<T>::bytes(there) + 8), v.rows, n_steps, [&](std::int64_t first, std::int64_t n, const auto& poll) {
        TemperedGibbs<T>(context, there, model, base, n_temperatures, n, first, v.rows, seed).run(n_steps, poll, v.rows_from(first, n), accepted);
    });
    for (std::size_t t = 0; t < accepted.size(); ++t) swaps[t] = v.rows ? accepted[t] / static_cast<double>(n_steps * v.rows) : 0;
}

#define HARMONIUM_INSTANTIATE(T)                                                                                                \
    template void rbm_gibbs(Context&, const UnitRbm<T>&, const UnitData<T>&, bool, std::int64_t, std::uint64_t, ConstBitMatrix, \
                            Matrix<const T>, Matrix<T>);                                                                        \
    template void rbm_probability(Context&, const UnitRbm<T>&, const UnitData<T>&, bool, Matrix<T>);                            \
    template void rbm_temper(Context&, const UnitRbm<T>&, const T*, std::int64_t, std::int64_t, std::uint64_t, Matrix<T>, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
