// How fast an autoencoder's training goes, and when it has gone too far: the same on every device.
#pragma once

#include <algorithm>
#include <cmath>

#include "harmonium/autoencoder.hpp"
#include "harmonium/error.hpp"

namespace harmonium {

// Of the step that follows so many.
inline double rate_after(const AutoencoderOptions& options, double rate_factor, std::int64_t rows, std::int64_t batch_size, std::uint64_t steps) {
    const double steps_an_epoch = std::ceil(static_cast<double>(rows) / static_cast<double>(batch_size));
    const double done = std::min(1.0, static_cast<double>(steps) / (steps_an_epoch * static_cast<double>(options.schedule_epochs)));
    const double rate = options.update.rate * rate_factor;
    switch (options.schedule) {
        case RateSchedule::inverse_scaling: return rate / std::pow(static_cast<double>(steps + 1), options.power);
        case RateSchedule::linear: return rate * (1 - 0.99 * done);
        case RateSchedule::exponential: return rate * std::pow(0.01, done);
        default: return rate;
    }
}

[[noreturn]] inline void throw_diverged(const std::string& what, const AutoencoderOptions& options, std::uint64_t epochs) {
    throw DivergenceError(message("training diverged in epoch ", epochs + 1, ": ", what, ", with learning_rate_init=", options.update.rate,
                                  "; the parameters are those of epoch ", epochs, "; use a smaller learning_rate_init"));
}

// A rate that is too large shows as a loss that is no number, or far above where training began.
class LossGuard {
public:
    // loss: a batch's, a row; of rows of an epoch's last batch also with the parameters that the epoch ends with, since these
    // are what is kept. before(): the same rows' with the parameters that training began with, since rows far from all others
    // cost as much; not those of the epoch's beginning, which may have left already. Returns whether it was called; throws
    // DivergenceError.
    template <class Before>
    bool check(double loss, const Before& before, const AutoencoderOptions& options, std::uint64_t epochs) {
        if (!begun_) first_ = loss, begun_ = true;
        if (sensible(loss, first_)) return false;
        // Of this batch alone: what far rows cost says nothing of the others.
        const double then = before();
        if (!sensible(loss, then)) throw_diverged(message("a loss of ", loss, " a row, ", then, " before"), options, epochs);
        return true;
    }

private:
    static bool sensible(double loss, double before) { return std::isfinite(loss) && loss < 1e3 * (std::abs(before) + 1); }
    bool begun_ = false;
    double first_ = 0;
};

}  // namespace harmonium
