// What every training loop of an RBM does alike: the order of the rows, the rate, the mean over steps, the checks.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "harmonium/error.hpp"
#include "random_kernels.hpp"
#include "rbm_working.hpp"
#include "row_order.hpp"

namespace harmonium {

template <class T>
class TrainerBase {
protected:
    TrainerBase(Context& context, std::int64_t rows, const RbmOptions& options, RbmState<T>& state)
        : context_(context), options_(options), state_(state), work_(state), visible_(work_.visible), hidden_(work_.hidden),
          rows_(rows), batch_size_(std::min(options.batch_size, rows)),
          order_(options.shuffle && rows > options.batch_size ? rows : 0) {}

    void begin_order() {
        if (!order_.empty()) shuffle_rows(options_.seed, work_.epochs, order_);
    }

    // The draws of Gibbs step k (0: from the data) of the gradient step `ahead` steps from now.
    Draw draw(Stream stream, std::uint64_t ahead, std::int64_t k) const {
        const auto per_step = static_cast<std::uint64_t>(options_.n_gibbs_steps) + 1;
        return {options_.seed, stream, (work_.steps + ahead) * per_step + static_cast<std::uint64_t>(k)};
    }

    // Whether training begins with unit i mirrored. The first row decides where the mean does not: it is another in 1 - X.
    void mirror_if_mostly_on(std::int64_t i, T mean, T first) {
        const bool on = std::abs(mean - T(0.5)) < T(1e-5) ? first > T(0.5) : mean > T(0.5);
        work_.mirrored[i / 64] |= static_cast<std::uint64_t>(on) << (i % 64);
    }

    // W uniform with standard deviation 0.01.
    void draw_weights() {
        const Draw draw(options_.seed, Stream::weights, 0);
        const double width = 0.01 * std::sqrt(12.0);
        context_.parallel_for(work_.weights.count(), [&](std::int64_t p, int) {
            const Matrix<T> panel = work_.weights.panel(p);
            for (std::int64_t i = 0; i < visible_; ++i) {
                double u[64];
                random_kernels<double>().uniform(draw, static_cast<std::uint32_t>(i), p, u);
                for (std::int64_t j = 0; j < work_.weights.valid_cols(p); ++j) panel.row(i)[j] = static_cast<T>((u[j] - 0.5) * width);
            }
        });
    }

    double rate() const {
        const double steps_a_pass = std::ceil(static_cast<double>(rows_) / static_cast<double>(batch_size_));
        const double done = std::min(1.0, static_cast<double>(work_.steps) / (steps_a_pass * static_cast<double>(options_.schedule_passes)));
        switch (options_.schedule) {
            case Schedule::hyperbolic: return options_.learning_rate / (1 + work_.travelled / options_.annealing);
            case Schedule::linear: return options_.learning_rate * (1 - 0.99 * done);
            case Schedule::exponential: return options_.learning_rate * std::pow(0.01, done);
            default: return options_.learning_rate;
        }
    }

    void end_step() {
        const double share = count_step();
        if (share >= 0) work_.average(context_, static_cast<T>(share));
    }

    // Counts a step; how much of the way from the newest parameters the mean keeps, negative where it does not move. With
    // weights t^a their sum up to t grows as t^(a+1): what it had grown to before is the older steps' share. Parameters move
    // little in one step of many: every step is looked at in the beginning only.
    double count_step() {
        ++work_.steps;
        work_.travelled += options_.learning_rate;
        if (options_.averaging <= 0) return -1;
        const std::uint64_t before = work_.averaged++;
        std::uint64_t stride = 1;
        while (stride < 64 && 32 * stride <= before) stride *= 2;
        if (work_.averaged % stride != 0) return -1;
        const double grown = static_cast<double>(work_.averaged - stride) / static_cast<double>(work_.averaged);
        return std::pow(grown, options_.averaging + 1);
    }

    double weight_rms() const {
        double squares = 0;
        for (std::int64_t i = 0; i < visible_; ++i) {
            for (std::int64_t j = 0; j < hidden_; ++j) {
                const auto w = static_cast<double>(state_.model.weights.row(i)[j]);
                squares += w * w;
            }
        }
        return std::sqrt(squares / static_cast<double>(visible_ * hidden_));
    }

    // Throws where the last step's parameters have left every sensible range. means: of visible units that take any real
    // value, 0 of others; null: all are 0. Biases follow such means: a visible one is let go a hundred times as far, a hidden
    // one counts as it stands at the means.
    void check_size(const T* means = nullptr) const {
        double largest = 0;
        bool finite = true;
        const auto look = [&](T value) {
            finite &= std::isfinite(value);
            largest = std::max(largest, std::abs(static_cast<double>(value)));
        };
        for (std::int64_t p = 0; p < work_.weights.count(); ++p) {
            const Matrix<T> panel = work_.weights.panel(p);
            for (std::int64_t i = 0; i < visible_; ++i) {
                for (std::int64_t j = 0; j < work_.weights.valid_cols(p); ++j) look(panel.row(i)[j]);
            }
        }
        for (std::int64_t i = 0; i < visible_; ++i) {
            const T b = work_.visible_bias[i], free = means ? 100 * std::abs(means[i]) : T(0);
            look(std::isfinite(b) ? std::max(T(0), std::abs(b) - free) : b);
        }
        for (std::int64_t j = 0; j < hidden_; ++j) {
            const T c = work_.hidden_bias[j];
            T at_means = c;
            for (std::int64_t i = 0; means && i < visible_; ++i) at_means += means[i] * work_.weights.at(i, j);
            look(std::isfinite(c) && std::abs(at_means) < std::abs(c) ? at_means : c);
        }
        if (!finite || largest > options_.divergence_limit) {
            throw DivergenceError(message("training diverged in epoch ", work_.epochs, ": ",
                                          finite ? message("a parameter of size ", largest) : "a parameter is not finite",
                                          " with learning_rate=", options_.learning_rate, " and momentum=",
                                          options_.momentum, "; the parameters are those of epoch ", work_.epochs - 1,
                                          "; use a smaller learning_rate"));
        }
    }

    Context& context_;
    const RbmOptions& options_;
    RbmState<T>& state_;
    Working<T> work_;
    std::int64_t visible_, hidden_, rows_, batch_size_;
    std::vector<std::int64_t> order_;
};

}  // namespace harmonium
