// The epochs of rbm_train of unit_rbm.hpp on a GPU: the loop of rbm_train.cpp with states that are numbers, products in float32 or
// double, and what each row counts. The draws are the CPU's, given the same means.
#include "gemm.cuh"
#include "graph.cuh"
#include "harmonium/error.hpp"
#include "rbm_memory.cuh"
#include "unit_chains.cuh"
#include "unit_device_epochs.hpp"
#include "unit_exact.cuh"
#include "unit_states.hpp"

namespace harmonium::cuda {

namespace {

template <class T>
class UnitEpochs : public UnitDeviceEpochs<T> {
public:
    UnitEpochs(Context& context, const UnitTrainingData<T>& x, const UnitRbmOptions& options, const UnitRbmState<T>& state, const Working<T>& work,
               const UnitBeside<T>& beside)
        : context_(context), state_(use(context)), options_(options), rows_(x.states.rows()), visible_(work.visible), hidden_(work.hidden),
          batch_size_(std::min(options.batch_size, rows_)), steps_((rows_ + batch_size_ - 1) / batch_size_), kept_rows_(state.unit_chains.rows),
          temperatures_(options.exact ? 1 : options.n_temperatures),
          chains_(options.exact || options.method == Method::cd ? 0 : kept_rows_ / temperatures_), steps_done_(work.steps),
          visible_layer_(state_, state.visible), hidden_layer_(state_, state.hidden), memory_(state_, options, work, batch_size_, steps_) {
        bool gaussian = false;
        for (const UnitGroup& group : state.visible.groups) gaussian |= group.type == UnitType::gaussian;
        proper_ = gaussian && !state.hidden.only(UnitType::bernoulli);
        draw_data_ = options.draw_data && !x.states.bits_only();
        if (options.exact) {
            const Enumeration all(state.visible, state.hidden);
            exact_ = std::make_unique<ExactPhase<T>>(context, all.hidden, all.states, visible_layer_.view(), hidden_layer_.view(), batch_size_,
                                                     kept_rows_);
        }
        allocate(x, state, beside);
        memory_.upload(beside.chains, kept_.data());
        if (chains_ > 0) copy_numbers<T>(state_, kept_.data(), temperatures_ * chains_ * hidden_, hidden_states_.data());
        const States<T> rows = x.observed ? States<T>(ConstBitMatrix(filled())) : x.states;
        feed_ = std::make_unique<RowFeed<T>>(context, rows, batch_size_);  // last: it looks at what memory is left
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
    }
    // What is queued still reads memory of ours.
    ~UnitEpochs() override { CUDA_IGNORE(cudaStreamSynchronize(state_.stream)); }

    double run(const UnitEpochPlan<T>& plan, Working<T>& work, UnitBeside<T>& beside) override {
        use(context_);
        memory_.begin_epoch(plan.rates, plan.shares);
        const auto upload = [&](const std::vector<T>& from, const DeviceBuffer<T>& to) { memory_.upload(from, to.data()); };
        upload(plan.weights, weights_), upload(plan.words, words_), upload(plan.masses, masses_);
        upload(plan.model_factors, model_factors_), upload(plan.sizes, sizes_);
        row_share_ = plan.row_share;
        if (fast_.size()) CUDA_CHECK(cudaMemsetAsync(fast_.data(), 0, fast_.size() * sizeof(T), state_.stream));
        if (tempered()) CUDA_CHECK(cudaMemsetAsync(tempering_.accepted, 0, beside.swaps.size() * sizeof(double), state_.stream));
        std::int64_t queued = 0;
        feed_->over(plan.order, rows_, [&](const RowBlock<T>& block, std::int64_t first) {
            memory_.stand(block, queued, steps_done_ + static_cast<std::uint64_t>(queued));
            for (std::int64_t row = 0; row < block.rows; row += batch_size_) {
                context_.poll(static_cast<double>(first + row) / static_cast<double>(rows_));
                const std::int64_t n = std::min(batch_size_, block.rows - row), after = rows_ - first - row - n;
                step(n);
                // Contrastive divergence leaves the states of the last batch of as many rows as there are chains.
                if (from_data() && n == kept_rows_ && after < kept_rows_) copy_numbers<T>(state_, hidden_states_.data(), n * hidden_, kept_.data());
                ++queued;
            }
        });
        steps_done_ += static_cast<std::uint64_t>(queued);
        if (exact_ && kept_rows_ > 0) {
            const Draw draw(options_.seed, Stream::start, work.epochs + 1);
            exact_->draw_chains(view(batch_size_), draw, bags_ ? sizes_.data() : nullptr, {kept_.data(), kept_rows_, hidden_});
        }
        const std::int64_t living = chains_ > 0 ? temperatures_ * chains_ : kept_rows_;
        copy_numbers<T>(state_, chains_ > 0 ? hidden_states_.data() : kept_.data(), living * hidden_, beside.chains.data());
        copy_numbers<T>(state_, scale_.data(), scale_.size() ? visible_ : 0, beside.scale->data());
        copy_numbers<std::uint64_t>(state_, filled_.data(), static_cast<std::int64_t>(filled_.size()), beside.filled->data());
        if (tempered()) copy_numbers<double>(state_, tempering_.accepted, temperatures_ - 1, beside.swaps.data());
        const double activity = memory_.take(work);
        for (double& swaps : beside.swaps) swaps /= static_cast<double>(std::max<std::int64_t>(steps_ * options_.n_gibbs_steps * chains_, 1));
        return activity;
    }

private:
    std::int64_t model_rows(std::int64_t n) const { return exact_ ? exact_->states : chains_ > 0 ? chains_ : n; }
    bool from_data() const { return !exact_ && chains_ == 0; }  // contrastive divergence

    // A step of n rows, the epoch's last of fewer.
    void step(std::int64_t n) {
        const auto queue = [&] { queue_step(view(n)); };
        if (n < batch_size_) replay_.once(state_.stream, queue);
        else replay_.queue(state_.stream, queue);
    }
    StepDraw draw(Stream stream, std::int64_t k) const { return memory_.draw(options_, stream, k); }

    void queue_step(const UnitStep<T>& s) {
        const StepView<T>& p = s.step;
        const std::int64_t n = p.n, m = p.m;
        take_rows(state_, s);
        const Matrix<T> v = s.states.rows_from(0, n), h = s.probability.rows_from(0, n);
        for (std::int64_t k = 0; observed_.size() && k < options_.n_gibbs_steps; ++k) fill_in(s, v, h, k);
        UnitDraw<T> up = given(v, p.weights, false, p.hidden_bias, h);
        up.mean = h;
        up.exposure = bags_ ? s.exposure : nullptr;
        up.draw = draw(Stream::hidden, 0);
        if (from_data()) up.states = hidden_states(n);  // where the model starts from
        draw_units(state_, hidden_layer_.view(), up);
        if (s.learn_variance) {
            const Matrix<T> activation(activation_.data(), n, visible_);
            given(h, p.weights, true, nullptr, activation);
            move_scale<T>(state_, s, activation);
        }
        if (exact_) exact_->run(s);
        else run_model(s, m);
        unit_means(state_, s);
        if (fast_.size()) move_fast_biases(p);
        weigh_rows(state_, s);
        gemm<T>(context_, T(1), s.states.rows_from(0, n + m), true, s.probability.rows_from(0, n + m), false, T(0), p.gradient);
        if (fast_.size()) move_fast<T>(state_, visible_ * hidden_, options_.fast_rate, p.gradient.data, fast_.data());
        if (!proper_) {
            update_weights(state_, p);
        } else {
            StepView<T> without = p;  // the mean over steps takes what is left of them
            without.mean_weights = {};
            update_weights(state_, without);
            keep_proper(state_, p, power_.data(), power_.data() + hidden_, power_.data() + hidden_ + visible_);
        }
        update_biases(state_, p);
    }

    // Alternating draws from the hidden states on; the last hidden means stand beside the data's.
    void run_model(const UnitStep<T>& s, std::int64_t m) {
        const StepView<T>& p = s.step;
        Matrix<T> weights = p.weights;
        const T *visible_bias = p.visible_bias, *hidden_bias = p.hidden_bias;
        if (fast_.size()) {
            const std::int64_t size = visible_ * hidden_;
            add_fast<T>(state_, size, p.weights.data, fast_.data(), seen_.data());
            add_fast<T>(state_, visible_, p.visible_bias, fast_.data() + size, seen_.data() + size);
            add_fast<T>(state_, hidden_, p.hidden_bias, fast_.data() + size + visible_, seen_.data() + size + visible_);
            weights = {seen_.data(), visible_, hidden_};
            visible_bias = seen_.data() + size, hidden_bias = visible_bias + visible_;
        }
        // Of all temperatures: rows below each other, one product for all. They differ in biases and what scales the weights.
        const std::int64_t all = temperatures_ * m;
        const Matrix<T> v = s.states.rows_from(p.n, all), mean = s.probability.rows_from(p.n, m), h = hidden_states(all);
        const Matrix<T> of_hidden = tempered() ? Matrix<T>(activation_.data(), all, hidden_) : mean;
        const T* exposure = bags_ ? s.exposure + p.n : nullptr;
        Tempering<T> t = tempering_;
        if (tempered()) {
            t.visible_offset = p.visible_offset, t.visible_bias = visible_bias, t.hidden_bias = hidden_bias;
            temper_biases(state_, t);
        }
        const auto each = [&](UnitDraw<T> draw, const LayerView& layer, Matrix<T> states, Matrix<T> biases) {
            draw.exposure = exposure;
            const Matrix<const T> activation = draw.activation;
            for (std::int64_t i = 0; i < temperatures_; ++i) {
                draw.activation = activation.rows_from(i * m, m);
                draw.states = states.rows_from(i * m, m);
                draw.first_row = static_cast<std::uint32_t>(i * m);
                if (tempered()) draw.bias = biases.row(i), draw.scale = t.beta(i);
                draw_units(state_, layer, draw);
                draw.mean = {};
            }
        };
        for (std::int64_t k = 1; k <= options_.n_gibbs_steps; ++k) {
            UnitDraw<T> down = given(h, weights, true, visible_bias, Matrix<T>(activation_.data(), all, visible_));
            down.draw = draw(Stream::visible, k);
            each(down, visible_layer_.view(), v, t.visible_biases);
            UnitDraw<T> up = given(v, weights, false, hidden_bias, of_hidden);
            up.draw = draw(Stream::hidden, k);
            if (k == options_.n_gibbs_steps) up.mean = mean;
            each(up, hidden_layer_.view(), h, t.hidden_biases);
            if (tempered()) swap_chains<T>(state_, t, draw(Stream::swap, k), v, of_hidden, h);
        }
    }
    bool tempered() const { return temperatures_ > 1; }

    // Missing units of the batch, given the others of their rows.
    void fill_in(const UnitStep<T>& s, Matrix<T> v, Matrix<T> h, std::int64_t k) {
        const Matrix<T> hidden(missing_.data(), v.rows, hidden_), drawn(activation_.data(), v.rows, visible_);
        UnitDraw<T> up = given(v, s.step.weights, false, s.step.hidden_bias, h);
        up.draw = draw(Stream::missing_hidden, k);
        up.states = hidden;
        draw_units(state_, hidden_layer_.view(), up);
        UnitDraw<T> down = given(hidden, s.step.weights, true, s.step.visible_bias, drawn);
        down.draw = draw(Stream::missing_visible, k);
        down.states = Matrix<T>(missing_.data() + batch_size_ * hidden_, v.rows, visible_);
        draw_units(state_, visible_layer_.view(), down);
        fill_missing<T>(state_, s.step.place, batch_size_, s.step.mirrored, ConstBitMatrix(observed_.data(), rows_, visible_), down.states, v, filled());
    }
    BitMatrix filled() const { return {filled_.data(), rows_, visible_}; }

    void move_fast_biases(const StepView<T>& p) {
        T* fast = fast_.data() + visible_ * hidden_;
        move_fast<T>(state_, visible_, options_.fast_rate, p.visible_difference, fast);
        move_fast<T>(state_, hidden_, options_.fast_rate, p.hidden_difference, fast + visible_);
    }

    // A layer's activation given states of the other, in `into`.
    UnitDraw<T> given(Matrix<const T> states, Matrix<const T> weights, bool of_visible, const T* bias, Matrix<T> into) {
        gemm<T>(context_, T(1), states, false, weights, of_visible, T(0), into);
        UnitDraw<T> draw;
        draw.activation = into;
        draw.bias = bias;
        return draw;
    }
    Matrix<T> hidden_states(std::int64_t m) const { return {hidden_states_.data(), m, hidden_}; }

    UnitStep<T> view(std::int64_t n) {
        UnitStep<T> s;
        s.step = memory_.view;
        s.step.n = n, s.step.m = model_rows(n);
        s.step.l1 = static_cast<T>(options_.l1);
        s.step.data_draw = draw(Stream::data, 0);
        s.visible = visible_layer_.view();
        s.draw_data = draw_data_;
        s.learn_variance = options_.learn_variance;
        s.enumerated = static_cast<bool>(exact_);
        const std::int64_t all = s.step.n + s.step.m;
        s.states = {states_.data(), s.step.n + temperatures_ * s.step.m, visible_};
        s.probability = {probability_.data(), all, hidden_};
        const auto or_null = [](const DeviceBuffer<T>& buffer) { return buffer.size() ? buffer.data() : nullptr; };
        s.weights = or_null(weights_), s.words = or_null(words_), s.masses = masses_.data();
        s.model_factors = or_null(model_factors_), s.sizes = or_null(sizes_);
        s.share = static_cast<T>(row_share_ / static_cast<double>(n));
        T* next = row_numbers_.data();
        for (T** numbers : {&s.weight, &s.factor, &s.mean_factor, &s.exposure}) *numbers = next, next += all;
        s.scale = or_null(scale_);
        s.scale_moves = scale_moves_.data();
        s.sparsity_cost = static_cast<T>(options_.sparsity_cost), s.sparsity_target = static_cast<T>(options_.sparsity_target);
        s.sparsity_move = sparsity_move_.data();
        return s;
    }

    void allocate(const UnitTrainingData<T>& x, const UnitRbmState<T>& state, const UnitBeside<T>& beside) {
        const auto numbers = [](DeviceBuffer<T>& to, std::int64_t size) { to = DeviceBuffer<T>(static_cast<std::size_t>(size)); };
        const std::int64_t model = model_rows(batch_size_), all = batch_size_ + model, chains = exact_ ? 0 : temperatures_ * model;
        bags_ = state.visible.counts();
        numbers(states_, (batch_size_ + temperatures_ * model) * visible_);
        numbers(probability_, all * hidden_);
        numbers(hidden_states_, chains * hidden_);
        numbers(kept_, kept_rows_ * hidden_);
        numbers(activation_, std::max(batch_size_, chains) * (tempered() ? std::max(visible_, hidden_) : visible_));
        numbers(row_numbers_, 4 * all);
        numbers(sparsity_move_, hidden_);
        if (x.weight) numbers(weights_, rows_);
        if (bags_) numbers(words_, rows_);
        numbers(masses_, steps_);
        if (chains_ > 0) numbers(model_factors_, steps_);
        if (bags_ && !from_data()) numbers(sizes_, exact_ ? kept_rows_ : steps_ * chains_);
        if (std::any_of(beside.scale->begin(), beside.scale->end(), [](T scale) { return scale != T(1); }) || options_.learn_variance) {
            numbers(scale_, visible_);
            memory_.upload(*beside.scale, scale_.data());
        }
        scale_moves_ = DeviceBuffer<char>(beside.scale_moves.size());
        memory_.upload(beside.scale_moves, scale_moves_.data());
        if (options_.fast_rate > 0 && !exact_) numbers(fast_, (visible_ + 1) * (hidden_ + 1)), numbers(seen_, (visible_ + 1) * (hidden_ + 1));
        if (x.observed) {
            numbers(missing_, batch_size_ * (visible_ + hidden_));
            filled_ = DeviceBuffer<std::uint64_t>(beside.filled->size());
            memory_.upload(*beside.filled, filled_.data());
            observed_ = DeviceBuffer<std::uint64_t>(beside.filled->size());
            const std::int64_t words = x.observed.words();
            copy_rows(state_, Matrix<const std::uint64_t>(x.observed.data, rows_, words, x.observed.stride),
                      Matrix<std::uint64_t>(observed_.data(), rows_, words));
        }
        if (tempered()) {
            numbers(tempered_biases_, visible_ + temperatures_ * (visible_ + hidden_));
            likes_ = DeviceBuffer<double>(static_cast<std::size_t>(chains + temperatures_));
            Tempering<T>& t = tempering_;
            t.temperatures = temperatures_, t.chains = model, t.hidden = hidden_;
            t.visible = visible_layer_.view();
            t.base = tempered_biases_.data();
            t.visible_biases = {t.base + visible_, temperatures_, visible_};
            t.hidden_biases = {t.visible_biases.row(temperatures_), temperatures_, hidden_};
            t.likes = likes_.data(), t.accepted = t.likes + chains;
        }
        if (!proper_) return;
        power_ = DeviceBuffer<double>(static_cast<std::size_t>(hidden_ + visible_ + 3));
        ones_.assign(static_cast<std::size_t>(hidden_), 1.0);
        memory_.upload(ones_, power_.data());
    }

    Context& context_;
    State& state_;
    const UnitRbmOptions& options_;
    std::int64_t rows_, visible_, hidden_, batch_size_, steps_, kept_rows_, temperatures_, chains_;
    bool bags_ = false, proper_ = false, draw_data_ = false;
    double row_share_ = 1;
    std::uint64_t steps_done_;
    std::vector<double> ones_;  // what power iteration begins from
    DeviceLayer visible_layer_, hidden_layer_;
    TrainingMemory<T> memory_;
    DeviceBuffer<T> states_, probability_, hidden_states_, kept_, activation_, row_numbers_, sparsity_move_;
    DeviceBuffer<T> weights_, words_, masses_, model_factors_, sizes_, scale_, fast_, seen_, tempered_biases_, missing_;
    DeviceBuffer<std::uint64_t> filled_, observed_;
    Tempering<T> tempering_;
    DeviceBuffer<char> scale_moves_;
    DeviceBuffer<double> power_, likes_;
    std::unique_ptr<ExactPhase<T>> exact_;
    std::unique_ptr<RowFeed<T>> feed_;
    Replay replay_;
};

}  // namespace

template <class T>
std::unique_ptr<UnitDeviceEpochs<T>> open_unit_epochs(Context& context, const UnitTrainingData<T>& x, const UnitRbmOptions& options,
                                                      const UnitRbmState<T>& state, const Working<T>& work, const UnitBeside<T>& beside) {
    return std::make_unique<UnitEpochs<T>>(context, x, options, state, work, beside);
}
template std::unique_ptr<UnitDeviceEpochs<float>> open_unit_epochs(Context&, const UnitTrainingData<float>&, const UnitRbmOptions&,
                                                                   const UnitRbmState<float>&, const Working<float>&, const UnitBeside<float>&);
template std::unique_ptr<UnitDeviceEpochs<double>> open_unit_epochs(Context&, const UnitTrainingData<double>&, const UnitRbmOptions&,
                                                                    const UnitRbmState<double>&, const Working<double>&, const UnitBeside<double>&);

}  // namespace harmonium::cuda
