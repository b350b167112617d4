#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "harmonium/bernoulli.hpp"
#include "harmonium/error.hpp"
#include "harmonium/math.hpp"
#include "harmonium/pack.hpp"
#include "harmonium/rbm_likelihood.hpp"
#include "harmonium/rbm_update.hpp"
#include "rbm_working.hpp"

namespace harmonium {

namespace {

// A single weight of this size alone saturates a unit for good: training has left the range where it means anything.
constexpr double divergence_limit = 1000;
constexpr double initial_weight_std = 0.01;

template <class T>
class Trainer {
public:
    Trainer(Context& context, const States<T>& x, const RbmOptions& options, RbmState<T>& state)
        : context_(context), options_(options), state_(state), work_(state), visible_(work_.visible), hidden_(work_.hidden),
          rows_(x.rows()), batch_size_(std::min(options.batch_size, rows_)),
          model_rows_(options.method == Method::pcd ? work_.chains.rows : batch_size_), x_(x), batch_(x, batch_size_),
          order_(options.shuffle && rows_ > options.batch_size ? rows_ : 0) {
        const std::int64_t all = batch_size_ + model_rows_;
        probability_.resize(Panels<T>::size(all, hidden_));
        state_words_.resize(all * BitMatrix::words_for(visible_));
        transposed_words_.resize(visible_ * BitMatrix::words_for(all));
        hidden_words_.resize(model_rows_ * BitMatrix::words_for(hidden_));
        differences_.resize(visible_ + hidden_ + Panels<T>::padded(hidden_));
        data_mean_.resize(visible_);
        sums_.resize(rbm_update_sums(visible_, hidden_));
        monitor_rows();
        if (work_.steps == 0) initialise();
    }

    RbmEpoch epoch() {
        if (!order_.empty()) shuffle();
        activity_ = 0;
        for (std::int64_t first = 0; first < rows_; first += batch_size_) {
            context_.poll();
            step(first, std::min(batch_size_, rows_ - first));
        }
        ++work_.epochs;
        const double rms = check_size();
        work_.commit(state_);
        RbmEpoch record;
        record.epoch = work_.epochs;
        record.hidden_activity = activity_ / static_cast<double>(rows_);
        record.weight_rms = rms;
        std::vector<double> scores(monitored_.rows());
        rbm_pseudo_log_likelihood(context_, state_.model, monitored_, scores.data());
        record.pseudo_log_likelihood =
            std::accumulate(scores.begin(), scores.end(), 0.0) / static_cast<double>(scores.size());
        return record;
    }

private:
    // Fisher and Yates; the draw of place i is row i of (seed, epoch).
    void shuffle() {
        std::iota(order_.begin(), order_.end(), std::int64_t(0));
        const Draw draw(options_.seed, Stream::shuffle, work_.epochs);
        for (std::int64_t i = rows_ - 1; i > 0; --i) {
            const double u = uniform<double>(draw, static_cast<std::uint32_t>(i), 0);
            std::swap(order_[i], order_[static_cast<std::int64_t>(u * static_cast<double>(i + 1))]);
        }
    }

    // One gradient step from rows [first, first + n) of the epoch's order.
    void step(std::int64_t first, std::int64_t n) {
        const std::int64_t m = options_.method == Method::pcd ? model_rows_ : n;
        const Panels<T> probability(probability_.data(), n + m, hidden_);
        const BitMatrix all(state_words_.data(), n + m, visible_);
        const BitMatrix h(hidden_words_.data(), m, hidden_);
        batch_.gather(order_.empty() ? nullptr : order_.data(), first, n, all.rows_from(0, n));
        const bool data_is_bits = batch_.is_bits();
        const std::int64_t bit_rows = data_is_bits ? n + m : m;
        const BitMatrix transposed(transposed_words_.data(), visible_, bit_rows);

        LayerOutput<T> data;
        data.probability = probability.rows_from(0, n);
        data.probability_scale = T(1) / static_cast<T>(n);
        data.draw = {options_.seed, Stream::hidden, work_.steps * draws_per_step()};
        if (options_.method == Method::cd) data.bits = h;
        bernoulli_layer<T>(context_, batch_.states(), work_.weights, false, work_.hidden_bias, T(1), data);

        sample_model(all.rows_from(n, m), options_.method == Method::pcd ? work_.chains : h, probability.rows_from(n, m));
        transpose_bits(context_, all.rows_from(n + m - bit_rows, bit_rows), transposed);
        T* dv = differences_.data();
        T* dh = dv + visible_;
        visible_means(transposed, n, m, dv);
        hidden_means(probability, n, dh);

        RbmGradient<T> gradient{};
        gradient.bits = transposed;
        if (!data_is_bits) gradient.dense = batch_.states().dense;
        gradient.probability = probability;
        gradient.visible_difference = dv;
        gradient.hidden_difference = dh;
        gradient.visible_offset = options_.centering ? work_.visible_offset : nullptr;
        gradient.hidden_offset = options_.centering ? work_.hidden_offset : nullptr;
        RbmStep<T> update;
        update.learning_rate = static_cast<T>(options_.learning_rate);
        update.momentum = static_cast<T>(options_.momentum);
        update.weight_decay = static_cast<T>(options_.weight_decay);
        update.weights = work_.weights;
        update.visible_bias = work_.visible_bias;
        update.hidden_bias = work_.hidden_bias;
        update.weight_velocity = work_.weight_velocity;
        update.visible_velocity = work_.visible_velocity;
        update.hidden_velocity = work_.hidden_velocity;
        update.sums = sums_.data();
        rbm_update(context_, gradient, update);
        ++work_.steps;
    }

    std::uint64_t draws_per_step() const { return static_cast<std::uint64_t>(options_.n_gibbs_steps) + 1; }

    // From hidden states h: v, p(h | v), and h again where a further step or the chains need it.
    void sample_model(BitMatrix v, BitMatrix h, Panels<T> probability) {
        for (std::int64_t k = 1; k <= options_.n_gibbs_steps; ++k) {
            const bool last = k == options_.n_gibbs_steps;
            const std::uint64_t number = work_.steps * draws_per_step() + static_cast<std::uint64_t>(k);
            LayerOutput<T> out;
            out.bits = v;
            out.draw = {options_.seed, Stream::visible, number};
            bernoulli_layer<T>(context_, h, work_.weights, true, work_.visible_bias, T(1), out);
            out.draw = {options_.seed, Stream::hidden, number};
            out.bits = last && options_.method == Method::cd ? BitMatrix() : h;
            if (last) out.probability = probability, out.probability_scale = T(-1) / static_cast<T>(v.rows);
            bernoulli_layer<T>(context_, v, work_.weights, false, work_.hidden_bias, T(1), out);
        }
    }

    // dv = mean over the data - mean over the model, and the data's mean into the offset.
    void visible_means(BitMatrix transposed, std::int64_t n, std::int64_t m, T* dv) {
        const std::int64_t model_from = transposed.cols - m;
        if (!batch_.is_bits()) dense_mean(n);
        for (std::int64_t i = 0; i < visible_; ++i) {
            const std::uint64_t* words = transposed.row(i);
            std::int64_t all = 0, of_data = 0;
            for (std::int64_t w = 0; w < transposed.words(); ++w) all += __builtin_popcountll(words[w]);
            for (std::int64_t w = 0; 64 * w < model_from; ++w) {
                const std::int64_t left = model_from - 64 * w;
                const std::uint64_t mask = left >= 64 ? ~std::uint64_t(0) : (std::uint64_t(1) << left) - 1;
                of_data += __builtin_popcountll(words[w] & mask);
            }
            if (batch_.is_bits()) data_mean_[i] = static_cast<T>(of_data) / static_cast<T>(n);
            dv[i] = data_mean_[i] - static_cast<T>(all - of_data) / static_cast<T>(m);
            work_.visible_offset[i] += static_cast<T>(options_.offset_rate) * (data_mean_[i] - work_.visible_offset[i]);
        }
    }

    void dense_mean(std::int64_t n) {
        const Matrix<const T> x = batch_.states().dense;
        std::fill(data_mean_.begin(), data_mean_.end(), T(0));
        for (std::int64_t r = 0; r < n; ++r) {
            for (std::int64_t i = 0; i < visible_; ++i) data_mean_[i] += x.row(r)[i];
        }
        for (T& mean : data_mean_) mean /= static_cast<T>(n);
    }

    void hidden_means(Panels<const T> probability, std::int64_t n, T* dh) {
        T* of_data = dh + hidden_;
        column_sums<T>(context_, probability.rows_from(0, n), of_data);
        column_sums<T>(context_, probability, dh);
        double activity = 0;
        for (std::int64_t j = 0; j < hidden_; ++j) {
            activity += of_data[j];
            work_.hidden_offset[j] += static_cast<T>(options_.offset_rate) * (of_data[j] - work_.hidden_offset[j]);
        }
        activity_ += activity / static_cast<double>(hidden_) * static_cast<double>(n);
    }

    // From the first batch of the first epoch. The caller's state takes the initial values at once, so that a model which
    // is interrupted before its first epoch has ended can be used.
    void initialise() {
        const std::int64_t n = batch_size_;
        if (!order_.empty()) shuffle();
        batch_.gather(order_.empty() ? nullptr : order_.data(), 0, n, BitMatrix(state_words_.data(), n, visible_));
        const Draw draw(options_.seed, Stream::weights, 0);
        const double width = initial_weight_std * std::sqrt(12.0);
        for (std::int64_t i = 0; i < visible_; ++i) {
            for (std::int64_t j = 0; j < hidden_; ++j) {
                const double u = uniform<double>(draw, static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(j));
                work_.weights.at(i, j) = static_cast<T>((u - 0.5) * width);
            }
        }
        std::fill(work_.hidden_bias, work_.hidden_bias + hidden_, T(0));
        std::fill(work_.hidden_offset, work_.hidden_offset + hidden_, T(0.5));
        if (batch_.is_bits()) {
            for (std::int64_t i = 0; i < visible_; ++i) {
                std::int64_t ones = 0;
                const BitMatrix bits(state_words_.data(), n, visible_);
                for (std::int64_t r = 0; r < n; ++r) ones += bits.bit(r, i);
                data_mean_[i] = static_cast<T>(ones) / static_cast<T>(n);
            }
        } else {
            dense_mean(n);
        }
        for (std::int64_t i = 0; i < visible_; ++i) {
            const double on = (static_cast<double>(data_mean_[i]) * static_cast<double>(n) + 0.5) / (static_cast<double>(n) + 1);
            work_.visible_bias[i] = static_cast<T>(log(on) - log(1 - on));
            work_.visible_offset[i] = data_mean_[i];
        }
        std::vector<T> zeros(work_.chains.rows * hidden_);
        bernoulli<T>(context_, Matrix<const T>(zeros.data(), work_.chains.rows, hidden_), work_.hidden_bias, T(1),
                     {options_.seed, Stream::start, 0}, 0, {}, work_.chains);
        work_.commit(state_);
    }

    // Root mean square weight; throws where parameters have left every sensible range.
    double check_size() const {
        double largest = 0, squares = 0;
        bool finite = true;
        const auto look = [&](T value) {
            finite &= std::isfinite(value);
            largest = std::max(largest, std::abs(static_cast<double>(value)));
        };
        for (std::int64_t p = 0; p < work_.weights.count(); ++p) {
            const Matrix<T> panel = work_.weights.panel(p);
            for (std::int64_t i = 0; i < visible_; ++i) {
                for (std::int64_t j = 0; j < work_.weights.valid_cols(p); ++j) {
                    look(panel.row(i)[j]);
                    squares += static_cast<double>(panel.row(i)[j]) * static_cast<double>(panel.row(i)[j]);
                }
            }
        }
        std::for_each(work_.visible_bias, work_.visible_bias + visible_, look);
        std::for_each(work_.hidden_bias, work_.hidden_bias + hidden_, look);
        if (!finite || largest > divergence_limit) {
            throw DivergenceError(message("training diverged in epoch ", work_.epochs, ": ",
                                          finite ? message("a parameter of size ", largest) : "a parameter is not finite",
                                          " with learning_rate=", options_.learning_rate, " and momentum=",
                                          options_.momentum, "; the parameters are those of epoch ", work_.epochs - 1,
                                          "; use a smaller learning_rate"));
        }
        return std::sqrt(squares / static_cast<double>(visible_ * hidden_));
    }

    // At most 256 rows, evenly spread: scoring them costs a few per cent of an epoch.
    void monitor_rows() {
        const std::int64_t count = std::min<std::int64_t>(rows_, std::clamp<std::int64_t>(rows_ / 100, 64, 256));
        std::vector<std::int64_t> chosen(count);
        for (std::int64_t i = 0; i < count; ++i) chosen[i] = i * rows_ / count;
        monitor_words_.resize(count * BitMatrix::words_for(visible_));
        monitor_batch_.emplace_back(x_, count);
        monitor_batch_[0].gather(chosen.data(), 0, count, BitMatrix(monitor_words_.data(), count, visible_));
        monitored_ = monitor_batch_[0].states();
    }

    Context& context_;
    const RbmOptions& options_;
    RbmState<T>& state_;
    Working<T> work_;
    std::int64_t visible_, hidden_, rows_, batch_size_, model_rows_;
    States<T> x_;
    Batch<T> batch_;
    std::vector<std::int64_t> order_;
    std::vector<T> probability_, differences_, data_mean_;
    std::vector<std::uint64_t> state_words_, transposed_words_, hidden_words_, monitor_words_;
    std::vector<double> sums_;
    std::vector<Batch<T>> monitor_batch_;
    States<T> monitored_;
    double activity_ = 0;
};

template <class T>
void check(const States<T>& x, const RbmOptions& o, const RbmState<T>& s) {
    require(x.cols() == s.model.visible(), "RBM: X has ", x.cols(), " columns, the model has ", s.model.visible());
    require(x.rows() > 0, "RBM: X has 0 rows");
    require(o.n_gibbs_steps >= 1, "RBM: n_gibbs_steps=", o.n_gibbs_steps, ", at least 1 is needed");
    require(o.batch_size >= 1, "RBM: batch_size=", o.batch_size, ", at least 1 is needed");
    require(o.learning_rate > 0 && std::isfinite(o.learning_rate), "RBM: learning_rate=", o.learning_rate,
            ", a positive number is needed");
    require(o.momentum >= 0 && o.momentum < 1, "RBM: momentum=", o.momentum, " is not in [0, 1)");
    require(o.weight_decay >= 0 && std::isfinite(o.weight_decay), "RBM: weight_decay=", o.weight_decay, " is negative");
    require(o.momentum == 0 || s.weight_velocity, "RBM: momentum=", o.momentum, " needs memory for the velocity");
    require(o.method == Method::cd || (s.chains.rows >= 1 && s.chains.cols == s.model.hidden()), "RBM: ", s.chains.rows,
            " chains of ", s.chains.cols, " units, the model has ", s.model.hidden());
}

}  // namespace

template <class T>
void rbm_train(Context& context, const States<T>& x, const RbmOptions& options, std::int64_t n_epochs, RbmState<T>& state,
               const std::function<bool(const RbmEpoch&)>& on_epoch) {
    check(x, options, state);
    Trainer<T> trainer(context, x, options, state);
    for (std::int64_t i = 0; i < n_epochs; ++i) {
        if (on_epoch(trainer.epoch())) return;
    }
}
template void rbm_train(Context&, const States<float>&, const RbmOptions&, std::int64_t, RbmState<float>&,
                        const std::function<bool(const RbmEpoch&)>&);
template void rbm_train(Context&, const States<double>&, const RbmOptions&, std::int64_t, RbmState<double>&,
                        const std::function<bool(const RbmEpoch&)>&);

}  // namespace harmonium
