// Chains of a fitted RBM on a GPU: the states of both layers, one given the other.
#pragma once

#include "rbm_layer.cuh"
#include "rbm_model.cuh"

namespace harmonium::cuda {

template <class T>
class Chains {
    using Element = typename ElementOf<T>::type;

public:
    Chains(const DeviceModel<T>& model, std::int64_t n)
        : model_(model), n_(n), activation_(static_cast<std::size_t>(n * std::max(model.visible, model.hidden))),
          visible_(zeroed<Element>(model.state, Parts<T>::size(n, model.visible))),
          hidden_(zeroed<Element>(model.state, Parts<T>::size(n, model.hidden))) {}
    // On the device, of one chain.
    static std::int64_t bytes(const DeviceModel<T>& model) {
        return (Parts<T>::size(1, model.visible) + Parts<T>::size(1, model.hidden)) * static_cast<std::int64_t>(sizeof(Element)) +
               std::max(model.visible, model.hidden) * static_cast<std::int64_t>(sizeof(T));
    }

    Parts<T> states(bool of_visible) const { return {(of_visible ? visible_ : hidden_).data(), n_, model_.units(of_visible)}; }
    // Of whichever layer was the last.
    Matrix<T> activation(bool of_visible) const { return {activation_.data(), n_, model_.units(of_visible)}; }

    // From the other layer's states.
    void activate(bool of_visible) const { model_.activate({states(!of_visible), {}}, of_visible, activation(of_visible)); }
    void draw(bool of_visible, LayerDraw<T> layer) const {
        layer.activation = activation(of_visible);
        layer.states = states(of_visible);
        draw_layer(model_.state, layer);
    }

private:
    const DeviceModel<T>& model_;
    std::int64_t n_;
    DeviceBuffer<T> activation_;
    DeviceBuffer<Element> visible_, hidden_;
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
