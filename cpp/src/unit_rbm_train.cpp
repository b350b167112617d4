#include <cmath>
#include <memory>

#include "blas.hpp"
#include "cuda_state.hpp"
#include "harmonium/device_memory.hpp"
#include "rbm_step_kernels.hpp"
#include "unit_device_epochs.hpp"
#include "unit_trainer_base.hpp"

namespace harmonium {

namespace {

template <class T>
class UnitTrainer : private UnitTrainerBase<T> {
    using Base = UnitTrainerBase<T>;
    using Base::context_, Base::work_, Base::visible_, Base::hidden_, Base::rows_, Base::batch_size_, Base::order_, Base::options_,
        Base::state_, Base::model_, Base::batch_, Base::data_, Base::model_phase_, Base::data_means_, Base::real_means_;
    using Base::begin_order, Base::order_or_null, Base::hidden_given_visible, Base::draw, Base::rate, Base::count_step, Base::end_step,
        Base::weight_rms, Base::check_size, Base::reconstruction_error;

public:
    // gpu: where epochs run; null: here.
    UnitTrainer(Context& context, Context* gpu, const UnitTrainingData<T>& x, const UnitRbmOptions& options, UnitRbmState<T>& state)
        : Base(context, x, options, state) {
        if (gpu) {
            beside_.chains.assign(static_cast<std::size_t>(state.unit_chains.rows * hidden_), T(0));
            for (std::int64_t i = 0; i < state.unit_chains.rows; ++i) std::copy(state.unit_chains.row(i), state.unit_chains.row(i) + hidden_, chain(i));
            beside_.swaps.resize(static_cast<std::size_t>(options.n_temperatures - 1));
            beside_.scale = &batch_.scale(), beside_.filled = &batch_.filled();
            for (std::int64_t i = 0; options.learn_variance && i < visible_; ++i) beside_.scale_moves.push_back(batch_.scale_moves(i));
            if constexpr (built_with_cuda) device_ = cuda::open_unit_epochs<T>(*gpu, x, options, state, work_, beside_);
            return;
        }
        const std::int64_t panels = work_.weights.count(), chunks = (visible_ + rows_per_task - 1) / rows_per_task;
        differences_.resize(visible_), hidden_data_.resize(hidden_), activity_by_unit_.resize(hidden_);
        hidden_difference_.resize(panels * 64), mu_g_.resize(panels * 64 * chunks), g_lambda_.resize(panels * visible_);
    }

    RbmEpoch epoch() {
        begin_order();
        const double activity = device_ ? run_on_device() : run();
        ++work_.epochs;
        check_size(real_means_.data());
        work_.commit(state_);
        if (device_) commit_chains();
        else model_phase_.commit(context_, work_, batch_);
        if (state_.visible_scale) std::copy(batch_.scale().begin(), batch_.scale().end(), state_.visible_scale);
        return {work_.epochs, -reconstruction_error(), activity / (batch_.mean_weight() * static_cast<double>(rows_ * hidden_)), weight_rms()};
    }

private:
    double run() {
        model_phase_.begin_epoch();
        std::fill(activity_by_unit_.begin(), activity_by_unit_.end(), 0.0);
        for (std::int64_t first = 0; first < rows_; first += batch_size_) {
            context_.poll(static_cast<double>(first) / static_cast<double>(rows_));
            const std::int64_t n = std::min(batch_size_, rows_ - first), chains = state_.unit_chains.rows;
            const Draw of_data = draw(Stream::data, 0, 0);
            batch_.gather(order_or_null(), first, n, &of_data);
            step(n == chains && rows_ - first - n < chains);
        }
        double activity = 0;
        for (const double unit : activity_by_unit_) activity += unit;
        return activity;
    }

    // All that depends on the rows' weights and sizes is worked out here, step by step.
    double run_on_device() {
        UnitEpochPlan<T>& plan = plan_;
        plan = {};
        plan.order = order_or_null();
        plan.row_share = 1 / (batch_.mean_weight() * batch_.mean_words());
        const std::int64_t chains = options_.exact || options_.method == Method::cd ? 0 : state_.unit_chains.rows / options_.n_temperatures;
        std::vector<T> sizes;
        for (std::int64_t first = 0; first < rows_; first += batch_size_) {
            const std::int64_t n = std::min(batch_size_, rows_ - first);
            batch_.take(plan.order, first, n);
            for (std::int64_t i = 0; batch_.weighted() && i < n; ++i) plan.weights.push_back(batch_.weight(i));
            for (std::int64_t i = 0; batch_.exposure() && i < n; ++i) plan.words.push_back(batch_.words(i));
            plan.masses.push_back(static_cast<T>(batch_.mass()));
            if (chains > 0) {
                const double mass = static_cast<double>(batch_.share()) * batch_.total_weight();
                plan.model_factors.push_back(static_cast<T>(-mass / static_cast<double>(chains)));
            }
            if (chains > 0 && batch_.exposure()) {
                batch_.choose_sizes(uniform<double>(draw(Stream::sizes, 0, 0), 0, 0), chains, sizes);
                plan.sizes.insert(plan.sizes.end(), sizes.begin(), sizes.end());
            }
            plan.rates.push_back(static_cast<T>(rate()));
            const double share = count_step();
            if (options_.averaging > 0) plan.shares.push_back(static_cast<T>(share));
        }
        if (options_.exact && batch_.exposure()) model_phase_.choose_last_sizes(batch_, work_.epochs + 1, plan.sizes);
        return device_->run(plan, work_, beside_);
    }
    T* chain(std::int64_t i) { return beside_.chains.data() + i * hidden_; }
    void commit_chains() {
        for (std::int64_t i = 0; i < state_.unit_chains.rows; ++i) std::copy(chain(i), chain(i) + hidden_, state_.unit_chains.row(i));
        if (state_.swaps) std::copy(beside_.swaps.begin(), beside_.swaps.end(), state_.swaps);
    }

    void step(bool last_whole) {
        const std::int64_t n = batch_.rows();
        const Panels<T> data(data_.memory.data(), n, hidden_);
        Conditional<T> up = hidden_given_visible();
        batch_.fill_in(context_, up, {&model_.visible, work_.weights, true, work_.visible_bias}, data,
                       options_.n_gibbs_steps, [&](Stream stream, std::int64_t k) { return draw(stream, 0, k); });
        StateBuffer<T>* from_data = model_phase_.wants_data();
        up.draw = draw(Stream::hidden, 0, 0);
        up(context_, batch_.states(), data, from_data);
        const T share = batch_.share();  // of one row of weight 1 in the gradient
        means(data, share);
        if (options_.learn_variance) move_scale(data, share);

        model_phase_.run(context_, work_, batch_, share, last_whole, [&](Stream stream, std::int64_t k) { return draw(stream, 0, k); });
        sparsify(data);
        weigh(data, share);

        model_phase_.subtract(differences_, hidden_difference_);
        model_phase_.move_fast_biases(differences_, hidden_difference_);
        of_data_.set(context_, batch_.states());
        of_model_.set(context_, model_phase_.states());
        const auto rate_of_offsets = static_cast<T>(options_.offset_rate), mass = static_cast<T>(batch_.mass());
        for (std::int64_t i = 0; i < visible_; ++i) work_.visible_offset[i] += rate_of_offsets * (data_means_[i] - mass * work_.visible_offset[i]);
        for (std::int64_t j = 0; j < hidden_; ++j) work_.hidden_offset[j] += rate_of_offsets * (hidden_data_[j] - mass * work_.hidden_offset[j]);
        update(data);
        if (unbounded()) keep_proper();
        end_step();
    }

    // The data's side: means of v, of h (both per word of a bag), and of what the hidden biases stand beside.
    void means(Panels<T> data, T share) {
        std::fill(data_means_.begin(), data_means_.end(), T(0));
        batch_.add_mean(share, data_means_.data());
        std::copy(data_means_.begin(), data_means_.end(), differences_.begin());
        std::fill(hidden_data_.begin(), hidden_data_.end(), T(0));
        std::fill(hidden_difference_.begin(), hidden_difference_.end(), T(0));
        for (std::int64_t i = 0; i < data.rows; ++i) {
            const T times = share * batch_.weight(i) * batch_.words(i), weight = batch_.weight(i);
            for (std::int64_t p = 0; p < data.count(); ++p) {
                const T* h = data.panel(p).row(i);
                T* sums = hidden_data_.data() + 64 * p;
                double* activity = activity_by_unit_.data() + 64 * p;
                for (std::int64_t j = 0; j < data.valid_cols(p); ++j) {
                    sums[j] += times * h[j];
                    activity[j] += static_cast<double>(weight * h[j]);
                }
            }
        }
        std::copy(hidden_data_.begin(), hidden_data_.end(), hidden_difference_.begin());
    }

    // The gradient sees activities moved towards the target, as the derivative of their cross-entropy does.
    void sparsify(Panels<T> data) {
        const auto mass = static_cast<T>(batch_.mass());
        if (options_.sparsity_cost == 0 || mass == T(0)) return;
        for (std::int64_t j = 0; j < hidden_; ++j) {
            const T move = static_cast<T>(options_.sparsity_cost) * (static_cast<T>(options_.sparsity_target) - hidden_data_[j] / mass);
            for (std::int64_t i = 0; i < data.rows; ++i) data.at(i, j) += move;
            hidden_difference_[j] += mass * move;
        }
    }

    void weigh(Panels<T> data, T share) {
        context_.parallel_for(data.count(), [&](std::int64_t p, int) {
            const Matrix<T> panel = data.panel(p);
            for (std::int64_t i = 0; i < panel.rows; ++i) {
                const T times = share * batch_.weight(i);
                for (std::int64_t j = 0; j < panel.cols; ++j) panel.row(i)[j] *= times;
            }
        });
    }

    // d log p / d log sigma_i = <v_i^2 - v_i (b_i + W h)_i> - 1 for data divided by sigma, W and b being of such data.
    void move_scale(Panels<T> data, T share) {
        PanelMemory<T> mean(data.rows, visible_);
        std::vector<T> rows(data.rows * hidden_);
        const Matrix<T> h(rows.data(), data.rows, hidden_);
        from_panels<T>(Panels<const T>(data), h);
        Conditional<T> down{&model_.visible, work_.weights, true, work_.visible_bias};
        down(context_, States<T>(h), mean.panels, nullptr);
        const Matrix<const T> v = batch_.states().dense;
        const double mass = batch_.mass();
        for (const UnitGroup& group : model_.visible.groups) {
            for (std::int64_t i = group.first; group.type == UnitType::gaussian && i < group.first + group.count; ++i) {
                if (!batch_.scale_moves(i)) continue;
                double slope = -mass;
                for (std::int64_t r = 0; r < data.rows; ++r) {
                    slope += static_cast<double>(share * batch_.weight(r) * v.row(r)[i] * (v.row(r)[i] - mean.panels.at(r, i)));
                }
                batch_.scale()[i] *= static_cast<T>(exp(std::clamp(rate() * slope, -0.1, 0.1)));
            }
        }
    }

    // One task takes some rows of a panel of weights from the gradient to the update: the gradient never exists as a whole.
    void update(Panels<const T> data) {
        const std::int64_t panels = work_.weights.count(), chunks = (visible_ + rows_per_task - 1) / rows_per_task;
        std::fill(mu_g_.begin(), mu_g_.end(), T(0));
        const auto speed = static_cast<T>(rate()), momentum = static_cast<T>(options_.momentum);
        const Factor<T> factor(data, false), of_model(model_phase_.minus_probability(), false);
        const std::int64_t own = std::max(panel_product_scratch(factor), panel_product_scratch(of_model));
        context_.reserve_scratch(static_cast<std::size_t>(own + rows_per_task * 64) * sizeof(T));
        context_.parallel_for(panels * chunks, [&](std::int64_t task, int worker) {
            const std::int64_t p = task % panels, chunk = task / panels;
            const std::int64_t first = visible_ * chunk / chunks, rows = visible_ * (chunk + 1) / chunks - first;
            T* scratch = context_.template scratch<T>(worker);
            alignas(64) T lambda[64] = {};
            std::copy(work_.hidden_offset + 64 * p, work_.hidden_offset + 64 * p + work_.weights.valid_cols(p), lambda);
            UpdateBlock<T> b;
            b.gradient = {scratch + own, rows, work_.weights.panel_cols(p)};
            of_data_.multiply(first, data, p, false, b.gradient, scratch);
            of_model_.multiply(first, model_phase_.minus_probability(), p, true, b.gradient, scratch);
            model_phase_.move_fast(p, first, b.gradient);
            b.weights = work_.weights.panel(p).rows_from(first, rows);
            if (momentum != T(0)) b.velocity = work_.weight_velocity.panel(p).rows_from(first, rows);
            b.learning_rate = speed;
            b.momentum = momentum;
            b.weight_decay = static_cast<T>(options_.weight_decay);
            b.l1 = static_cast<T>(options_.l1);
            b.centred = options_.centering;
            b.visible_difference = differences_.data() + first;
            b.visible_offset = work_.visible_offset + first;
            b.hidden_difference = hidden_difference_.data() + 64 * p;
            b.hidden_offset = lambda;
            b.g_lambda = g_lambda_.data() + p * visible_ + first;
            b.mu_g = mu_g_.data() + task * 64;
            rbm_step_kernels<T>().update(b);
        });
        for (std::int64_t j = 0; j < hidden_; ++j) {
            T move = hidden_difference_[j];
            for (std::int64_t chunk = 0; chunk < chunks; ++chunk) move -= mu_g_[(chunk * panels + j / 64) * 64 + j % 64];
            if (momentum != T(0)) move = work_.hidden_velocity[j] = momentum * work_.hidden_velocity[j] + move;
            work_.hidden_bias[j] += speed * move;
        }
        for (std::int64_t i = 0; i < visible_; ++i) {
            double correction = 0;
            for (std::int64_t p = 0; options_.centering && p < panels; ++p) correction += g_lambda_[p * visible_ + i];
            T move = differences_[i] - static_cast<T>(correction);
            if (momentum != T(0)) move = work_.visible_velocity[i] = momentum * work_.visible_velocity[i] + move;
            work_.visible_bias[i] += speed * move;
        }
    }

    // Units that are unbounded on both sides need a joint density that falls off in every direction, |W| < 1 (for gaussian
    // units its precision is [[1, -W], [-W^T, 1]]): steps that leave the ball are projected back.
    bool unbounded() const {
        bool visible = false;
        for (const UnitGroup& group : state_.visible.groups) visible |= group.type == UnitType::gaussian;
        return visible && !state_.hidden.only(UnitType::bernoulli);
    }

    void keep_proper() {
        constexpr double largest = 0.98;
        if (singular_.empty()) singular_.assign(hidden_, 1.0);
        const double norm = largest_singular_value<T>(work_.weights, singular_, 4);
        if (norm <= largest) return;
        const auto factor = static_cast<T>(largest / norm);
        for (std::int64_t p = 0; p < work_.weights.count(); ++p) {
            const Matrix<T> panel = work_.weights.panel(p);
            for (std::int64_t i = 0; i < panel.rows; ++i) {
                for (std::int64_t j = 0; j < panel.cols; ++j) panel.row(i)[j] *= factor;
            }
        }
    }

    Transposed<T> of_data_, of_model_;
    std::vector<T> differences_, hidden_data_;
    AlignedVector<T> hidden_difference_, mu_g_;
    std::vector<double> g_lambda_, activity_by_unit_, singular_;
    UnitEpochPlan<T> plan_;
    UnitBeside<T> beside_;
    std::unique_ptr<UnitDeviceEpochs<T>> device_;  // the last: what it has queued looks at the others
};

template <class T>
void check(const UnitTrainingData<T>& x, const UnitRbmOptions& o, const UnitRbmState<T>& s) {
    check_layer(s.visible, "visible");
    check_layer(s.hidden, "hidden");
    require(s.visible.units() == s.model.visible() && s.hidden.units() == s.model.hidden(), "RBM: layers of ", s.visible.units(),
            " and ", s.hidden.units(), " units, weights ", s.model.visible(), " x ", s.model.hidden());
    require(x.states.cols() == s.model.visible(), "RBM: X has ", x.states.cols(), " columns, the model has ", s.model.visible());
    require(x.states.rows() > 0, "RBM: X has 0 rows");
    require(!x.weight || std::any_of(x.weight, x.weight + x.states.rows(), [](T w) { return w > T(0); }),
            "RBM: the weights of all ", x.states.rows(), " rows are 0");
    require(!s.visible.counts() || (s.hidden.only(UnitType::bernoulli) && o.n_temperatures == 1 && !x.observed),
            "RBM: a bag of words takes bernoulli hidden units, one temperature and no missing entries");
    require(!x.observed || (s.visible.binary() && x.states.is_bits() && x.observed.rows == x.states.rows()),
            "RBM: entries can be missing where all visible units are bernoulli or categorical");
    require(o.n_temperatures >= 1 && (o.n_temperatures == 1 || s.hidden.only(UnitType::bernoulli)),
            "RBM: ", o.n_temperatures, " temperatures; parallel tempering takes bernoulli hidden units");
    require(o.exact || o.method == Method::cd || s.unit_chains.rows >= o.n_temperatures, "RBM: ", s.unit_chains.rows, " chains");
    require(s.unit_chains.cols == s.model.hidden(), "RBM: chains of ", s.unit_chains.cols, " units, the model has ", s.model.hidden());
    require(!o.learn_variance || s.visible_scale, "RBM: learn_variance needs memory for the standard deviations");
    require(o.momentum == 0 || s.weight_velocity, "RBM: momentum=", o.momentum, " needs memory for the velocity");
}

}  // namespace

template <class T>
void rbm_train(Context& context, const UnitTrainingData<T>& x, const UnitRbmOptions& options, std::int64_t n_epochs,
               UnitRbmState<T>& state, const std::function<bool(const RbmEpoch&)>& on_epoch) {
    check(x, options, state);
    // What begins and ends training is the CPU's on any device, as in rbm_train of rbm.hpp.
    std::unique_ptr<Context> host;
    if (context.cuda()) {
        require(options.exact || options.method == Method::pcd || options.n_temperatures == 1, "RBM: contrastive divergence at ", options.n_temperatures,
                " temperatures has no loop on a GPU");
        const void* begin = x.states.is_bits() ? static_cast<const void*>(x.states.bits.data) : x.states.dense.data;
        require(gpu_of(begin) < 0, "RBM: X is in the memory of GPU ", gpu_of(begin), "; units of any type are trained on rows of the host");
        host = std::make_unique<Context>(context.threads());
    }
    UnitTrainer<T> trainer(host ? *host : context, host ? &context : nullptr, x, options, state);
    for (std::int64_t i = 0; i < n_epochs; ++i) {
        if (on_epoch(trainer.epoch())) return;
    }
}
template void rbm_train(Context&, const UnitTrainingData<float>&, const UnitRbmOptions&, std::int64_t, UnitRbmState<float>&,
                        const std::function<bool(const RbmEpoch&)>&);
template void rbm_train(Context&, const UnitTrainingData<double>&, const UnitRbmOptions&, std::int64_t, UnitRbmState<double>&,
                        const std::function<bool(const RbmEpoch&)>&);

}  // namespace harmonium
