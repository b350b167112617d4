// The layers of an autoencoder at work on the device: forward, the loss, back, and the step. As dense_network.hpp, whose passes
// over caches are the CPU's own.
#pragma once

#include <memory>
#include <vector>

#include "contraction.cuh"
#include "corrupt.cuh"
#include "dense.cuh"
#include "gemm.cuh"
#include "harmonium/autoencoder.hpp"
#include "harmonium/error.hpp"
#include "likelihood_loss.cuh"
#include "row_feed.cuh"
#include "state.cuh"
#include "step_draw.cuh"
#include "update.cuh"

namespace harmonium::cuda {

// Where parameters stand on the device: as in theta, but rows of weights, and matrices and biases, begin at places that
// cuBLASLt's fastest kernels take.
class ParameterLayout {
public:
    struct Layer {
        std::int64_t weights, rows, cols, stride, bias, outputs;
    };

    ParameterLayout(const AutoencoderModel& model) : model_(model) {
        const auto up = [](std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; };
        for (const AutoencoderLayer& layer : model.layers) {
            Layer at{};
            if (layer.transposed) {
                at = layers_[model.layers.size() - 1 - layers_.size()];
            } else {
                at.weights = size_, at.rows = layer.inputs, at.cols = layer.outputs, at.stride = up(layer.outputs, 4);
                size_ += up(at.rows * at.stride, 64);
            }
            at.bias = size_, at.outputs = layer.outputs;
            size_ += up(layer.outputs, 64);
            layers_.push_back(at);
        }
    }

    std::int64_t size() const { return size_; }
    const Layer& operator[](std::size_t layer) const { return layers_[layer]; }

    template <class T>
    Matrix<T> weights(T* parameters, std::size_t layer) const {
        const Layer& at = layers_[layer];
        return {parameters + at.weights, at.rows, at.cols, at.stride};
    }

    // One way or the other between the device and `packed`, laid out as theta, of either's memory.
    template <class T>
    void copy(State& state, bool to_device, T* parameters, T* packed) const {
        for (std::size_t l = 0; l < layers_.size(); ++l) {
            const Layer& at = layers_[l];
            if (!model_.layers[l].transposed) {
                move(state, to_device, parameters + at.weights, at.stride, packed + model_.layers[l].weights, at.rows, at.cols);
            }
            move(state, to_device, parameters + at.bias, at.outputs, packed + model_.layers[l].bias, 1, at.outputs);
        }
    }

private:
    template <class T>
    static void move(State& state, bool to_device, T* there, std::int64_t stride, T* packed, std::int64_t rows, std::int64_t cols) {
        const std::size_t pitch = static_cast<std::size_t>(stride) * sizeof(T), width = static_cast<std::size_t>(cols) * sizeof(T);
        CUDA_CHECK(cudaMemcpy2DAsync(to_device ? there : packed, to_device ? pitch : width, to_device ? packed : there, to_device ? width : pitch,
                                     width, static_cast<std::size_t>(rows), cudaMemcpyDefault, state.stream));
    }

    const AutoencoderModel& model_;
    std::vector<Layer> layers_;
    std::int64_t size_ = 0;
};

// Numbers for every parameter, zero at first and zero in the gaps.
template <class T>
class Parameters {
public:
    Parameters() = default;
    Parameters(State& state, const ParameterLayout& layout) : memory_(static_cast<std::size_t>(layout.size())) {
        CUDA_CHECK(cudaMemsetAsync(memory_.data(), 0, memory_.size() * sizeof(T), state.stream));
    }
    T* data() const { return memory_.data(); }

private:
    DeviceBuffer<T> memory_;
};

// Where a batch stands among all draws of dropout: rows from first_row on of the step in *steps, or of step 0.
struct NetworkDraws {
    const std::uint64_t* steps = nullptr;
    std::uint32_t first_row = 0;
};

template <class T>
class Network {
public:
    // Memory for batches of so many rows, with gradients if they are wanted.
    Network(Context& context, const AutoencoderModel& model, const ParameterLayout& layout, std::int64_t capacity, const AutoencoderOptions* training)
        : context_(context), state_(use(context)), model_(model), layout_(layout), options_(training), capacity_(capacity) {
        const auto room = [&](std::int64_t cols) { return DeviceBuffer<T>(static_cast<std::size_t>(capacity * stride(cols))); };
        for (const AutoencoderLayer& layer : model.layers) outputs_.push_back(room(layer.outputs));
        loss_ = DeviceBuffer<double>(static_cast<std::size_t>(capacity));
        if (!training) return;
        for (std::size_t l = 0; l + 1 < model.layers.size(); ++l) deltas_.push_back(room(model.layers[l].outputs));
        std::int64_t largest = 0;
        for (std::size_t l = 0; l < matrices(); ++l) largest = std::max(largest, layout[l].rows * layout[l].stride);
        step_gradient_ = DeviceBuffer<T>(static_cast<std::size_t>(largest));
        if (!contracts()) return;
        for (std::size_t l = 0; l < model.n_encoder; ++l) bends_.push_back(room(model.layers[l].outputs));
        penalty_ = DeviceBuffer<double>(static_cast<std::size_t>(capacity));
    }

    static std::int64_t stride(std::int64_t cols) { return (cols + 3) / 4 * 4; }
    Matrix<T> output(std::size_t layer, std::int64_t n) { return view(outputs_[layer], n, model_.layers[layer].outputs); }
    const double* loss() const { return loss_.data(); }
    const double* penalty() const { return penalty_.data(); }

    // Layers [first, end) on x, the input of the first of them.
    void forward(const T* theta, Matrix<const T> x, std::size_t first, std::size_t end, NetworkDraws draws = {}) {
        for (std::size_t l = first; l < end; ++l) {
            const Matrix<const T> input = l == first ? x : Matrix<const T>(output(l - 1, x.rows));
            cuda::gemm<T>(context_, T(1), input, false, weights(theta, l), model_.layers[l].transposed, T(0), output(l, x.rows));
            const bool drop = drops() && l + 1 < model_.layers.size();
            finish_forward<T>(context_, model_.layers[l].activation, theta + layout_[l].bias, drop ? rate() : T(0), draw(draws, l), draws.first_row,
                              output(l, x.rows));
        }
    }

    // After forward: loss() holds -log p(x | z) of every row.
    void losses(Matrix<const T> target, bool derivatives, T scale) {
        cuda::likelihood_loss<T>(context_, model_.outputs.data(), static_cast<std::int64_t>(model_.outputs.size()), States<T>(target), derivatives, scale,
                           output(model_.layers.size() - 1, target.rows), loss_.data());
    }

    // Then, where contraction is wanted: penalty() of every row; its share of the gradient is added to the encoder's weights'.
    void contract(const T* theta, T* gradient, std::int64_t n, T scale) {
        jacobian_norms(theta, gradient, n, static_cast<T>(options_->contraction) * scale, penalty_.data());
    }
    // norm(dh / dx)^2 of every row, after forward. Its memory is taken with the first call.
    void jacobian_norms(const T* theta, T* gradient, std::int64_t n, T scale, double* norms) {
        std::vector<ContractionLayer<T>> layers;
        for (std::size_t l = 0; l < model_.n_encoder; ++l) {
            layers.push_back({weights(theta, l), model_.layers[l].activation, output(l, n), {}, {}});
            if (gradient) layers[l].gradient = layout_.weights(gradient, l), layers[l].delta = view(bends_[l], n, model_.layers[l].outputs);
        }
        // As many rows at once as make products wide enough for a GPU.
        const std::int64_t rows = std::min(capacity_, std::max<std::int64_t>(4096 / model_.code(), 1));
        scratch_.reserve(static_cast<std::size_t>(contraction_room(layers, rows)));
        cuda::contraction<T>(context_, layers, scale, norms, scratch_.data(), rows);
    }
    bool contracts() const { return options_ && options_->contraction > 0; }

    // The derivatives by all layers' inputs, once losses has given the last one's.
    void backward(const T* theta, std::int64_t n, NetworkDraws draws = {}) {
        for (std::size_t l = model_.layers.size(); l-- > 1;) {
            const Matrix<const T> more = contracts() && l <= model_.n_encoder ? view(bends_[l - 1], n, model_.layers[l - 1].outputs) : Matrix<T>();
            cuda::gemm<T>(context_, T(1), delta(l, n), false, weights(theta, l), !model_.layers[l].transposed, T(0), delta(l - 1, n));
            finish_backward<T>(context_, model_.layers[l - 1].activation, output(l - 1, n), static_cast<T>(1 - options_->dropout),
                               drops() ? rate() : T(0), draw(draws, l - 1), draws.first_row, more, delta(l - 1, n));
        }
    }

    // The gradient by all parameters, stored (added); that of the encoder's weights is added to what contract has left there.
    void store_gradient(Matrix<const T> input, bool accumulate, T* gradient) {
        for (std::size_t l = 0; l < model_.layers.size(); ++l) cuda::column_sums<T>(context_, delta(l, input.rows), accumulate, gradient + layout_[l].bias);
        over_weights(input, [&](std::size_t l, WeightStep<T>& step) {
            step.gradient = layout_.weights(gradient, l);
            step.accumulate = accumulate || (l < model_.n_encoder && contracts());
            cuda::weight_step<T>(context_, step);
        });
    }

    // The step down the gradient. u and s: what the rule keeps, null where there is none. gradient: as contract has left it.
    void take_step(Matrix<const T> input, const Update& update, const Paces& paces, T* gradient, T* theta, T* u, T* s) {
        const auto at = [](T* of, std::int64_t place) { return of ? of + place : nullptr; };
        for (std::size_t l = 0; l < model_.layers.size(); ++l) {
            const std::int64_t bias = layout_[l].bias;
            cuda::bias_step<T>(context_, delta(l, input.rows), update, paces, at(u, bias), at(s, bias), theta + bias);
        }
        over_weights(input, [&](std::size_t l, WeightStep<T>& step) {
            const ParameterLayout::Layer& place = layout_[l];
            step.accumulate = l < model_.n_encoder && contracts();
            // Memory of its own, not the context's scratch: a captured graph must find it where it was.
            step.gradient = step.accumulate ? layout_.weights(gradient, l) : Matrix<T>(step_gradient_.data(), place.rows, place.cols, place.stride);
            step.weights = layout_.weights(theta, l);
            step.first = at(u, place.weights);
            step.second = at(s, place.weights);
            step.update = update;
            step.decay = static_cast<T>(options_->weight_decay);
            cuda::weight_step<T>(context_, step, paces);
        });
    }

    // Squared weights, added up in *out on the device.
    void squared_weights(const T* theta, double* out) {
        for (std::size_t l = 0; l < matrices(); ++l) sum_of_squares<T>(context_, layout_.weights(theta, l), l > 0, out);
    }
    std::size_t matrices() const { return model_.tied ? model_.n_encoder : model_.layers.size(); }

private:
    static Matrix<T> view(const DeviceBuffer<T>& of, std::int64_t n, std::int64_t cols) { return {of.data(), n, cols, stride(cols)}; }
    Matrix<const T> weights(const T* theta, std::size_t layer) const { return layout_.weights(theta, layer); }
    bool drops() const { return options_ && options_->dropout > 0; }
    T rate() const { return static_cast<T>(options_->dropout); }
    StepDraw draw(NetworkDraws draws, std::size_t layer) const {
        if (!drops()) return Draw();
        if (!draws.steps) return Draw(options_->seed, Stream::dropout, layer);
        return {options_->seed, Stream::dropout, draws.steps, model_.layers.size(), layer};
    }
    // Of the last layer it takes the output's place.
    Matrix<T> delta(std::size_t layer, std::int64_t n) {
        return layer + 1 == model_.layers.size() ? output(layer, n) : view(deltas_[layer], n, model_.layers[layer].outputs);
    }

    // Calls step(layer, step with its terms) for every matrix of weights.
    template <class Step>
    void over_weights(Matrix<const T> input, const Step& take) {
        const std::int64_t n = input.rows;
        for (std::size_t l = 0; l < matrices(); ++l) {
            GradientTerm<T> terms[2];
            WeightStep<T> step;
            step.terms = terms;
            if (model_.tied) {
                const std::size_t other = model_.layers.size() - 1 - l;
                terms[step.n_terms].a = delta(other, n);
                terms[step.n_terms++].b = output(other - 1, n);
            }
            terms[step.n_terms].a = l > 0 ? Matrix<const T>(output(l - 1, n)) : input;
            terms[step.n_terms++].b = delta(l, n);
            take(l, step);
        }
    }

    Context& context_;
    State& state_;
    const AutoencoderModel& model_;
    const ParameterLayout& layout_;
    const AutoencoderOptions* options_;
    std::int64_t capacity_;
    std::vector<DeviceBuffer<T>> outputs_, deltas_, bends_;
    DeviceBuffer<T> scratch_, step_gradient_;
    DeviceBuffer<double> loss_, penalty_;
};

// A batch as training sees it: what is to be reconstructed, and what the encoder is given.
template <class T>
class Batch {
public:
    Batch(Context& context, const AutoencoderModel& model, std::int64_t cols, std::int64_t capacity, const AutoencoderOptions* training)
        : context_(context), state_(use(context)), model_(model), options_(training), cols_(cols),
          target_(static_cast<std::size_t>(capacity * Network<T>::stride(cols_))), place_(1) {
        if (!corrupts()) return;
        input_ = DeviceBuffer<T>(target_.size());
        if (training->corruption != Corruption::salt_and_pepper) return;
        std::vector<T> limits(training->low, training->low + cols_);
        limits.insert(limits.end(), training->high, training->high + cols_);
        limits_ = DeviceBuffer<T>(limits.size());
        CUDA_CHECK(cudaMemcpyAsync(limits_.data(), limits.data(), limits.size() * sizeof(T), cudaMemcpyHostToDevice, state_.stream));
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
    }

    Place<T>* place() const { return place_.data(); }
    Matrix<T> target(std::int64_t n) const { return {target_.data(), n, cols_, Network<T>::stride(cols_)}; }
    Matrix<T> input(std::int64_t n) const { return corrupts() ? Matrix<T>(input_.data(), n, cols_, Network<T>::stride(cols_)) : target(n); }

    // The batch at place(), of n of batch_size rows, which draw as rows first_row, ... of that place's step.
    void gather(std::int64_t batch_size, std::int64_t n, std::uint32_t first_row = 0) {
        cuda::gather<T>(state_, place(), batch_size, target(n), corrupts() ? input(n) : Matrix<T>());
        if (!corrupts()) return;
        cuda::corrupt<T>(context_, options_->corruption, static_cast<T>(options_->corruption_level),
                   StepDraw(options_->seed, Stream::corruption, &place()->step), first_row, limits_.data(), limits_.data() + (limits_.size() ? cols_ : 0),
                   model_.outputs.data(), static_cast<std::int64_t>(model_.outputs.size()), input(n));
    }

private:
    bool corrupts() const { return options_ && options_->corruption != Corruption::none; }

    Context& context_;
    State& state_;
    const AutoencoderModel& model_;
    const AutoencoderOptions* options_;
    std::int64_t cols_;
    DeviceBuffer<T> target_, input_, limits_;
    DeviceBuffer<Place<T>> place_;
};

}  // namespace harmonium::cuda
