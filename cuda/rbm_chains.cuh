// Chains of a fitted RBM on a GPU: the states of both layers, one given the other; and what chains of any units do.
#pragma once

#include "graph.cuh"
#include "rbm_layer.cuh"
#include "rbm_model.cuh"
#include "rbm_scores.cuh"

namespace harmonium::cuda {

template <class T>
class Chains {
    using Element = typename ElementOf<T>::type;

public:
    using Number = T;
    using Draw = LayerDraw<T>;

    Chains(const DeviceModel<T>& model, std::int64_t n)
        : model_(model), n_(n), activation_(static_cast<std::size_t>(n * std::max(model.visible, model.hidden))),
          visible_(zeroed<Element>(model.state, Parts<T>::size(n, model.visible))),
          hidden_(zeroed<Element>(model.state, Parts<T>::size(n, model.hidden))) {}
    // On the device, of one chain.
    static std::int64_t bytes(const DeviceModel<T>& model) {
        return (Parts<T>::size(1, model.visible) + Parts<T>::size(1, model.hidden)) * static_cast<std::int64_t>(sizeof(Element)) +
               std::max(model.visible, model.hidden) * static_cast<std::int64_t>(sizeof(T));
    }

    const DeviceModel<T>& model() const { return model_; }
    State& state() const { return model_.state; }
    std::int64_t size() const { return n_; }
    Parts<T> states(bool of_visible) const { return {(of_visible ? visible_ : hidden_).data(), n_, model_.units(of_visible)}; }
    // Of whichever layer was the last.
    Matrix<T> activation(bool of_visible) const { return {activation_.data(), n_, model_.units(of_visible)}; }

    // From the other layer's states.
    void activate(bool of_visible) const { model_.activate({states(!of_visible), {}}, of_visible, activation(of_visible)); }
    void draw(bool of_visible, Draw layer) const {
        layer.activation = activation(of_visible);
        layer.states = states(of_visible);
        if (of_visible) layer.mask = mask_, layer.values = values_;
        draw_layer(state(), layer);
    }
    // As activations of nothing.
    void forget(bool of_visible) const {
        CUDA_CHECK(cudaMemsetAsync(activation_.data(), 0, static_cast<std::size_t>(n_ * model_.units(of_visible)) * sizeof(T), state().stream));
    }
    // Visible units where mask is set are never anything but values. Of the host.
    void clamp(ConstBitMatrix mask, ConstBitMatrix values) {
        clamped_ = DeviceBuffer<std::uint64_t>(static_cast<std::size_t>(2 * n_ * mask.words()));
        const BitMatrix masks(clamped_.data(), n_, mask.cols), there(masks.row(n_), n_, mask.cols);
        copy_bits(state(), mask, masks);
        copy_bits(state(), values, there);
        mask_ = masks, values_ = there;
    }
    // Visible states from the host, and to it.
    void start_at(ConstBitMatrix from) const {
        const DeviceBuffer<std::uint64_t> words(static_cast<std::size_t>(n_ * from.words()));
        const BitMatrix there(words.data(), n_, from.cols);
        copy_bits(state(), from, there);
        states_of_bits(state(), there, states(true));
    }
    void copy_to(BitMatrix to) const {
        const DeviceBuffer<std::uint64_t> words(static_cast<std::size_t>(n_ * to.words()));
        const BitMatrix there(words.data(), n_, to.cols);
        bits_of_states(state(), states(true), there);
        copy_bits(state(), there, to);
    }
    // Of a step of annealing whose hidden activations are known: draws these units, and adds the step to the logs of the weights.
    void weigh(const Anneal<T>& anneal, const Draw& hidden) const {
        draw(false, hidden);
        RowLogs<T> logs;
        logs.activation = activation(false);
        logs.now = {anneal.hidden_now, &anneal.now->scale};
        logs.before = {anneal.hidden_before, &anneal.now->scale_before};
        logs.states = states(true);
        logs.slope = anneal.slope;
        logs.share = &anneal.now->difference;
        logs.add = true;
        logs.out = anneal.logs;
        row_logs(state(), logs);
    }

private:
    const DeviceModel<T>& model_;
    std::int64_t n_;
    DeviceBuffer<T> activation_;
    DeviceBuffer<Element> visible_, hidden_;
    DeviceBuffer<std::uint64_t> clamped_;
    ConstBitMatrix mask_, values_;
};

// Chains of one call, Chains or UnitChains, on their way; the first of them is its `first`-th. A step is a graph replayed.
template <class Chains>
class Gibbs {
    using T = typename Chains::Number;

public:
    Gibbs(Context& context, const Chains& chains, std::int64_t first, std::uint64_t seed)
        : context_(context), chains_(chains), first_(static_cast<std::uint32_t>(first)), seed_(seed), steps_(zeroed<std::uint64_t>(chains.state(), 1)) {}
    ~Gibbs() { CUDA_IGNORE(cudaStreamSynchronize(chains_.state().stream)); }

    // poll: told about every step.
    template <class Poll>
    void run(const States<T>& start, bool from_hidden, std::int64_t n_steps, const Poll& poll) {
        const Matrix<T> activation = chains_.activation(from_hidden);
        const std::int64_t piece = rows_at_a_time(start.rows(), static_cast<std::int64_t>(sizeof(T)) * 2 * start.cols());
        poll(0);
        over_rows(context_, start, piece, [&](const LayerRows<T>& rows, std::int64_t at) {
            chains_.model().activate(rows, from_hidden, activation.rows_from(at, std::min(piece, start.rows() - at)));
        });
        if (!from_hidden) {
            draw(false);
            chains_.activate(true);
        }
        draw(true);
        count_step(chains_.state(), steps_.data());
        for (std::int64_t step = 1; step < n_steps; ++step) {
            poll(step);
            replay_.queue(chains_.state().stream, [&] {
                for (const bool of_visible : {false, true}) {
                    chains_.activate(of_visible);
                    draw(of_visible);
                }
                count_step(chains_.state(), steps_.data());
            });
        }
    }

private:
    void draw(bool of_visible) const {
        typename Chains::Draw draw;
        draw.draw = {seed_, of_visible ? Stream::visible : Stream::hidden, steps_.data()};
        draw.first_row = first_;
        draw.bias = chains_.model().bias(of_visible);
        chains_.draw(of_visible, draw);
    }

    Context& context_;
    const Chains& chains_;
    std::uint32_t first_;
    std::uint64_t seed_;
    DeviceBuffer<std::uint64_t> steps_;
    Replay replay_;
};

// Such chains as runs of annealing; base, betas and slope (see Anneal) on the device. A temperature is a graph replayed.
template <class Chains>
class Annealing {
    using T = typename Chains::Number;
    using Now = typename Anneal<T>::Now;

public:
    Annealing(Context& context, const Chains& chains, const double* base, const double* slope, const double* betas, std::int64_t first, std::uint64_t seed)
        : context_(context), chains_(chains), first_(static_cast<std::uint32_t>(first)), seed_(seed), now_(zeroed<Now>(chains.state(), 1)),
          biases_(static_cast<std::size_t>(chains.model().units(true) + 2 * chains.model().units(false))),
          logs_(zeroed<double>(chains.state(), 3 * chains.size())) {
        anneal_.visible = chains.model().units(true), anneal_.hidden = chains.model().units(false);
        anneal_.betas = betas, anneal_.base = base;
        anneal_.visible_bias = chains.model().bias(true), anneal_.hidden_bias = chains.model().bias(false);
        anneal_.now = now_.data();
        anneal_.visible_now = biases_.data();
        anneal_.hidden_now = biases_.data() + anneal_.visible;
        anneal_.hidden_before = anneal_.hidden_now + anneal_.hidden;
        anneal_.slope = slope, anneal_.logs = logs_.data();
    }
    // Bytes of the device beside the chains', of each.
    static constexpr std::int64_t bytes = 3 * sizeof(double);
    ~Annealing() { CUDA_IGNORE(cudaStreamSynchronize(chains_.state().stream)); }

    // From the base model, whose visible units are independent.
    void start_by_draws(const std::vector<T>& base) const {
        chains_.forget(true);
        copy_numbers<T>(chains_.state(), base.data(), anneal_.visible, anneal_.visible_now);
        chains_.draw(true, draw_of({Draw(seed_, Stream::start, 0)}, anneal_.visible_now, nullptr));
    }

    template <class Poll>
    void run(std::int64_t n_betas, const Poll& poll, double* log_weights) {
        for (std::int64_t k = 1; k < n_betas; ++k) {
            poll(k);
            replay_.queue(chains_.state().stream, [&] { step(); });
        }
        copy_numbers<double>(chains_.state(), logs_.data(), chains_.size(), log_weights);
        context_.synchronize();
    }

private:
    void step() const {
        const Now* now = now_.data();
        next_temperature(chains_.state(), anneal_);
        chains_.activate(false);
        chains_.weigh(anneal_, draw_of({seed_, Stream::hidden, &now->step}, anneal_.hidden_now, &now->scale));
        chains_.activate(true);
        chains_.draw(true, draw_of({seed_, Stream::visible, &now->step}, anneal_.visible_now, &now->scale));
    }
    typename Chains::Draw draw_of(const StepDraw& numbers, const T* bias, const T* scale) const {
        typename Chains::Draw draw;
        draw.draw = numbers;
        draw.first_row = first_;
        draw.bias = bias;
        draw.scale_now = scale;
        return draw;
    }

    Context& context_;
    const Chains& chains_;
    std::uint32_t first_;
    std::uint64_t seed_;
    DeviceBuffer<Now> now_;
    DeviceBuffer<T> biases_;
    DeviceBuffer<double> logs_;
    Anneal<T> anneal_;
    Replay replay_;
};

// Calls body(first, n, poll) for so many chains at a time as half of the free memory holds, each of them so many bytes; poll(k)
// says that the k-th of n_steps steps is about to be queued.
template <class Body>
void over_chains(Context& context, std::int64_t bytes_of_chain, std::int64_t chains, std::int64_t n_steps, const Body& body) {
    std::size_t free = 0, total = 0;
    CUDA_CHECK(cudaMemGetInfo(&free, &total));
    const std::int64_t fit = static_cast<std::int64_t>(free / 2) / bytes_of_chain;
    const std::int64_t piece = std::clamp<std::int64_t>(fit, 1, std::max<std::int64_t>(chains, 1));
    for (std::int64_t first = 0; first < chains; first += piece) {
        const std::int64_t n = std::min(piece, chains - first);
        body(first, n, [&](std::int64_t step) {
            context.poll((static_cast<double>(first) + static_cast<double>(n) * static_cast<double>(step) / static_cast<double>(n_steps)) /
                         static_cast<double>(chains));
        });
    }
}

}  // namespace harmonium::cuda
