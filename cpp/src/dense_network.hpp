// The layers of an autoencoder at work: forward, the loss, and back.
#pragma once

#include <algorithm>
#include <vector>

#include "aligned.hpp"
#include "harmonium/autoencoder.hpp"
#include "harmonium/contraction.hpp"
#include "harmonium/weight_step.hpp"
#include "input_batch.hpp"
#include "update_kernels.hpp"

namespace harmonium {

// Half of decay times the squared weights, of which decay theta is the gradient, added to it unless it is null.
template <class T>
double weight_decay(Context& context, const AutoencoderModel& model, double decay, const T* theta, T* gradient);

void check_options(const char* who, const AutoencoderOptions& options);

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
        for (const AutoencoderLayer& layer : model.layers) outputs_.emplace_back(capacity * row_stride<T>(layer.outputs));
        loss_.resize(capacity);
        if (!training) return;
        for (std::size_t l = 0; l + 1 < model.layers.size(); ++l) deltas_.emplace_back(capacity * row_stride<T>(model.layers[l].outputs));
        if (training->contraction > 0) {
            for (std::size_t l = 0; l < model.n_encoder; ++l) bends_.emplace_back(capacity * row_stride<T>(model.layers[l].outputs));
            contraction_scratch_.resize(contraction_scratch(contracted(nullptr, nullptr, 0)));
        }
    }

    Matrix<T> output(std::size_t layer, std::int64_t n) {
        return of_layer(outputs_[layer], layer, n);
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

    // The sum over the batch's rows of the loss. Unless gradient is null, the derivative times scale by the last layer's input is
    // then known, and there the penalty's share by the weights (added where accumulate is true).
    double loss(const T* theta, const States<T>& input, const States<T>& target, T scale, Place place, bool accumulate, T* gradient) {
        const std::int64_t n = target.rows();
        forward(theta, input, 0, model_.layers.size(), place);
        double sum = add_up(target, n, gradient != nullptr, scale);
        if (contracts()) {
            if (gradient && !accumulate) clear_encoder(gradient);
            sum += contract(theta, gradient, n, scale);
        }
        return sum;
    }

    // The gradient, after loss: stored (added) whole, or of the biases only and a step taken at once.
    void store_gradient(const T* theta, const InputBatch<T>& batch, Place place, bool accumulate, T* gradient) {
        back(theta, batch, place, accumulate, gradient, [&](const AutoencoderLayer& layer, bool of_encoder, WeightStep<T>& step) {
            step.gradient = {gradient + layer.weights, layer.inputs, layer.outputs};
            step.accumulate = accumulate || (of_encoder && contracts());
        });
    }
    // u and s: what the rule keeps, null where there is none.
    void take_step(const InputBatch<T>& batch, Place place, const Update& update, T* gradient, T* theta, T* u, T* s) {
        const auto at = [](T* of, std::int64_t where) { return of ? of + where : nullptr; };
        back(theta, batch, place, false, gradient, [&](const AutoencoderLayer& layer, bool of_encoder, WeightStep<T>& step) {
            if (of_encoder && contracts()) {
                step.gradient = {gradient + layer.weights, layer.inputs, layer.outputs};
                step.accumulate = true;
            }
            step.weights = {theta + layer.weights, layer.inputs, layer.outputs};
            step.first = at(u, layer.weights);
            step.second = at(s, layer.weights);
            step.update = update;
            step.decay = static_cast<T>(options_->weight_decay);
        });
        for (const AutoencoderLayer& layer : model_.layers) {
            update_kernels<T>().update(update, layer.outputs, gradient + layer.bias, at(u, layer.bias), at(s, layer.bias), theta + layer.bias);
        }
    }

    // The sum of -log p(x | z) after forward; per row in losses().
    double add_up(const States<T>& target, std::int64_t n, bool derivatives, T scale) {
        likelihood_loss<T>(context_, model_.outputs.data(), static_cast<std::int64_t>(model_.outputs.size()), target, derivatives,
                           scale, output(model_.layers.size() - 1, n), loss_.data());
        double sum = 0;
        for (std::int64_t i = 0; i < n; ++i) sum += loss_[i];
        return sum;
    }
    const double* losses() const { return loss_.data(); }

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
            layers[l].delta = of_layer(bends_[l], l, n);
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

    // From the last layer to the first: the gradient by the bias, the derivative by the layer before, and then, where these are
    // all layers that a matrix of weights serves, prepare(layer, whether it is the encoder's, step with its terms) and the step:
    // the weights have just been read, and are not wanted again.
    template <class Prepare>
    void back(const T* theta, const InputBatch<T>& batch, Place place, bool accumulate, T* gradient, const Prepare& prepare) {
        const std::int64_t n = batch.target().rows();
        for (std::size_t l = model_.layers.size(); l-- > 0;) {
            const AutoencoderLayer& layer = model_.layers[l];
            column_sums<T>(context_, delta(l, n), accumulate, gradient + layer.bias);
            if (l > 0) {
                const Matrix<T> lower = delta(l - 1, n);
                dense_backward<T>(context_, delta(l, n), weights(theta, layer), layer.transposed, model_.layers[l - 1].activation,
                                  output(l - 1, n), static_cast<T>(1 - options_->dropout), lower);
                if (drops()) dropout<T>(context_, static_cast<T>(options_->dropout), dropout_draw(place, l - 1), place.first_row, lower);
                if (contracts() && l <= model_.n_encoder) add(of_layer(bends_[l - 1], l - 1, n), lower);
            }
            if (model_.tied && l >= model_.n_encoder) continue;
            GradientTerm<T> terms[2];
            WeightStep<T> step;
            step.terms = terms;
            if (model_.tied) {
                const std::size_t other = model_.layers.size() - 1 - l;
                terms[step.n_terms].a = delta(other, n);
                terms[step.n_terms++].b = output(other - 1, n);
            }
            GradientTerm<T>& own = terms[step.n_terms++];
            if (l > 0) own.a = output(l - 1, n);
            else if (batch.input().is_sparse()) own.a_columns = batch.columns();
            else own.a = batch.input().dense;
            own.b = delta(l, n);
            prepare(layer, l < model_.n_encoder, step);
            weight_step<T>(context_, step);
        }
    }

    // The derivative by a layer's input: of the last layer it takes the output's place.
    Matrix<T> delta(std::size_t layer, std::int64_t n) {
        if (layer + 1 == model_.layers.size()) return output(layer, n);
        return of_layer(deltas_[layer], layer, n);
    }

    Matrix<T> of_layer(AlignedVector<T>& memory, std::size_t layer, std::int64_t n) {
        const std::int64_t outputs = model_.layers[layer].outputs;
        return {memory.data(), n, outputs, row_stride<T>(outputs)};
    }

    void clear_encoder(T* gradient) {
        for (std::size_t l = 0; l < model_.n_encoder; ++l) {
            const AutoencoderLayer& layer = model_.layers[l];
            std::fill_n(gradient + layer.weights, layer.inputs * layer.outputs, T(0));
        }
    }

    static void add(Matrix<const T> from, Matrix<T> to) {
        for (std::int64_t i = 0; i < to.rows; ++i) {
            for (std::int64_t j = 0; j < to.cols; ++j) to.row(i)[j] += from.row(i)[j];
        }
    }

    Context& context_;
    const AutoencoderModel& model_;
    const AutoencoderOptions* options_;
    std::vector<AlignedVector<T>> outputs_, deltas_, bends_;
    AlignedVector<T> contraction_scratch_;
    std::vector<double> loss_;
};

}  // namespace harmonium
