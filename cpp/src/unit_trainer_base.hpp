// Training of RBMs with units of any type, whatever the device: how it begins, and what an epoch ends with.
#pragma once

#include "rbm_trainer.hpp"
#include "unit_batch.hpp"
#include "unit_model_phase.hpp"

namespace harmonium {

template <class T>
class UnitTrainerBase : protected TrainerBase<T> {
    using Base = TrainerBase<T>;

protected:
    using Base::context_, Base::work_, Base::visible_, Base::hidden_, Base::rows_, Base::batch_size_, Base::order_;
    using Base::begin_order, Base::draw, Base::draw_weights, Base::mirror_if_mostly_on;

    UnitTrainerBase(Context& context, const UnitTrainingData<T>& x, const UnitRbmOptions& options, UnitRbmState<T>& state)
        : Base(context, x.states.rows(), options, state), options_(options), state_(state),
          model_{state.visible, state.hidden, {}, work_.visible_bias, work_.hidden_bias},
          batch_(x, state.visible, state.visible_scale, batch_size_, options.draw_data), data_(batch_size_, hidden_),
          model_phase_(model_, options, state, batch_size_), data_means_(visible_) {
        batch_.mirror(work_.mirrored_or_null());
        if (options.learn_variance) batch_.measure(!state.initialised);
        if (!state.initialised) initialise();
        choose_monitored();
        real_means_.assign(visible_, T(0));
        for (const UnitGroup& group : state.visible.groups) {
            if (group.type != UnitType::gaussian) continue;
            std::copy(work_.visible_bias + group.first, work_.visible_bias + group.first + group.count, real_means_.data() + group.first);
        }
    }

    const std::int64_t* order_or_null() const { return order_.empty() ? nullptr : order_.data(); }
    Conditional<T> hidden_given_visible() {
        return {&model_.hidden, work_.weights, false, work_.hidden_bias, T(1), batch_.exposure()};
    }

    double reconstruction_error() {
        const auto n = static_cast<std::int64_t>(monitored_.size());
        const Draw of_data(options_.seed, Stream::data, 0);
        batch_.gather(monitored_.data(), 0, n, &of_data);
        const Panels<T> h(data_.memory.data(), n, hidden_);
        hidden_given_visible()(context_, batch_.states(), h, nullptr);
        std::vector<T> rows(n * hidden_);
        from_panels<T>(Panels<const T>(h), Matrix<T>(rows.data(), n, hidden_));
        PanelMemory<T> mean(n, visible_);
        Conditional<T> down{&model_.visible, work_.weights, true, work_.visible_bias, T(1), batch_.exposure()};
        down(context_, States<T>(Matrix<const T>(rows.data(), n, hidden_)), mean.panels, nullptr);
        std::vector<T> v(visible_);
        double error = 0;
        for (std::int64_t r = 0; r < n; ++r) {
            StateBuffer<T>::read_row(batch_.states(), r, v.data());
            const double words = std::max(1.0, static_cast<double>(batch_.words(r)));
            for (std::int64_t i = 0; i < visible_; ++i) {
                const double d = static_cast<double>(v[i] - mean.panels.at(r, i)) / words;
                error += d * d;
            }
        }
        return error / static_cast<double>(n * visible_);
    }

    const UnitRbmOptions& options_;
    UnitRbmState<T>& state_;
    UnitRbm<T> model_;
    UnitBatch<T> batch_;
    PanelMemory<T> data_;
    ModelPhase<T> model_phase_;
    std::vector<T> data_means_, real_means_;

private:
    // From the first batch, as the other loop's, or from all rows where they have weights: the first batch may have none.
    // The caller's state takes the initial values at once.
    void initialise() {
        begin_order();
        if (state_.mirrored && options_.centering) mirror();
        const Draw of_data = draw(Stream::data, 0, 0);
        first_means(batch_.weighted() ? nullptr : &of_data);
        draw_weights();
        const double total = batch_.mean_words() * (from_all_rows() ? batch_.row_count() : static_cast<double>(batch_size_));
        for (const UnitGroup& group : state_.visible.groups) {
            for (std::int64_t i = group.first; i < group.first + group.count; ++i) {
                const auto mean = static_cast<double>(data_means_[i]);
                double bias = mean;
                if (group.type == UnitType::bernoulli) {
                    const double on = (std::clamp(mean, 0.0, 1.0) * total + 0.5) / (total + 1);
                    bias = log(on) - log(1 - on);
                } else if (group.type != UnitType::gaussian) {
                    bias = log((mean * total + 0.5) / (total + 0.5 * static_cast<double>(group.count)));
                }
                work_.visible_bias[i] = static_cast<T>(bias);
                work_.visible_offset[i] = data_means_[i];
            }
        }
        std::fill(work_.hidden_bias, work_.hidden_bias + hidden_, T(0));
        for (const UnitGroup& group : state_.hidden.groups) {
            const double mean = group.type == UnitType::bernoulli ? 0.5 : group.type == UnitType::relu ? 0.7978845608028654 : 0.0;
            std::fill(work_.hidden_offset + group.first, work_.hidden_offset + group.first + group.count, static_cast<T>(mean));
        }
        model_phase_.start_chains(context_, work_);
        work_.averaged = 0;
        work_.average(context_, T(0));
        work_.commit(state_);
        model_phase_.commit(context_, work_, batch_);
        if (state_.visible_scale) std::copy(batch_.scale().begin(), batch_.scale().end(), state_.visible_scale);
        state_.initialised = true;
    }

    // The first batch may have no weight, and most words are rare: there it would leave the biases far off.
    bool from_all_rows() const { return batch_.weighted() || state_.visible.counts(); }

    void first_means(const Draw* of_data) {
        std::fill(data_means_.begin(), data_means_.end(), T(0));
        const std::int64_t rows = from_all_rows() ? rows_ : batch_size_;
        const double total = static_cast<double>(rows) * batch_.mean_weight() * batch_.mean_words();
        for (std::int64_t first = 0; first < rows; first += batch_size_) {
            batch_.gather(from_all_rows() ? nullptr : order_or_null(), first, std::min(batch_size_, rows - first), of_data);
            batch_.add_mean(static_cast<T>(1 / total), data_means_.data());
        }
    }

    // By the numbers, not by what is drawn from them: those draws are no mirror images.
    void mirror() {
        first_means(nullptr);
        std::vector<T> first(visible_);
        batch_.gather(batch_.weighted() ? nullptr : order_or_null(), batch_.first_row(), 1, nullptr);
        StateBuffer<T>::read_row(batch_.states(), 0, first.data());
        for (const UnitGroup& group : state_.visible.groups) {
            for (std::int64_t i = group.first; group.type == UnitType::bernoulli && i < group.first + group.count; ++i) {
                mirror_if_mostly_on(i, data_means_[i], first[i]);
            }
        }
        batch_.mirror(work_.mirrored_or_null());
    }

    void choose_monitored() {
        const std::int64_t count = std::min<std::int64_t>(rows_, std::min<std::int64_t>(128, batch_size_));
        monitored_.resize(count);
        for (std::int64_t i = 0; i < count; ++i) monitored_[i] = i * rows_ / count;
    }

    std::vector<std::int64_t> monitored_;
};

}  // namespace harmonium
