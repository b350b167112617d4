#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "harmonium/bernoulli.hpp"
#include "aligned.hpp"
#include "cuda_state.hpp"
#include "device_epochs.hpp"
#include "harmonium/device_memory.hpp"
#include "harmonium/device_rows.hpp"
#include "harmonium/error.hpp"
#include "harmonium/math.hpp"
#include "harmonium/pack.hpp"
#include "harmonium/rbm_likelihood.hpp"
#include "harmonium/rbm_step.hpp"
#include "rbm_trainer.hpp"
#include "unit_states.hpp"

namespace harmonium {

namespace {

template <class T>
class Trainer : private TrainerBase<T> {
    using Base = TrainerBase<T>;
    using Base::context_, Base::options_, Base::state_, Base::work_, Base::visible_, Base::hidden_, Base::rows_,
        Base::batch_size_, Base::order_;
    using Base::begin_order, Base::draw, Base::draw_weights, Base::mirror_if_mostly_on, Base::rate, Base::end_step, Base::count_step, Base::weight_rms, Base::check_size;

public:
    // gpu: where epochs run, and where x may be too; null: here.
    Trainer(Context& context, Context* gpu, const States<T>& x, const RbmOptions& options, RbmState<T>& state)
        : TrainerBase<T>(context, x.rows(), options, state), gpu_(gpu), x_(x),
          chains_(options.method == Method::pcd ? work_.chains.rows : 0), data_mean_(visible_) {
        if (!state.initialised) initialise();
        choose_monitored();
        if (gpu) {
            if constexpr (built_with_cuda) device_ = cuda::open_rbm_epochs<T>(*gpu, x_, options_, work_);
            return;
        }
        const std::int64_t all = batch_size_ + model_rows(batch_size_);
        for (int i = 0; i < 2; ++i) slots_.emplace_back(x, batch_size_, all, hidden_, options.draw_data);
        differences_.resize(visible_);
        sums_.resize(rbm_step_sums(visible_, hidden_));
        mask_.resize(BitMatrix::words_for(all));
        counts_.resize(2 * visible_);
        transposed_words_.resize(visible_ * BitMatrix::words_for(all));
        hidden_words_.resize(model_rows(batch_size_) * BitMatrix::words_for(hidden_));
    }

    RbmEpoch epoch() {
        begin_order();
        device_ ? run_on_device() : run();
        ++work_.epochs;
        check_size();
        work_.commit(state_);
        return {work_.epochs, score_monitored(), activity_ / static_cast<double>(rows_ * hidden_), weight_rms()};
    }

private:
    void run_on_device() {
        std::vector<T> rates, shares;
        for (std::int64_t first = 0; first < rows_; first += batch_size_) {
            rates.push_back(static_cast<T>(rate()));
            const double share = count_step();
            if (options_.averaging > 0) shares.push_back(static_cast<T>(share));
        }
        activity_ = device_->run(order_, rates, shares, work_);
    }

    void run() {
        activity_ = 0;
        Slot* now = &slots_[0];
        Slot* next = &slots_[1];
        gather(*now, 0, 0);
        LayerOutput<T> data;
        data.probability = of_data(*now, all_probability(*now));
        data.probability_scale = T(1) / static_cast<T>(now->n);
        data.bits = drawn_from_data(now->n);
        data.draw = draw(Stream::hidden, 0, 0);
        bernoulli_layer<T>(context_, now->batch.states(), work_.weights, false, work_.hidden_bias, T(1), data);
        for (std::int64_t first = 0; first < rows_; first += batch_size_) {
            context_.poll(static_cast<double>(first) / static_cast<double>(rows_));
            next->n = 0;
            if (first + batch_size_ < rows_) gather(*next, first + batch_size_, 1);
            step(*now, *next);
            std::swap(now, next);
        }
    }

    // A batch and all that is computed for it; while one is worked on, the next is gathered into another.
    struct Slot {
        Batch<T> batch;
        std::int64_t n = 0;
        std::vector<std::uint64_t> words;  // (data's rows, then the model's) x D
        AlignedVector<T> probability;      // the same rows x H

        Slot(const States<T>& x, std::int64_t batch_size, std::int64_t all, std::int64_t hidden, bool draw)
            : batch(x, batch_size, draw), words(all * BitMatrix::words_for(x.cols())), probability(Panels<T>::size(all, hidden)) {}
    };

    std::int64_t model_rows(std::int64_t n) const { return options_.method == Method::pcd ? chains_ : n; }
    // Rows of the data and of the model alternate where they are equally many and all bits, see rbm_step; else the data's
    // come first.
    bool alternate(const Slot& slot) const { return model_rows(slot.n) == slot.n && (x_.bits_only() || options_.draw_data); }
    BitMatrix all_states(Slot& slot) const { return {slot.words.data(), slot.n + model_rows(slot.n), visible_}; }
    Panels<T> all_probability(Slot& slot) const { return {slot.probability.data(), slot.n + model_rows(slot.n), hidden_}; }
    template <class Rows>
    Rows of_data(const Slot& slot, Rows all) const {
        return alternate(slot) ? all.every_other(0, slot.n) : all.rows_from(0, slot.n);
    }
    template <class Rows>
    Rows of_model(const Slot& slot, Rows all) const {
        const std::int64_t m = model_rows(slot.n);
        return alternate(slot) ? all.every_other(1, m) : all.rows_from(slot.n, m);
    }
    // Contrastive divergence starts the model from draws given the data.
    BitMatrix drawn_from_data(std::int64_t n) {
        return options_.method == Method::cd ? BitMatrix(hidden_words_.data(), n, hidden_) : BitMatrix();
    }
    void gather(Slot& slot, std::int64_t first, std::uint64_t ahead) {
        slot.n = std::min(batch_size_, rows_ - first);
        slot.batch.gather(order_.empty() ? nullptr : order_.data(), first, slot.n, of_data(slot, all_states(slot)),
                          draw(Stream::data, ahead, 0), work_.mirrored_or_null());
    }

    // One gradient step from `now`, whose p(h | data) are known; those of `next` are known afterwards.
    void step(Slot& now, Slot& next) {
        const std::int64_t n = now.n, m = model_rows(n), bit_rows = now.batch.is_bits() ? n + m : m;
        const BitMatrix all = all_states(now), model = of_model(now, all);
        const BitMatrix transposed(transposed_words_.data(), visible_, bit_rows);
        const BitMatrix h = options_.method == Method::pcd ? work_.chains : drawn_from_data(n);
        sample_model(model, h);
        transpose_bits(context_, bit_rows == m ? model : all, transposed);
        visible_means(now, transposed);

        RbmStep<T> s;
        s.weights = work_.weights;
        s.visible_bias = work_.visible_bias;
        s.hidden_bias = work_.hidden_bias;
        s.weight_velocity = work_.weight_velocity;
        s.visible_velocity = work_.visible_velocity;
        s.hidden_velocity = work_.hidden_velocity;
        s.learning_rate = static_cast<T>(rate());
        s.momentum = static_cast<T>(options_.momentum);
        s.weight_decay = static_cast<T>(options_.weight_decay);
        s.probability = all_probability(now);
        s.data_probability = of_data(now, s.probability);
        s.model_probability = of_model(now, s.probability);
        s.model = model;
        if (options_.method == Method::pcd) {
            s.model_hidden = h;
        } else if (n == work_.chains.rows && next.n < n) {
            s.model_hidden = work_.chains;  // the epoch's last whole batch: what sampling may start from
        }
        s.draw = draw(Stream::hidden, 0, options_.n_gibbs_steps);
        s.transposed = transposed;
        if (!now.batch.is_bits()) s.dense = now.batch.states().dense;
        s.visible_difference = differences_.data();
        s.centred = options_.centering;
        s.visible_offset = work_.visible_offset;
        s.hidden_offset = work_.hidden_offset;
        s.offset_rate = static_cast<T>(options_.offset_rate);
        if (next.n > 0) {
            s.next = next.batch.states();
            s.next_probability = of_data(next, all_probability(next));
            s.next_hidden = drawn_from_data(next.n);
            s.next_draw = draw(Stream::hidden, 1, 0);
        }
        s.sums = sums_.data();
        activity_ += rbm_step(context_, s) * static_cast<double>(n);
        end_step();
    }

    // From hidden states h to visible states v, n_gibbs_steps times; the last p(h | v) is left to rbm_step.
    void sample_model(BitMatrix v, BitMatrix h) {
        for (std::int64_t k = 1; k <= options_.n_gibbs_steps; ++k) {
            LayerOutput<T> out;
            if (k > 1) {
                out.bits = h;
                out.draw = draw(Stream::hidden, 0, k - 1);
                bernoulli_layer<T>(context_, v, work_.weights, false, work_.hidden_bias, T(1), out);
            }
            out.bits = v;
            out.draw = draw(Stream::visible, 0, k);
            bernoulli_layer<T>(context_, h, work_.weights, true, work_.visible_bias, T(1), out);
        }
    }

    // Mean over the data - mean over the model into differences_, and the data's mean into the offset.
    void visible_means(const Slot& slot, BitMatrix transposed) {
        const std::int64_t m = model_rows(slot.n), of_bits = transposed.cols - m;
        if (of_bits == 0) dense_mean(slot);
        // Which columns are the data's.
        std::fill(mask_.begin(), mask_.end(), alternate(slot) ? 0x5555555555555555u : 0);
        for (std::int64_t r = 0; !alternate(slot) && r < of_bits; ++r) mask_[r / 64] |= std::uint64_t(1) << (r % 64);
        count_bits(transposed, mask_.data(), counts_.data(), counts_.data() + visible_);
        const auto rate = static_cast<T>(options_.offset_rate);
        for (std::int64_t i = 0; i < visible_; ++i) {
            if (of_bits > 0) data_mean_[i] = static_cast<T>(counts_[i]) / static_cast<T>(slot.n);
            differences_[i] = data_mean_[i] - static_cast<T>(counts_[visible_ + i]) / static_cast<T>(m);
            work_.visible_offset[i] += rate * (data_mean_[i] - work_.visible_offset[i]);
        }
    }

    void dense_mean(const Slot& slot) {
        const Matrix<const T> x = slot.batch.states().dense;
        std::fill(data_mean_.begin(), data_mean_.end(), T(0));
        for (std::int64_t r = 0; r < x.rows; ++r) {
            for (std::int64_t i = 0; i < visible_; ++i) data_mean_[i] += x.row(r)[i];
        }
        for (T& mean : data_mean_) mean /= static_cast<T>(x.rows);
    }

    // Rows that the host looks at, few and before the first epoch: in place, or copied from the GPU's memory.
    struct Sample {
        std::vector<std::uint64_t> words;
        std::vector<T> numbers;
        States<T> rows;
        const std::int64_t* order = nullptr;
    };
    Sample sample(const std::int64_t* order, std::int64_t n) {
        Sample s;
        s.rows = x_, s.order = order;
        const void* begin = x_.is_bits() ? static_cast<const void*>(x_.bits.data) : x_.dense.data;
        if (!gpu_ || gpu_of(begin) < 0) return s;
        s.order = nullptr;
        if (x_.is_bits()) {
            const BitMatrix bits((s.words.resize(n * x_.bits.words()), s.words.data()), n, visible_);
            take_rows<std::uint64_t>(*gpu_, {x_.bits.data, x_.rows(), bits.words(), x_.bits.stride}, order, {bits.data, n, bits.words()});
            s.rows = bits;
        } else {
            const Matrix<T> numbers((s.numbers.resize(n * visible_), s.numbers.data()), n, visible_);
            take_rows<T>(*gpu_, x_.dense, order, numbers);
            s.rows = numbers;
        }
        return s;
    }
    // A slot with nothing but these rows.
    Slot slot_of(const Sample& from, std::int64_t n) {
        Slot slot(from.rows, n, n, 0, options_.draw_data);
        slot.n = n;
        slot.batch.gather(from.order, 0, n, BitMatrix(slot.words.data(), n, visible_), {options_.seed, Stream::data, 0}, work_.mirrored_or_null());
        return slot;
    }

    // From the first batch of the first epoch. The caller's state takes the initial values at once, so that a model which
    // is interrupted before its first epoch has ended can be used.
    void initialise() {
        begin_order();
        const std::int64_t n = batch_size_;
        const Sample first = sample(order_.empty() ? nullptr : order_.data(), n);
        if (state_.mirrored && options_.centering) mirror(first);
        const Slot slot = slot_of(first, n);
        first_mean(slot);
        draw_weights();
        std::fill(work_.hidden_bias, work_.hidden_bias + hidden_, T(0));
        std::fill(work_.hidden_offset, work_.hidden_offset + hidden_, T(0.5));
        for (std::int64_t i = 0; i < visible_; ++i) {
            const double on = (std::clamp(static_cast<double>(data_mean_[i]), 0.0, 1.0) * static_cast<double>(n) + 0.5) / (static_cast<double>(n) + 1);
            work_.visible_bias[i] = static_cast<T>(log(on) - log(1 - on));
            work_.visible_offset[i] = data_mean_[i];
        }
        const std::vector<T> zeros(work_.chains.rows * hidden_);
        bernoulli<T>(context_, Matrix<const T>(zeros.data(), work_.chains.rows, hidden_), work_.hidden_bias, T(1),
                     {options_.seed, Stream::start, 0}, 0, {}, work_.chains);
        work_.averaged = 0;
        work_.average(context_, T(0));
        work_.commit(state_);
        state_.initialised = true;
    }

    // By the numbers in the first batch, not by what is drawn from them: those draws are no mirror images.
    void mirror(const Sample& from) {
        std::vector<T> row(visible_), first(visible_);
        std::vector<double> sums(visible_);
        for (std::int64_t i = 0; i < batch_size_; ++i) {
            StateBuffer<T>::read_row(from.rows, from.order ? from.order[i] : i, row.data());
            for (std::int64_t j = 0; j < visible_; ++j) sums[j] += static_cast<double>(row[j]);
            if (i == 0) first = row;
        }
        for (std::int64_t j = 0; j < visible_; ++j) mirror_if_mostly_on(j, static_cast<T>(sums[j] / static_cast<double>(batch_size_)), first[j]);
    }

    // Of a batch that no step has looked at.
    void first_mean(const Slot& slot) {
        if (!slot.batch.is_bits()) return dense_mean(slot);
        const ConstBitMatrix bits(slot.words.data(), slot.n, visible_);
        for (std::int64_t i = 0; i < visible_; ++i) {
            std::int64_t ones = 0;
            for (std::int64_t r = 0; r < slot.n; ++r) ones += bits.bit(r, i);
            data_mean_[i] = static_cast<T>(ones) / static_cast<T>(slot.n);
        }
    }

    // At most 128 rows and 64 units, evenly spread: scoring them all would cost a good part of an epoch.
    void choose_monitored() {
        const auto spread = [](std::int64_t count, std::int64_t of) {
            std::vector<std::int64_t> chosen(count);
            for (std::int64_t i = 0; i < count; ++i) chosen[i] = i * of / count;
            return chosen;
        };
        monitored_units_ = spread(std::min<std::int64_t>(visible_, 64), visible_);
        const std::vector<std::int64_t> rows = spread(std::min<std::int64_t>(rows_, 128), rows_);
        const auto count = static_cast<std::int64_t>(rows.size());
        const Sample from = sample(rows.data(), count);
        monitored_.push_back(slot_of(from, count));
    }

    double score_monitored() {
        const States<T>& rows = monitored_[0].batch.states();
        const auto units = static_cast<std::int64_t>(monitored_units_.size());
        std::vector<double> scores(rows.rows());
        rbm_pseudo_log_likelihood(context_, state_.model, rows, scores.data(), monitored_units_.data(), units);
        const double mean = std::accumulate(scores.begin(), scores.end(), 0.0) / static_cast<double>(scores.size());
        return mean * static_cast<double>(visible_) / static_cast<double>(units);
    }

    Context* gpu_;
    const States<T>& x_;
    std::int64_t chains_;
    std::vector<std::int64_t> monitored_units_;
    std::vector<T> differences_, data_mean_;
    std::vector<double> sums_;
    std::vector<Slot> slots_, monitored_;
    std::vector<std::uint64_t> transposed_words_, hidden_words_, mask_;
    std::vector<std::int64_t> counts_;
    double activity_ = 0;
    std::unique_ptr<DeviceEpochs<T>> device_;
};

template <class T>
void check(const States<T>& x, const RbmOptions& o, const RbmState<T>& s) {
    require(x.cols() == s.model.visible(), "RBM: X has ", x.cols(), " columns, the model has ", s.model.visible());
    require(x.rows() > 0, "RBM: X has 0 rows");
    require(o.n_gibbs_steps >= 1, "RBM: n_gibbs_steps=", o.n_gibbs_steps, ", at least 1 is needed");
    require(o.batch_size >= 1, "RBM: batch_size=", o.batch_size, ", at least 1 is needed");
    require(o.learning_rate > 0 && std::isfinite(o.learning_rate), "RBM: learning_rate=", o.learning_rate,
            ", a positive number is needed");
    require(o.annealing > 0 && std::isfinite(o.annealing), "RBM: annealing=", o.annealing, ", a positive number is needed");
    require(o.schedule_passes >= 1, "RBM: a schedule of ", o.schedule_passes, " passes, at least 1 is needed");
    require(o.averaging >= 0 && std::isfinite(o.averaging), "RBM: averaging=", o.averaging, " is negative");
    require((o.averaging > 0) == static_cast<bool>(s.last.weights) && (o.averaging > 0 || s.averaged == 0),
            "RBM: averaging=", o.averaging, " needs memory for the last step's parameters, none without");
    require(o.momentum >= 0 && o.momentum < 1, "RBM: momentum=", o.momentum, " is not in [0, 1)");
    require(o.weight_decay >= 0 && std::isfinite(o.weight_decay), "RBM: weight_decay=", o.weight_decay, " is negative");
    require(o.momentum == 0 || s.weight_velocity, "RBM: momentum=", o.momentum, " needs memory for the velocity");
    require(s.chains.cols == s.model.hidden() && (o.method == Method::cd || s.chains.rows >= 1), "RBM: ", s.chains.rows,
            " chains of ", s.chains.cols, " units, the model has ", s.model.hidden());
}

}  // namespace

template <class T>
void rbm_train(Context& context, const States<T>& x, const RbmOptions& options, std::int64_t n_epochs, RbmState<T>& state,
               const std::function<bool(const RbmEpoch&)>& on_epoch) {
    check(x, options, state);
    // What begins and ends training is the CPU's on any device: first parameters, the scores of an epoch.
    std::unique_ptr<Context> host;
    if (context.cuda()) host = std::make_unique<Context>(context.threads());
    Trainer<T> trainer(host ? *host : context, host ? &context : nullptr, x, options, state);
    for (std::int64_t i = 0; i < n_epochs; ++i) {
        if (on_epoch(trainer.epoch())) return;
    }
}
template void rbm_train(Context&, const States<float>&, const RbmOptions&, std::int64_t, RbmState<float>&,
                        const std::function<bool(const RbmEpoch&)>&);
template void rbm_train(Context&, const States<double>&, const RbmOptions&, std::int64_t, RbmState<double>&,
                        const std::function<bool(const RbmEpoch&)>&);

}  // namespace harmonium
