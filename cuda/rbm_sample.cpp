// Conditionals and Gibbs chains of a fitted RBM on a GPU. Chains stay there from the start to the last state. Given the same
// probabilities they draw what the CPU draws.
#include "rbm.cuh"
#include "rbm_chains.cuh"

namespace harmonium::cuda {

template <class T>
void rbm_gibbs(Context& context, const Rbm<T>& model, const States<T>& start, bool from_hidden, std::int64_t n_steps,
               std::uint64_t seed, ConstBitMatrix mask, ConstBitMatrix values, BitMatrix v) {
    const DeviceModel<T> there(context, model);
    const std::int64_t bytes = Chains<T>::bytes(there) + 24 * BitMatrix::words_for(model.visible());
    over_chains(context, bytes, start.rows(), n_steps, [&](std::int64_t first, std::int64_t n, const auto& poll) {
        Chains<T> chains(there, n);
        if (mask) chains.clamp(mask.rows_from(first, n), values.rows_from(first, n));
        Gibbs<Chains<T>>(context, chains, first, seed).run(start.rows_from(first, n), from_hidden, n_steps, poll);
        chains.copy_to(v.rows_from(first, n));
        context.synchronize();
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
