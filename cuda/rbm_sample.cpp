// Conditionals and Gibbs chains of a fitted RBM on a GPU. Chains stay there from the start to the last state; a step of theirs is
// a graph replayed. Given the same probabilities they draw what the CPU draws.
#include "graph.cuh"
#include "rbm.cuh"
#include "rbm_chains.cuh"
#include "rbm_scores.cuh"

namespace harmonium::cuda {

namespace {

// Some of the chains of one call, the first of which is its `first`-th.
template <class T>
class Gibbs {
public:
    Gibbs(Context& context, const DeviceModel<T>& model, std::int64_t n, std::int64_t first, std::uint64_t seed, ConstBitMatrix mask, ConstBitMatrix values)
        : context_(context), model_(model), chains_(model, n), first_(static_cast<std::uint32_t>(first)), seed_(seed),
          steps_(zeroed<std::uint64_t>(model.state, 1)), words_(static_cast<std::size_t>(n * BitMatrix::words_for(model.visible) * (mask ? 3 : 1))) {
        drawn_ = {words_.data(), n, model.visible};
        if (!mask) return;
        mask_ = take(mask, 1);
        values_ = take(values, 2);
    }
    ~Gibbs() { CUDA_IGNORE(cudaStreamSynchronize(model_.state.stream)); }

    // poll: told about every step.
    template <class Poll>
    void run(const States<T>& start, bool from_hidden, std::int64_t n_steps, const Poll& poll, BitMatrix v) {
        const Matrix<T> activation = chains_.activation(from_hidden);
        const std::int64_t piece = rows_at_a_time(start.rows(), sizeof(T) * 2 * start.cols());
        poll(0);
        over_rows(context_, start, piece, [&](const LayerRows<T>& rows, std::int64_t at) {
            model_.activate(rows, from_hidden, activation.rows_from(at, std::min(piece, start.rows() - at)));
        });
        if (!from_hidden) {
            draw(false);
            chains_.activate(true);
        }
        draw(true);
        count_step(model_.state, steps_.data());
        for (std::int64_t step = 1; step < n_steps; ++step) {
            poll(step);
            replay_.queue(model_.state.stream, [&] {
                for (const bool of_visible : {false, true}) {
                    chains_.activate(of_visible);
                    draw(of_visible);
                }
                count_step(model_.state, steps_.data());
            });
        }
        bits_of_states(model_.state, chains_.states(true), drawn_);
        copy_bits(drawn_, v);
        context_.synchronize();
    }

private:
    void draw(bool of_visible) {
        LayerDraw<T> layer;
        layer.draw = {seed_, of_visible ? Stream::visible : Stream::hidden, steps_.data()};
        layer.first_row = first_;
        if (of_visible) layer.mask = mask_, layer.values = values_;
        layer.bias = model_.bias(of_visible);
        chains_.draw(of_visible, layer);
    }
    BitMatrix take(ConstBitMatrix bits, std::int64_t part) {
        const BitMatrix there(words_.data() + part * bits.rows * bits.words(), bits.rows, bits.cols);
        copy_bits(bits, there);
        return there;
    }
    void copy_bits(ConstBitMatrix from, BitMatrix to) {
        copy_rows(model_.state, Matrix<const std::uint64_t>(from.data, from.rows, from.words(), from.stride),
                  Matrix<std::uint64_t>(to.data, to.rows, to.words(), to.stride));
    }

    Context& context_;
    const DeviceModel<T>& model_;
    Chains<T> chains_;
    std::uint32_t first_;
    std::uint64_t seed_;
    DeviceBuffer<std::uint64_t> steps_, words_;
    BitMatrix drawn_;
    ConstBitMatrix mask_, values_;
    Replay replay_;
};

}  // namespace

template <class T>
void rbm_gibbs(Context& context, const Rbm<T>& model, const States<T>& start, bool from_hidden, std::int64_t n_steps,
               std::uint64_t seed, ConstBitMatrix mask, ConstBitMatrix values, BitMatrix v) {
    const DeviceModel<T> there(context, model);
    const std::int64_t bytes = Chains<T>::bytes(there) + 24 * BitMatrix::words_for(model.visible());
    over_chains(context, bytes, start.rows(), n_steps, [&](std::int64_t first, std::int64_t n, const auto& poll) {
        const ConstBitMatrix none;
        Gibbs<T>(context, there, n, first, seed, mask ? mask.rows_from(first, n) : none, mask ? values.rows_from(first, n) : none)
            .run(start.rows_from(first, n), from_hidden, n_steps, poll, v.rows_from(first, n));
    });
}

template <class T>
void rbm_probability(Context& context, const Rbm<T>& model, const States<T>& given, bool of_visible, Matrix<T> out) {
    if (given.rows() == 0) return;
    const DeviceModel<T> there(context, model);
    const std::int64_t piece = rows_at_a_time(given.rows(), static_cast<std::int64_t>(sizeof(T)) * (2 * given.cols() + out.cols));
    const DeviceBuffer<T> memory(static_cast<std::size_t>(piece * out.cols));
    over_rows(context, given, piece, [&](const LayerRows<T>& rows, std::int64_t at) {
        context.poll(static_cast<double>(at) / static_cast<double>(out.rows));
        const Matrix<T> activation(memory.data(), std::min(piece, out.rows - at), out.cols);
        there.activate(rows, of_visible, activation);
        LayerDraw<T> layer;
        layer.activation = activation;
        layer.bias = there.bias(of_visible);
        layer.probability = activation;
        draw_layer(there.state, layer);
        copy_rows(there.state, activation, out.rows_from(at, activation.rows));
    });
}

#define HARMONIUM_INSTANTIATE(T)                                                                                                \
    template void rbm_gibbs(Context&, const Rbm<T>&, const States<T>&, bool, std::int64_t, std::uint64_t, ConstBitMatrix,      \
                            ConstBitMatrix, BitMatrix);                                                                         \
    template void rbm_probability(Context&, const Rbm<T>&, const States<T>&, bool, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
