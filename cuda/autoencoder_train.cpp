#include <cmath>
#include <limits>
#include <map>

#include "autoencoder.cuh"
#include "autoencoder_network.cuh"
#include "cpp/src/autoencoder_pace.hpp"
#include "cpp/src/row_order.hpp"
#include "cpp/src/update_rules.hpp"

namespace harmonium::cuda {

namespace {

constexpr std::int64_t look_every = 64;  // steps: how far the host runs ahead of what it has seen of losses
constexpr std::int64_t validation_rows = 1024;  // at a time

template <class T>
class Trainer {
public:
    Trainer(Context& context, const AutoencoderModel& model, const States<T>& x, const States<T>& validation,
            const AutoencoderOptions& options, AutoencoderState<T>& state)
        : context_(context), state_(use(context)), model_(model), x_(x), options_(options), training_(state), rows_(x.rows()),
          batch_size_(std::min(options.batch_size, x.rows())), n_steps_((rows_ + batch_size_ - 1) / batch_size_), layout_(model),
          theta_(state_, layout_), begun_(state_, layout_), network_(context, model, layout_, batch_size_, &options),
          batch_(context, model, model.visible(), batch_size_, &options), losses_(static_cast<std::size_t>(n_steps_ + 2)),
          host_losses_(static_cast<std::size_t>(n_steps_ + 2)), paces_(static_cast<std::size_t>(n_steps_)),
          host_paces_(static_cast<std::size_t>(n_steps_)), numbers_(2), host_numbers_(2),
          order_(options.shuffle && rows_ > batch_size_ ? rows_ : 0), steps_(state.steps) {
        const UpdateRule rule = options.update.rule;
        if (keeps_u(rule)) u_ = Parameters<T>(state_, layout_);
        if (keeps_s(rule)) s_ = Parameters<T>(state_, layout_);
        if (network_.contracts()) gradient_ = Parameters<T>(state_, layout_);
        over_all([&](T* there, T* packed) { layout_.copy(state_, true, there, packed); });
        layout_.copy(state_, true, begun_.data(), training_.theta);
        const std::int64_t n_validation = validation.rows(), piece = std::min(n_validation, validation_rows);
        if (n_validation > 0) {
            plain_ = std::make_unique<Network<T>>(context, model, layout_, piece, nullptr);
            plain_batch_ = std::make_unique<Batch<T>>(context, model, model.visible(), piece, nullptr);
            validation_losses_ = DeviceBuffer<double>(static_cast<std::size_t>((n_validation + piece - 1) / piece));
            host_validation_losses_ = HostBuffer<double>(validation_losses_.size());
            validation_feed_ = std::make_unique<RowFeed<T>>(context, validation, piece);
            n_validation_ = n_validation;
        }
        if (!on_device(state.theta)) staging_ = HostBuffer<T>(static_cast<std::size_t>((1 + kept_by(rule)) * model.n_parameters));
        feed_ = std::make_unique<RowFeed<T>>(context, x, batch_size_);  // last: it looks at what memory is left
    }

    AutoencoderEpoch epoch() {
        if (!order_.empty()) shuffle_rows(options_.seed, training_.epochs, order_);
        AutoencoderEpoch done;
        done.rate = set_paces();
        queued_ = copied_ = checked_ = looks_ = 0;
        feed_->over(order_.empty() ? nullptr : order_.data(), rows_, [&](const RowBlock<T>& block, std::int64_t first) {
            block_ = block;
            block_begins_ = queued_;
            set_place(state_, batch_.place(), now());
            for (std::int64_t row = 0; row < block.rows; row += batch_size_) {
                context_.poll(static_cast<double>(first + row) / static_cast<double>(rows_));
                step(std::min(batch_size_, block.rows - row));
                if (++queued_ % look_every == 0) look();
            }
            if (queued_ == n_steps_) queue_loss_of(theta_.data(), block_, n_steps_ - 1 - block_begins_, n_steps_ - 1, n_steps_ + 1);
        });
        look();
        see(last_look());
        check(host_losses_.data()[n_steps_ + 1], n_steps_ - 1);
        double sum = 0;
        for (std::int64_t t = 0; t < n_steps_; ++t) sum += host_losses_.data()[t];
        done.loss = sum / static_cast<double>(rows_);
        finish(done);
        return done;
    }

private:
    // What all of theta and of what the rule keeps is done with: the device's numbers, and the caller's.
    template <class Body>
    void over_all(const Body& body) const {
        body(theta_.data(), training_.theta);
        if (u_.data()) body(u_.data(), training_.kept);
        if (s_.data()) body(s_.data(), training_.kept + (u_.data() ? model_.n_parameters : 0));
    }

    double set_paces() {
        for (std::int64_t t = 0; t < n_steps_; ++t) {
            Update one = options_.update;
            const std::uint64_t before = steps_ + static_cast<std::uint64_t>(t);
            one.rate = rate_after(options_, training_.rate_factor, rows_, batch_size_, before);
            one.step = before + 1 - training_.kept_since;
            one = prepared(one);
            host_paces_.data()[t] = {one.rate, one.first_correction, one.second_correction};
        }
        CUDA_CHECK(cudaMemcpyAsync(paces_.data(), host_paces_.data(), static_cast<std::size_t>(n_steps_) * sizeof(Pace), cudaMemcpyHostToDevice, state_.stream));
        return host_paces_.data()[n_steps_ - 1].rate;
    }

    // Where the device stands once all that is queued is done.
    Place<T> now() const { return {block_, queued_ - block_begins_, queued_, steps_ + static_cast<std::uint64_t>(queued_)}; }

    // The first of a size runs as it is: whatever loads or allocates does so then. The others are one graph.
    void step(std::int64_t n) {
        const auto known = graphs_.find(n);
        if (known == graphs_.end()) {
            queue_step(n);
            graphs_[n];
            return;
        }
        if (!known->second) known->second.capture(state_.stream, [&] { queue_step(n); });
        known->second.launch(state_.stream);
    }

    void queue_step(std::int64_t n) {
        batch_.gather(batch_size_, n);
        queue_loss(theta_.data(), n, true);
        network_.backward(theta_.data(), n, {&batch_.place()->step, 0});
        network_.take_step(batch_.input(n), options_.update, {paces_.data(), &batch_.place()->done}, gradient_.data(), theta_.data(), u_.data(), s_.data());
        finish_step(state_, batch_.place(), n, network_.loss(), options_.contraction, network_.penalty(), losses_.data());
    }
    void queue_loss(const T* theta, std::int64_t n, bool derivatives) {
        network_.forward(theta, batch_.input(n), 0, model_.layers.size(), {&batch_.place()->step, 0});
        network_.losses(batch_.target(n), derivatives, T(1) / static_cast<T>(n));
        if (!network_.contracts()) return;
        if (derivatives) CUDA_CHECK(cudaMemsetAsync(gradient_.data(), 0, static_cast<std::size_t>(layout_.size()) * sizeof(T), state_.stream));
        network_.contract(theta, derivatives ? gradient_.data() : nullptr, n, T(1) / static_cast<T>(n));
    }

    // -- losses as they come ------------------------------------------------------------------------------------------
    struct Look {
        Event arrived;
        std::int64_t end = 0;
    };
    Look& last_look() { return look_[(looks_ + 1) % 2]; }

    // Sends for the losses since the last look, and sees those of the look before.
    void look() {
        Look& mine = look_[looks_ % 2];
        Look* before = looks_ > 0 ? &last_look() : nullptr;
        if (queued_ > copied_) {
            CUDA_CHECK(cudaMemcpyAsync(host_losses_.data() + copied_, losses_.data() + copied_, static_cast<std::size_t>(queued_ - copied_) * 8,
                                       cudaMemcpyDeviceToHost, state_.stream));
        }
        mine.arrived.record(state_.stream);
        mine.end = copied_ = queued_;
        ++looks_;
        if (before) see(*before);
    }
    void see(const Look& look) {
        look.arrived.wait();
        for (; checked_ < look.end; ++checked_) {
            check(host_losses_.data()[checked_], checked_);
        }
    }
    void check(double loss, std::int64_t t) {
        const double n = static_cast<double>(rows_of(t));
        guard_.check(loss / n, [&] { return loss_before(t) / n; }, options_, training_.epochs);
    }
    std::int64_t rows_of(std::int64_t t) const { return std::min(batch_size_, rows_ - t * batch_size_); }

    // Has batch t's loss, which is the block's batch-th, come to the slot behind those of the steps.
    void queue_loss_of(const T* theta, const RowBlock<T>& block, std::int64_t batch, std::int64_t t, std::int64_t slot) {
        set_place(state_, batch_.place(), Place<T>{block, batch, slot, steps_ + static_cast<std::uint64_t>(t)});
        batch_.gather(batch_size_, rows_of(t));
        queue_loss(theta, rows_of(t), false);
        finish_step(state_, batch_.place(), rows_of(t), network_.loss(), options_.contraction, network_.penalty(), losses_.data());
        CUDA_CHECK(cudaMemcpyAsync(host_losses_.data() + slot, losses_.data() + slot, 8, cudaMemcpyDeviceToHost, state_.stream));
    }

    // Batch t's loss with the parameters that training began with, between the steps that are queued.
    double loss_before(std::int64_t t) {
        if (feed_->resident()) {
            queue_loss_of(begun_.data(), block_, t, t, n_steps_);
        } else {
            const std::int64_t first = t * batch_size_;
            const States<T> rows = order_.empty() ? x_.rows_from(first, rows_of(t)) : x_;
            RowFeed<T>(context_, rows, batch_size_).over(order_.empty() ? nullptr : order_.data() + first, rows_of(t), [&](const RowBlock<T>& block, std::int64_t) {
                queue_loss_of(begun_.data(), block, 0, t, n_steps_);
                CUDA_CHECK(cudaStreamSynchronize(state_.stream));
            });
        }
        set_place(state_, batch_.place(), now());
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
        return host_losses_.data()[n_steps_];
    }

    // -- the epoch's end ----------------------------------------------------------------------------------------------
    void finish(AutoencoderEpoch& done) {
        network_.squared_weights(theta_.data(), numbers_.data());
        sum_of_squares<T>(context_, Matrix<const T>(theta_.data(), 1, layout_.size()), false, numbers_.data() + 1);
        CUDA_CHECK(cudaMemcpyAsync(host_numbers_.data(), numbers_.data(), 16, cudaMemcpyDeviceToHost, state_.stream));
        done.validation_loss = score_validation();
        T* staged = staging_.data();
        const bool staging = staging_.size() > 0;
        if (staging) over_all([&](T* there, T* packed) { layout_.copy(state_, false, there, staged_of(packed)); });
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
        if (!std::isfinite(host_numbers_.data()[1])) throw_diverged("a parameter is not finite", options_, training_.epochs);
        if (options_.weight_decay > 0) done.loss += 0.5 * options_.weight_decay * host_numbers_.data()[0];
        if (staging) {
            std::copy(staged, staged + model_.n_parameters, training_.theta);
            std::copy(staged + model_.n_parameters, staged + staging_.size(), training_.kept);
        } else {
            over_all([&](T* there, T* packed) { layout_.copy(state_, false, there, packed); });
            CUDA_CHECK(cudaStreamSynchronize(state_.stream));
        }
        training_.steps = steps_ += static_cast<std::uint64_t>(n_steps_);
        done.epoch = ++training_.epochs;
    }
    // The place in staging memory, theta and then what is kept, of a place in the caller's.
    T* staged_of(const T* packed) const {
        return staging_.data() + (packed == training_.theta ? 0 : model_.n_parameters + (packed - training_.kept));
    }

    double score_validation() {
        if (n_validation_ == 0) return std::numeric_limits<double>::quiet_NaN();
        const std::int64_t piece = std::min(n_validation_, validation_rows);
        validation_feed_->over(nullptr, n_validation_, [&](const RowBlock<T>& block, std::int64_t first) {
            set_place(state_, plain_batch_->place(), Place<T>{block, 0, first / piece, 0});
            for (std::int64_t row = 0; row < block.rows; row += piece) {
                const std::int64_t n = std::min(piece, block.rows - row);
                plain_batch_->gather(piece, n);
                plain_->forward(theta_.data(), plain_batch_->target(n), 0, model_.layers.size());
                plain_->losses(plain_batch_->target(n), false, T(1));
                finish_step<T>(state_, plain_batch_->place(), n, plain_->loss(), 0, nullptr, validation_losses_.data());
            }
        });
        CUDA_CHECK(cudaMemcpyAsync(host_validation_losses_.data(), validation_losses_.data(), validation_losses_.size() * 8, cudaMemcpyDeviceToHost, state_.stream));
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
        double sum = 0;
        for (std::size_t i = 0; i < validation_losses_.size(); ++i) sum += host_validation_losses_.data()[i];
        return sum / static_cast<double>(n_validation_);
    }

    Context& context_;
    State& state_;
    const AutoencoderModel& model_;
    const States<T>& x_;
    const AutoencoderOptions& options_;
    AutoencoderState<T>& training_;
    std::int64_t rows_, batch_size_, n_steps_;
    ParameterLayout layout_;
    Parameters<T> theta_, begun_, u_, s_, gradient_;
    Network<T> network_;
    Batch<T> batch_;
    DeviceBuffer<double> losses_;  // of the epoch's steps, one for another, and the last batch's with what the epoch ends with
    HostBuffer<double> host_losses_;
    DeviceBuffer<Pace> paces_;
    HostBuffer<Pace> host_paces_;
    DeviceBuffer<double> numbers_;
    HostBuffer<double> host_numbers_;
    HostBuffer<T> staging_;
    std::unique_ptr<Network<T>> plain_;  // without dropout, for validation
    std::unique_ptr<Batch<T>> plain_batch_;
    std::unique_ptr<RowFeed<T>> validation_feed_, feed_;
    DeviceBuffer<double> validation_losses_;
    HostBuffer<double> host_validation_losses_;
    std::int64_t n_validation_ = 0;
    std::vector<std::int64_t> order_;
    std::uint64_t steps_;
    RowBlock<T> block_;
    std::int64_t block_begins_ = 0;  // after so many batches of the epoch
    std::int64_t queued_ = 0, copied_ = 0, checked_ = 0, looks_ = 0;
    Look look_[2];
    LossGuard guard_;
    std::map<std::int64_t, Graph> graphs_;  // by the batch's rows
};

}  // namespace

template <class T>
void autoencoder_train(Context& context, const AutoencoderModel& model, const States<T>& x, const States<T>& validation,
                       const AutoencoderOptions& options, std::int64_t n_epochs, AutoencoderState<T>& state,
                       const std::function<bool(const AutoencoderEpoch&)>& on_epoch) {
    Trainer<T> trainer(context, model, x, validation, options, state);
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

}  // namespace harmonium::cuda
