// The epochs of rbm_train on a GPU. A step is a dozen kernels without a word to the host: it is captured once as a graph and
// replayed, all that changes from step to step being counted on the device. The draws are the CPU's, given the same
// probabilities. Bits go through bfloat16 parts (operand.cuh); data that are numbers through float32 products.
#include <cmath>

#include "device_epochs.hpp"
#include "graph.cuh"
#include "harmonium/error.hpp"
#include "rbm_memory.cuh"

namespace harmonium::cuda {

namespace {

template <class T>
class Epochs : public DeviceEpochs<T> {
    using Element = typename ElementOf<T>::type;

public:
    Epochs(Context& context, const States<T>& x, const RbmOptions& options, const Working<T>& work)
        : context_(context), state_(use(context)), options_(options), rows_(x.rows()), visible_(work.visible), hidden_(work.hidden),
          batch_size_(std::min(options.batch_size, rows_)), binary_(x.bits_only() || options.draw_data), chain_rows_(work.chains.rows),
          most_(batch_size_ + model_rows(batch_size_)), steps_done_(work.steps),
          memory_(state_, options, work, batch_size_, (rows_ + batch_size_ - 1) / batch_size_) {
        allocate();
        split_factor<T>(state_, model_.weights, model_.factor);
        memory_.upload(work.chain_words, chain_words_.data());
        if (pcd()) states_of_bits(state_, chains(), hidden_states(chain_rows_));
        model_.sparse = x.is_sparse();
        model_.draw_data = options.draw_data && !x.bits_only();
        feed_ = std::make_unique<RowFeed<T>>(context, x, batch_size_);  // last: it looks at what memory is left
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
    }
    // What is queued still reads memory of ours.
    ~Epochs() override { CUDA_IGNORE(cudaStreamSynchronize(state_.stream)); }

    double run(const std::vector<std::int64_t>& order, const std::vector<T>& rates, const std::vector<T>& shares, Working<T>& work) override {
        use(context_);
        memory_.begin_epoch(rates, shares);
        std::int64_t queued = 0;
        feed_->over(order.empty() ? nullptr : order.data(), rows_, [&](const RowBlock<T>& block, std::int64_t first) {
            memory_.stand(block, queued, steps_done_ + static_cast<std::uint64_t>(queued));
            for (std::int64_t row = 0; row < block.rows; row += batch_size_) {
                context_.poll(static_cast<double>(first + row) / static_cast<double>(rows_));
                step(std::min(batch_size_, block.rows - row));
                ++queued;
            }
        });
        steps_done_ += static_cast<std::uint64_t>(queued);
        if (pcd()) bits_of_states(state_, hidden_states(chain_rows_), chains());
        copy_numbers<std::uint64_t>(state_, chain_words_.data(), static_cast<std::int64_t>(work.chain_words.size()), work.chain_words.data());
        return memory_.take(work);
    }

private:
    std::int64_t model_rows(std::int64_t n) const { return options_.method == Method::pcd ? chain_rows_ : n; }
    bool pcd() const { return options_.method == Method::pcd; }

    // A step of n rows, the epoch's last of fewer.
    void step(std::int64_t n) {
        const auto queue = [&] { queue_step(view(n)); };
        if (n < batch_size_) replay_.once(state_.stream, queue);
        else replay_.queue(state_.stream, queue);
    }

    StepDraw draw(Stream stream, std::int64_t k) const { return memory_.draw(options_, stream, k); }

    void queue_step(const StepView<T>& s) {
        gather_rows(state_, s);
        LayerDraw<T> data;
        data.activation = product(s, true);
        data.bias = s.hidden_bias;
        data.draw = draw(Stream::hidden, 0);
        if (!pcd()) data.states = hidden_states(s.n);  // where the model starts from
        data.probability_scale = T(1) / static_cast<T>(s.n);
        if (binary_) data.probability_parts = s.probability.rows_from(0, s.n);
        else data.probability = s.dense_probability;
        draw_layer(state_, data);

        const Parts<T> v = s.states.rows_from(s.n, s.m), h = hidden_states(s.m);
        for (std::int64_t k = 1; k <= options_.n_gibbs_steps; ++k) {
            LayerDraw<T> layer;
            if (k > 1) {
                layer.activation = product(s, false);
                layer.bias = s.hidden_bias;
                layer.draw = draw(Stream::hidden, k - 1);
                layer.states = h;
                draw_layer(state_, layer);
            }
            const Matrix<T> activation(activation_.data(), s.m, visible_);
            multiply_states(state_, h, s.factor, true, T(0), activation);
            layer.activation = activation;
            layer.bias = s.visible_bias;
            layer.draw = draw(Stream::visible, k);
            layer.states = v;
            draw_layer(state_, layer);
        }
        LayerDraw<T> model;
        model.activation = product(s, false);
        model.bias = s.hidden_bias;
        model.draw = draw(Stream::hidden, options_.n_gibbs_steps);
        if (pcd()) model.states = h;
        else if (s.n == chain_rows_) model.bits = chains();  // the last whole batch's stay
        model.probability_parts = s.probability.rows_from(s.n, s.m);
        model.probability_scale = T(-1) / static_cast<T>(s.m);
        draw_layer(state_, model);

        layer_means(state_, s);
        if (binary_) {
            multiply_gradient(state_, s.states, s.probability, T(0), s.gradient);
        } else {
            multiply_gradient(state_, v, s.probability.rows_from(s.n, s.m), T(0), s.gradient);
            multiply(state_, ElementOf<T>::numbers, visible_, hidden_, s.n, 1, {s.dense.data, visible_, true}, {s.dense_probability.data, hidden_, false}, 1,
                     s.gradient.data, hidden_);
        }
        update_weights(state_, s);
        update_biases(state_, s);
    }

    // Activations of the hidden units, given the data or the model's states.
    Matrix<T> product(const StepView<T>& s, bool of_data) {
        const Matrix<T> out(activation_.data(), of_data ? s.n : s.m, hidden_);
        if (of_data && !binary_) {
            multiply(state_, ElementOf<T>::numbers, s.n, hidden_, visible_, 1, {s.dense.data, visible_, false}, {s.weights.data, hidden_, false}, 0, out.data, hidden_);
        } else {
            multiply_states(state_, of_data ? s.states.rows_from(0, s.n) : s.states.rows_from(s.n, s.m), s.factor, false, T(0), out);
        }
        return out;
    }

    Parts<T> hidden_states(std::int64_t n) const { return {hidden_states_.data(), n, hidden_}; }
    BitMatrix chains() const { return {chain_words_.data(), chain_rows_, hidden_}; }

    StepView<T> view(std::int64_t n) {
        StepView<T> s = model_;
        s.n = n;
        s.m = model_rows(n);
        s.data_draw = draw(Stream::data, 0);
        s.states = {states_.data(), s.n + s.m, visible_};
        s.probability = {probability_.data(), s.n + s.m, hidden_};
        if (!binary_) {
            s.dense = {dense_.data(), n, visible_};
            s.dense_probability = {dense_probability_.data(), n, hidden_};
        }
        return s;
    }

    void allocate() {
        StepView<T>& s = model_;
        s = memory_.view;
        const std::int64_t units = std::max(visible_, hidden_);
        activation_ = DeviceBuffer<T>(static_cast<std::size_t>(std::max(batch_size_, model_rows(batch_size_)) * units));
        states_ = zeroed<Element>(state_, Parts<T>::size(most_, visible_));
        probability_ = zeroed<Element>(state_, Parts<T>::size(most_, hidden_));
        hidden_states_ = zeroed<Element>(state_, Parts<T>::size(model_rows(batch_size_), hidden_));
        beside_ = zeroed<Element>(state_, Parts<T>::size(visible_, hidden_));
        stacked_ = zeroed<Element>(state_, FactorParts<T>::stacked_size(visible_, hidden_));
        s.factor = {stacked_.data(), {beside_.data(), visible_, hidden_}};
        if (!binary_) {
            dense_ = DeviceBuffer<T>(static_cast<std::size_t>(batch_size_ * visible_));
            dense_probability_ = DeviceBuffer<T>(static_cast<std::size_t>(batch_size_ * hidden_));
        }
        chain_words_ = DeviceBuffer<std::uint64_t>(static_cast<std::size_t>(chain_rows_ * BitMatrix::words_for(hidden_)));
    }

    Context& context_;
    State& state_;
    const RbmOptions& options_;
    std::int64_t rows_, visible_, hidden_, batch_size_;
    bool binary_;
    std::int64_t chain_rows_, most_;
    std::uint64_t steps_done_;
    TrainingMemory<T> memory_;
    StepView<T> model_;
    DeviceBuffer<T> activation_, dense_, dense_probability_;
    DeviceBuffer<Element> states_, probability_, hidden_states_, beside_, stacked_;
    DeviceBuffer<std::uint64_t> chain_words_;
    std::unique_ptr<RowFeed<T>> feed_;
    Replay replay_;
};

}  // namespace

template <class T>
std::unique_ptr<DeviceEpochs<T>> open_rbm_epochs(Context& context, const States<T>& x, const RbmOptions& options, const Working<T>& work) {
    return std::make_unique<Epochs<T>>(context, x, options, work);
}
template std::unique_ptr<DeviceEpochs<float>> open_rbm_epochs(Context&, const States<float>&, const RbmOptions&, const Working<float>&);
template std::unique_ptr<DeviceEpochs<double>> open_rbm_epochs(Context&, const States<double>&, const RbmOptions&, const Working<double>&);

}  // namespace harmonium::cuda
