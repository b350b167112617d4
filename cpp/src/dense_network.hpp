// The layers of an autoencoder at work: forward, the loss, and back.
#pragma once

#include <algorithm>
#include <vector>

#include "aligned.hpp"
#include "harmonium/autoencoder.hpp"
#include "harmonium/contraction.hpp"
#include "input_batch.hpp"

namespace harmonium {

// Half of decay times the squared weights, of which decay theta is the gradient, added to it unless it is null.
template <class T>
double weight_decay(Context& context, const AutoencoderModel& model, double decay, const T* theta, T* gradient);

template <class T>
class DenseNetwork {
public:
    // Where a batch stands among all draws of dropout.
    struct Place {
        std::uint64_t step = 0;
        std::uint32_t first_row = 0;
    };

    // Memory for batches of so many rows, with gradients if they are wanted.
    DenseNetwork(Context& context, const AutoencoderModel& model, std::int64_t capacity, const AutoencoderOptions* training)
        : context_(context), model_(model), options_(training) {
        std::int64_t widest = 0;
        for (const AutoencoderLayer& layer : model.layers) {
            outputs_.emplace_back(capacity * layer.outputs);
            widest = std::max(widest, layer.outputs);
        }
        loss_.resize(capacity);
        if (!training) return;
        for (auto& delta : deltas_) delta.resize(capacity * widest);
        if (training->contraction > 0) {
            for (std::size_t l = 0; l < model.n_encoder; ++l) bends_.emplace_back(capacity * model.layers[l].outputs);
            contraction_scratch_.resize(contraction_scratch(contracted(nullptr, nullptr, 0)));
        }
    }

    Matrix<T> output(std::size_t layer, std::int64_t n) {
        return {outputs_[layer].data(), n, model_.layers[layer].outputs};
    }

    // Layers [first, end) on x, the input of the first of them.
    void forward(const T* theta, const States<T>& x, std::size_t first, std::size_t end, Place place = {}) {
        const std::int64_t n = x.rows();
        for (std::size_t l = first; l < end; ++l) {
            const AutoencoderLayer& layer = model_.layers[l];
            const States<T> input = l == first ? x : States<T>(output(l - 1, n));
            dense_forward<T>(context_, input, weights(theta, layer), layer.transposed, theta + layer.bias, layer.activation,
                             output(l, n));
            if (drops() && l + 1 < model_.layers.size()) {
                dropout<T>(context_, static_cast<T>(options_->dropout), dropout_draw(place, l), place.first_row, output(l, n));
            }
        }
    }

    // The sum over the batch's rows of the loss, and scale times its gradient, which is added where accumulate is true.
    double loss_and_gradient(const T* theta, const InputBatch<T>& batch, T scale, Place place, bool accumulate,
                             T* gradient) {
        const std::int64_t n = batch.target().rows();
        const std::size_t last = model_.layers.size() - 1;
        forward(theta, batch.input(), 0, last + 1, place);
        double sum = add_up(batch.target(), n, gradient != nullptr, scale);
        if (gradient) return sum + backward(theta, batch, n, scale, place, accumulate, gradient);
        if (contracts()) sum += contract(theta, nullptr, n, scale);
        return sum;
    }

    // The sum of -log p(x | z) after forward; per row in loss().
    double add_up(const States<T>& target, std::int64_t n, bool derivatives, T scale) {
        likelihood_loss<T>(context_, model_.outputs.data(), static_cast<std::int64_t>(model_.outputs.size()), target, derivatives,
                           scale, output(model_.layers.size() - 1, n), loss_.data());
        double sum = 0;
        for (std::int64_t i = 0; i < n; ++i) sum += loss_[i];
        return sum;
    }
    const double* loss() const { return loss_.data(); }

    static Matrix<const T> weights(const T* theta, const AutoencoderLayer& layer) {
        return layer.transposed ? Matrix<const T>(theta + layer.weights, layer.outputs, layer.inputs)
                                : Matrix<const T>(theta + layer.weights, layer.inputs, layer.outputs);
    }

    // The encoder's layers as contraction takes them, after forward; gradient null: without gradients.
    std::vector<ContractionLayer<T>> contracted(const T* theta, T* gradient, std::int64_t n) {
        std::vector<ContractionLayer<T>> layers(model_.n_encoder);
        for (std::size_t l = 0; l < model_.n_encoder; ++l) {
            const AutoencoderLayer& layer = model_.layers[l];
            layers[l].weights = {theta + (theta ? layer.weights : 0), layer.inputs, layer.outputs};
            layers[l].activation = layer.activation;
            layers[l].output = output(l, n);
            if (!gradient) continue;
            layers[l].gradient = {gradient + layer.weights, layer.inputs, layer.outputs};
            layers[l].delta = {bends_[l].data(), n, layer.outputs};
        }
        return layers;
    }

private:
    bool contracts() const { return options_ && options_->contraction > 0; }
    bool drops() const { return options_ && options_->dropout > 0; }
    Draw dropout_draw(Place place, std::size_t layer) const {
        return {options_->seed, Stream::dropout, place.step * model_.layers.size() + layer};
    }

    double contract(const T* theta, T* gradient, std::int64_t n, T scale) {
        contraction<T>(context_, contracted(theta, gradient, n), static_cast<T>(options_->contraction) * scale, loss_.data(),
                       contraction_scratch_.data());
        double sum = 0;
        for (std::int64_t i = 0; i < n; ++i) sum += loss_[i];
        return options_->contraction * sum;
    }

    // Returns the sum of the contractive penalty.
    double backward(const T* theta, const InputBatch<T>& batch, std::int64_t n, T scale, Place place, bool accumulate,
                    T* gradient) {
        double penalty = 0;
        Matrix<T> delta = output(model_.layers.size() - 1, n);
        for (std::size_t l = model_.layers.size(); l-- > 0;) {
            const AutoencoderLayer& layer = model_.layers[l];
            const bool of_encoder = l < model_.n_encoder;
            if (l + 1 == model_.n_encoder && contracts()) {
                if (!model_.tied && !accumulate) clear_encoder(gradient);
                penalty = contract(theta, gradient, n, scale);
                add(bends_[l], delta);
            }
            // Tied weights have the decoder's share already, and all of the encoder's the penalty's.
            const bool more = accumulate || (of_encoder && (model_.tied || contracts()));
            T* g = gradient + layer.weights;
            const Matrix<T> by_weights = layer.transposed ? Matrix<T>(g, layer.outputs, layer.inputs)
                                                          : Matrix<T>(g, layer.inputs, layer.outputs);
            if (l > 0) dense_gradient<T>(context_, output(l - 1, n), delta, layer.transposed, more, by_weights);
            else if (batch.input().is_sparse()) dense_gradient<T>(context_, batch.columns(), delta, more, by_weights);
            else dense_gradient<T>(context_, batch.input().dense, delta, false, more, by_weights);
            column_sums<T>(context_, delta, accumulate, gradient + layer.bias);
            if (l == 0) break;
            const Matrix<T> lower(deltas_[l % 2].data(), n, layer.inputs);
            const T kept = static_cast<T>(1 - options_->dropout);
            dense_backward<T>(context_, delta, weights(theta, layer), layer.transposed, model_.layers[l - 1].activation,
                              output(l - 1, n), kept, lower);
            if (drops()) dropout<T>(context_, static_cast<T>(options_->dropout), dropout_draw(place, l - 1), place.first_row, lower);
            delta = lower;
            if (contracts() && l - 1 < model_.n_encoder - 1) add(bends_[l - 1], delta);
        }
        return penalty;
    }

    void clear_encoder(T* gradient) {
        for (std::size_t l = 0; l < model_.n_encoder; ++l) {
            const AutoencoderLayer& layer = model_.layers[l];
            std::fill_n(gradient + layer.weights, layer.inputs * layer.outputs, T(0));
        }
    }

    static void add(const AlignedVector<T>& from, Matrix<T> to) {
        for (std::int64_t i = 0; i < to.rows * to.cols; ++i) to.data[i] += from[static_cast<std::size_t>(i)];
    }

    Context& context_;
    const AutoencoderModel& model_;
    const AutoencoderOptions* options_;
    std::vector<AlignedVector<T>> outputs_, bends_;
    AlignedVector<T> deltas_[2], contraction_scratch_;
    std::vector<double> loss_;
};

}  // namespace harmonium
