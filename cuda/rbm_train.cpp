// The epochs of rbm_train on a GPU. A step is a dozen kernels without a word to the host: it is captured once as a graph and
// replayed, all that changes from step to step being counted on the device. The draws are the CPU's, given the same
// probabilities. Bits go through bfloat16 parts (operand.cuh); data that are numbers through float32 products.
#include <cmath>

#include "copy.cuh"
#include "device_epochs.hpp"
#include "graph.cuh"
#include "harmonium/error.hpp"
#include "rbm_step.cuh"

namespace harmonium::cuda {

namespace {

template <class T>
class Epochs : public DeviceEpochs<T> {
    using Element = typename ElementOf<T>::type;

public:
    Epochs(Context& context, const States<T>& x, const RbmOptions& options, const Working<T>& work)
        : context_(context), state_(use(context)), options_(options), rows_(x.rows()), visible_(work.visible), hidden_(work.hidden),
          batch_size_(std::min(options.batch_size, rows_)), binary_(x.bits_only() || options.draw_data),
          chain_rows_(work.chains.rows), most_(batch_size_ + model_rows(batch_size_)), steps_((rows_ + batch_size_ - 1) / batch_size_) {
        allocate();
        give(work);
        model_.sparse = x.is_sparse();
        model_.draw_data = options.draw_data && !x.bits_only();
        feed_ = std::make_unique<RowFeed<T>>(context, x, batch_size_);  // last: it looks at what memory is left
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
    }
    // What is queued still reads memory of ours.
    ~Epochs() override { CUDA_IGNORE(cudaStreamSynchronize(state_.stream)); }

    double run(const std::vector<std::int64_t>& order, const std::vector<T>& rates, const std::vector<T>& shares, Working<T>& work) override {
        use(context_);
        upload(rates, rates_.data());
        if (!shares.empty()) upload(shares, shares_.data());
        CUDA_CHECK(cudaMemsetAsync(activity_.data(), 0, sizeof(double), state_.stream));
        std::int64_t queued = 0;
        feed_->over(order.empty() ? nullptr : order.data(), rows_, [&](const RowBlock<T>& block, std::int64_t first) {
            set_place(state_, place_.data(), Place<T>{block, 0, queued, steps_done_ + static_cast<std::uint64_t>(queued)});
            for (std::int64_t row = 0; row < block.rows; row += batch_size_) {
                context_.poll(static_cast<double>(first + row) / static_cast<double>(rows_));
                step(std::min(batch_size_, block.rows - row));
                ++queued;
            }
        });
        steps_done_ += static_cast<std::uint64_t>(queued);
        return take(work);
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

    StepDraw draw(Stream stream, std::int64_t k) const {
        return {options_.seed, stream, &place_.data()->step, static_cast<std::uint64_t>(options_.n_gibbs_steps) + 1, static_cast<std::uint64_t>(k)};
    }

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

    T* numbers_of(std::int64_t count) {
        memory_.push_back(DeviceBuffer<T>(static_cast<std::size_t>(count)));
        return memory_.back().data();
    }
    void allocate() {
        const std::int64_t size = visible_ * hidden_;
        StepView<T>& s = model_;
        s.visible = visible_, s.hidden = hidden_;
        s.centred = options_.centering;
        s.momentum = static_cast<T>(options_.momentum), s.weight_decay = static_cast<T>(options_.weight_decay);
        s.offset_rate = static_cast<T>(options_.offset_rate);
        s.weights = {numbers_of(size), visible_, hidden_};
        if (options_.momentum != 0) {
            s.weight_velocity = {numbers_of(size), visible_, hidden_};
            s.visible_velocity = numbers_of(visible_), s.hidden_velocity = numbers_of(hidden_);
        }
        rates_ = DeviceBuffer<T>(static_cast<std::size_t>(steps_));
        s.rates = rates_.data();
        if (options_.averaging > 0) {
            s.mean_weights = {numbers_of(size), visible_, hidden_};
            s.mean_visible_bias = numbers_of(visible_), s.mean_hidden_bias = numbers_of(hidden_);
            shares_ = DeviceBuffer<T>(static_cast<std::size_t>(steps_));
            s.shares = shares_.data();
        }
        for (T** vector : {&s.visible_bias, &s.visible_offset, &s.visible_difference}) *vector = numbers_of(visible_);
        for (T** vector : {&s.hidden_bias, &s.hidden_offset, &s.hidden_difference, &s.hidden_mean}) *vector = numbers_of(hidden_);
        s.gradient = {numbers_of(size), visible_, hidden_};
        const std::int64_t along = (hidden_ + update_tile - 1) / update_tile, down = (visible_ + update_tile - 1) / update_tile;
        tiles_ = DeviceBuffer<double>(static_cast<std::size_t>(along * visible_ + down * hidden_));
        s.row_parts = {tiles_.data(), along, visible_};
        s.col_parts = {tiles_.data() + along * visible_, down, hidden_};
        place_ = DeviceBuffer<Place<T>>(1);
        s.place = place_.data();
        activity_ = DeviceBuffer<double>(1);
        s.activity = activity_.data();
        s.batch_size = batch_size_;
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

    template <class U>
    void upload(const std::vector<U>& from, U* to) {
        copy_numbers<U>(state_, from.data(), static_cast<std::int64_t>(from.size()), to);
    }
    // Calls back with what the device keeps beside matrices, and the host's of the same.
    template <class Work, class Function>
    void each_vector(Work& w, const Function& function) {
        const StepView<T>& s = model_;
        function(w.visible_bias, s.visible_bias, visible_), function(w.hidden_bias, s.hidden_bias, hidden_);
        function(w.visible_offset, s.visible_offset, visible_), function(w.hidden_offset, s.hidden_offset, hidden_);
        if (s.visible_velocity) function(w.visible_velocity, s.visible_velocity, visible_), function(w.hidden_velocity, s.hidden_velocity, hidden_);
        if (s.shares) function(w.mean_visible_bias, s.mean_visible_bias, visible_), function(w.mean_hidden_bias, s.mean_hidden_bias, hidden_);
    }
    template <class Work, class Function>
    void each_matrix(Work& w, const Function& function) {
        const StepView<T>& s = model_;
        function(w.weights, s.weights);
        if (s.weight_velocity) function(w.weight_velocity, s.weight_velocity);
        if (s.mean_weights) function(w.mean_weights, s.mean_weights);
    }

    void give(const Working<T>& work) {
        std::vector<T> rows(static_cast<std::size_t>(visible_ * hidden_));
        each_matrix(work, [&](const Panels<T>& from, const Matrix<T>& to) {
            from_panels<T>(from, Matrix<T>(rows.data(), visible_, hidden_));
            upload(rows, to.data);
        });
        each_vector(work, [&](const T* from, T* to, std::int64_t count) { copy_numbers<T>(state_, from, count, to); });
        split_factor<T>(state_, model_.weights, model_.factor);
        upload(work.chain_words, chain_words_.data());
        if (pcd()) states_of_bits(state_, chains(), hidden_states(chain_rows_));
        if (work.mirrored_or_null()) {
            mirrored_ = DeviceBuffer<std::uint64_t>(work.mirrored.size());
            upload(work.mirrored, mirrored_.data());
            model_.mirrored = mirrored_.data();
        }
        steps_done_ = work.steps;
    }

    // Into the host's copy, all at once after the epoch's last kernel. Returns the epoch's activity.
    double take(Working<T>& work) {
        double activity = 0;
        std::vector<T> rows(static_cast<std::size_t>(visible_ * hidden_));
        if (pcd()) bits_of_states(state_, hidden_states(chain_rows_), chains());
        each_matrix(work, [&](const Panels<T>& to, const Matrix<T>& from) {
            copy_numbers<T>(state_, from.data, visible_ * hidden_, rows.data());
            CUDA_CHECK(cudaStreamSynchronize(state_.stream));
            to_panels<T>(Matrix<const T>(rows.data(), visible_, hidden_), to);
        });
        each_vector(work, [&](T* to, const T* from, std::int64_t count) { copy_numbers<T>(state_, from, count, to); });
        copy_numbers<std::uint64_t>(state_, chain_words_.data(), static_cast<std::int64_t>(work.chain_words.size()), work.chain_words.data());
        copy_numbers<double>(state_, activity_.data(), 1, &activity);
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
        return activity;
    }

    Context& context_;
    State& state_;
    const RbmOptions& options_;
    std::int64_t rows_, visible_, hidden_, batch_size_;
    bool binary_;
    std::int64_t chain_rows_, most_, steps_;
    std::uint64_t steps_done_ = 0;
    StepView<T> model_;
    std::vector<DeviceBuffer<T>> memory_;
    DeviceBuffer<T> rates_, shares_, activation_, dense_, dense_probability_;
    DeviceBuffer<double> tiles_, activity_;
    DeviceBuffer<Element> states_, probability_, hidden_states_, beside_, stacked_;
    DeviceBuffer<std::uint64_t> chain_words_, mirrored_;
    DeviceBuffer<Place<T>> place_;
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
