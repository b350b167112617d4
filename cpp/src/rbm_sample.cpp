#include <algorithm>
#include <vector>

#include "aligned.hpp"
#include "cuda/rbm.cuh"
#include "cuda_state.hpp"
#include "harmonium/bernoulli.hpp"
#include "harmonium/error.hpp"
#include "harmonium/pack.hpp"
#include "harmonium/rbm.hpp"

namespace harmonium {

namespace {

template <class T>
AlignedVector<T> weights_in_panels(const Rbm<T>& model) {
    AlignedVector<T> memory(Panels<T>::size(model.visible(), model.hidden()));
    to_panels<T>(model.weights, {memory.data(), model.visible(), model.hidden()});
    return memory;
}

// The conditional of one layer given states of the other, a few thousand rows at a time.
template <class T>
void probability(Context& context, const Rbm<T>& model, const States<T>& given, bool of_visible, Matrix<T> out) {
    constexpr std::int64_t step = 4096;
    require(out.rows == given.rows(), "RBM: ", given.rows(), " rows in, ", out.rows, " rows out");
    const std::int64_t inner = of_visible ? model.hidden() : model.visible(), outer = of_visible ? model.visible() : model.hidden();
    require(given.cols() == inner && out.cols == outer, "RBM: ", given.cols(), " columns in, ", out.cols, " out, the model has ", inner,
            " and ", outer);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_probability(context, model, given, of_visible, out);
    }
    const AlignedVector<T> weights = weights_in_panels(model);
    const Panels<const T> w(weights.data(), model.visible(), model.hidden());
    AlignedVector<T> memory(Panels<T>::size(std::min(step, out.rows), out.cols));
    for (std::int64_t first = 0; first < out.rows; first += step) {
        context.poll(static_cast<double>(first) / static_cast<double>(out.rows));
        const std::int64_t count = std::min(step, out.rows - first);
        LayerOutput<T> layer;
        layer.probability = {memory.data(), count, out.cols};
        bernoulli_layer<T>(context, given.rows_from(first, count), w, of_visible,
                           of_visible ? model.visible_bias : model.hidden_bias, T(1), layer);
        from_panels<T>(layer.probability, out.rows_from(first, count));
    }
}

void keep(ConstBitMatrix mask, ConstBitMatrix values, BitMatrix v) {
    if (!mask) return;
    for (std::int64_t i = 0; i < v.rows; ++i) {
        for (std::int64_t w = 0; w < v.words(); ++w) {
            v.row(i)[w] = (v.row(i)[w] & ~mask.row(i)[w]) | (values.row(i)[w] & mask.row(i)[w]);
        }
    }
}

}  // namespace

template <class T>
void rbm_gibbs(Context& context, const Rbm<T>& model, const States<T>& start, bool from_hidden, std::int64_t n_steps,
               std::uint64_t seed, ConstBitMatrix mask, ConstBitMatrix values, BitMatrix v) {
    const std::int64_t n = start.rows();
    require(n_steps >= 1, "RBM: n_steps=", n_steps, ", at least 1 is needed");
    require(start.cols() == (from_hidden ? model.hidden() : model.visible()), "RBM: start has ", start.cols(),
            " columns, the model ", from_hidden ? model.hidden() : model.visible());
    require(v.rows == n && v.cols == model.visible(), "RBM: v is ", v.rows, " x ", v.cols, ", not ", n, " x ",
            model.visible());
    require(!mask || (mask.rows == n && mask.cols == v.cols && values.rows == n && values.cols == v.cols), "RBM: v is ", n, " x ", v.cols,
            ", the mask ", mask.rows, " x ", mask.cols, ", its values ", values.rows, " x ", values.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_gibbs(context, model, start, from_hidden, n_steps, seed, mask, values, v);
    }
    const AlignedVector<T> weights = weights_in_panels(model);
    const Panels<const T> w(weights.data(), model.visible(), model.hidden());
    std::vector<std::uint64_t> hidden_words(n * BitMatrix::words_for(model.hidden()));
    const BitMatrix h(hidden_words.data(), n, model.hidden());
    for (std::int64_t step = 0; step < n_steps; ++step) {
        context.poll(static_cast<double>(step) / static_cast<double>(n_steps));
        LayerOutput<T> out;
        const auto number = static_cast<std::uint64_t>(step);
        if (step > 0 || !from_hidden) {
            out.bits = h;
            out.draw = {seed, Stream::hidden, number};
            bernoulli_layer<T>(context, step == 0 ? start : States<T>(v), w, false, model.hidden_bias, T(1), out);
        }
        out.bits = v;
        out.draw = {seed, Stream::visible, number};
        bernoulli_layer<T>(context, step == 0 && from_hidden ? start : States<T>(h), w, true, model.visible_bias, T(1), out);
        keep(mask, values, v);
    }
}

template <class T>
void rbm_hidden_probability(Context& context, const Rbm<T>& model, const States<T>& v, Matrix<T> out) {
    probability(context, model, v, false, out);
}

template <class T>
void rbm_visible_probability(Context& context, const Rbm<T>& model, const States<T>& h, Matrix<T> out) {
    probability(context, model, h, true, out);
}

#define HARMONIUM_INSTANTIATE(T)                                                                                  \
    template void rbm_gibbs(Context&, const Rbm<T>&, const States<T>&, bool, std::int64_t, std::uint64_t,         \
                            ConstBitMatrix, ConstBitMatrix, BitMatrix);                                           \
    template void rbm_hidden_probability(Context&, const Rbm<T>&, const States<T>&, Matrix<T>);                   \
    template void rbm_visible_probability(Context&, const Rbm<T>&, const States<T>&, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
