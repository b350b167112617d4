#include <cmath>
#include <limits>
#include <memory>

#include "autoencoder_pace.hpp"
#include "cuda/autoencoder.cuh"
#include "cuda_state.hpp"
#include "dense_network.hpp"
#include "harmonium/error.hpp"
#include "row_order.hpp"
#include "update_rules.hpp"

namespace harmonium {

namespace {

template <class T>
class AutoencoderTrainer {
public:
    AutoencoderTrainer(Context& context, const AutoencoderModel& model, const States<T>& x, const States<T>& validation,
                       const AutoencoderOptions& options, std::int64_t n_epochs, AutoencoderState<T>& state)
        : context_(context), model_(model), validation_(validation), options_(options), state_(state), rows_(x.rows()),
          batch_size_(std::min(options.batch_size, x.rows())), network_(context, model, batch_size_, &options),
          batch_(context, x, batch_size_, options.corruption, options.corruption_level, options.low, options.high, model.outputs),
          theta_(state.theta, state.theta + model.n_parameters),
          begun_(n_epochs > 1 ? theta_ : AlignedVector<T>()),
          kept_(state.kept, state.kept + kept_by(options.update.rule) * model.n_parameters), gradient_(new T[model.n_parameters]),
          order_(options.shuffle && rows_ > batch_size_ ? rows_ : 0), steps_(state.steps) {}

    AutoencoderEpoch epoch() {
        if (!order_.empty()) shuffle_rows(options_.seed, state_.epochs, order_);
        AutoencoderEpoch done;
        double sum = 0;
        for (std::int64_t first = 0; first < rows_; first += batch_size_) {
            context_.poll(static_cast<double>(first) / static_cast<double>(rows_));
            const std::int64_t n = std::min(batch_size_, rows_ - first);
            batch_.gather(order_.empty() ? nullptr : order_.data(), first, n, {options_.seed, Stream::corruption, steps_});
            // The sum over the batch's first rows.
            const auto loss_of = [&](std::int64_t rows, const T* theta, T* gradient) {
                return network_.loss(theta, batch_.input().rows_from(0, rows), batch_.target().rows_from(0, rows), T(1) / static_cast<T>(n),
                                     {steps_, 0}, false, gradient);
            };
            const auto guarded = [&](std::int64_t rows, double loss) {
                const double n_rows = static_cast<double>(rows);
                const auto before = [&] { return loss_of(rows, begun_.empty() ? state_.theta : begun_.data(), nullptr) / n_rows; };
                return guard_.check(loss / n_rows, before, options_, state_.epochs);
            };
            const double loss = loss_of(n, theta_.data(), gradient_.get());
            sum += loss;
            if (guarded(n, loss)) loss_of(n, theta_.data(), gradient_.get());
            Update step = options_.update;
            step.rate = done.rate = rate_after(options_, state_.rate_factor, rows_, batch_size_, steps_);
            step.step = steps_ + 1 - state_.kept_since;
            T* u = keeps_u(step.rule) ? kept_.data() : nullptr;
            T* v = !keeps_s(step.rule) ? nullptr : u ? u + model_.n_parameters : kept_.data();
            network_.take_step(batch_, {steps_, 0}, prepared(step), gradient_.get(), theta_.data(), u, v);
            if (first + n == rows_) {
                const std::int64_t few = std::min(n, std::max<std::int64_t>(20, n / 16));  // a few hundredths of an epoch at most
                guarded(few, loss_of(few, theta_.data(), nullptr));
            }
            ++steps_;
        }
        done.loss = sum / static_cast<double>(rows_);
        if (options_.weight_decay > 0) done.loss += weight_decay<T>(context_, model_, options_.weight_decay, theta_.data(), nullptr);
        check_parameters();
        done.validation_loss = score_validation();
        std::copy(theta_.begin(), theta_.end(), state_.theta);
        std::copy(kept_.begin(), kept_.end(), state_.kept);
        state_.steps = steps_;
        done.epoch = ++state_.epochs;
        return done;
    }

private:
    double score_validation() {
        if (validation_.rows() == 0) return std::numeric_limits<double>::quiet_NaN();
        double sum = 0;
        const std::int64_t piece = std::min<std::int64_t>(500, validation_.rows());
        DenseNetwork<T>* plain = plain_.empty() ? &plain_.emplace_back(context_, model_, piece, nullptr) : &plain_.front();
        for (std::int64_t first = 0; first < validation_.rows(); first += piece) {
            const States<T> rows = validation_.rows_from(first, std::min(piece, validation_.rows() - first));
            plain->forward(theta_.data(), rows, 0, model_.layers.size());
            sum += plain->add_up(rows, rows.rows(), false, T(1));
        }
        return sum / static_cast<double>(validation_.rows());
    }

    void check_parameters() {
        int bad = 0;  // to the end without a branch: many at a time
        for (const T value : theta_) bad |= !(std::abs(value) <= std::numeric_limits<T>::max());
        if (bad) throw_diverged("a parameter is not finite", options_, state_.epochs);
    }
    Context& context_;
    const AutoencoderModel& model_;
    const States<T>& validation_;
    const AutoencoderOptions& options_;
    AutoencoderState<T>& state_;
    std::int64_t rows_, batch_size_;
    DenseNetwork<T> network_;
    std::vector<DenseNetwork<T>> plain_;  // without dropout, for validation
    InputBatch<T> batch_;
    AlignedVector<T> theta_, begun_, kept_;  // begun_: theta before the first of several epochs
    std::unique_ptr<T[]> gradient_;  // not cleared: of the weights' part most models never touch a page
    std::vector<std::int64_t> order_;
    std::uint64_t steps_;
    LossGuard guard_;
};

template <class T>
void check(const AutoencoderModel& model, const States<T>& x, const States<T>& validation, const AutoencoderOptions& o,
           const AutoencoderState<T>& state) {
    require(x.cols() == model.visible(), "autoencoder_train: X has ", x.cols(), " columns, the model has ", model.visible());
    require(x.rows() > 0, "autoencoder_train: X has 0 rows");
    require(!x.is_bits() && !validation.is_bits(), "autoencoder_train: X is dense or sparse rows");
    require(validation.rows() == 0 || validation.cols() == model.visible(), "autoencoder_train: validation rows have ",
            validation.cols(), " columns, the model has ", model.visible());
    require(o.batch_size >= 1, "autoencoder_train: batch_size=", o.batch_size, ", at least 1 is needed");
    require(o.update.rate > 0 && std::isfinite(o.update.rate), "autoencoder_train: a rate of ", o.update.rate);
    require(o.schedule_epochs >= 1, "autoencoder_train: schedule_epochs=", o.schedule_epochs, ", at least 1 is needed");
    require(state.kept_since <= state.steps, "autoencoder_train: kept since step ", state.kept_since, " of ", state.steps);
    check_options("autoencoder_train", o);
    require(state.theta && (state.kept || kept_by(o.update.rule) == 0), "autoencoder_train: the state lacks memory");
}

}  // namespace

template <class T>
void autoencoder_train(Context& context, const AutoencoderModel& model, const States<T>& x, const States<T>& validation,
                       const AutoencoderOptions& options, std::int64_t n_epochs, AutoencoderState<T>& state,
                       const std::function<bool(const AutoencoderEpoch&)>& on_epoch) {
    check(model, x, validation, options, state);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::autoencoder_train(context, model, x, validation, options, n_epochs, state, on_epoch);
    }
    AutoencoderTrainer<T> trainer(context, model, x, validation, options, n_epochs, state);
    for (std::int64_t i = 0; i < n_epochs; ++i) {
        if (on_epoch(trainer.epoch())) return;
    }
}
template void autoencoder_train(Context&, const AutoencoderModel&, const States<float>&, const States<float>&,
                                const AutoencoderOptions&, std::int64_t, AutoencoderState<float>&,
                                const std::function<bool(const AutoencoderEpoch&)>&);
template void autoencoder_train(Context&, const AutoencoderModel&, const States<double>&, const States<double>&,
                                const AutoencoderOptions&, std::int64_t, AutoencoderState<double>&,
                                const std::function<bool(const AutoencoderEpoch&)>&);

}  // namespace harmonium
