// The model's side of the gradient: states by contrastive divergence, persistent or tempered chains, or all states there are.
#pragma once

#include <numeric>

#include "tempered_chains.hpp"
#include "unit_batch.hpp"

namespace harmonium {

template <class T>
class ModelPhase {
public:
    ModelPhase(const UnitRbm<T>& model, const UnitRbmOptions& options, UnitRbmState<T>& state, std::int64_t batch_size)
        : model_(model), options_(options), state_(state), visible_(state.visible.units()), hidden_(state.hidden.units()),
          chains_(options.method == Method::cd ? 0 : state.unit_chains.rows / options.n_temperatures) {
        if (options.exact) {
            const Enumeration enumeration(state.visible, state.hidden);
            by_hidden_ = enumeration.hidden, rows_ = enumeration.states;
            keep(state.unit_chains);
            return;
        }
        const std::int64_t rows = options.method == Method::cd ? batch_size : chains_;
        tempered_ = std::make_unique<TemperedChains<T>>(state.visible, state.hidden, rows, options.n_temperatures);
        hidden_mean_ = std::make_unique<PanelMemory<T>>(rows, hidden_);
        if (options.fast_rate > 0) {
            fast_weights_ = std::make_unique<PanelMemory<T>>(visible_, hidden_);
            seen_weights_ = std::make_unique<PanelMemory<T>>(visible_, hidden_);
            fast_visible_.resize(visible_);
            fast_hidden_.resize(hidden_);
        }
        if (options.method == Method::pcd) tempered_->assign(state.unit_chains);
        else keep(state.unit_chains);
    }

    // Contrastive divergence starts from hidden states drawn given the data; null: not wanted.
    StateBuffer<T>* wants_data() { return options_.exact || options_.method == Method::pcd ? nullptr : &tempered_->hidden(0); }

    void begin_epoch() {
        if (tempered_) tempered_->forget_swaps();
        if (!fast_weights_) return;
        std::fill(fast_weights_->memory.begin(), fast_weights_->memory.end(), T(0));
        std::fill(fast_visible_.begin(), fast_visible_.end(), T(0));
        std::fill(fast_hidden_.begin(), fast_hidden_.end(), T(0));
    }

    // Hidden states as if there were no weights.
    void start_chains(Context& context, const Working<T>& work) {
        if (options_.exact || state_.unit_chains.rows == 0) return;
        if (chains_ > 0) {
            tempered_->start(context, work.hidden_bias, options_.seed);
            return;
        }
        TemperedChains<T> chains(state_.visible, state_.hidden, state_.unit_chains.rows, 1);
        chains.start(context, work.hidden_bias, options_.seed);
        chains.read(kept());
    }

    // The caller's chains; exact: drawn from the model that the caller gets, of bags of words with the sizes of the batch's.
    void commit(Context& context, const Working<T>& work, const UnitBatch<T>& batch) {
        if (options_.exact && state_.unit_chains.rows > 0) draw_chains(context, work, batch);
        if (chains_ > 0 && tempered_) tempered_->read(state_.unit_chains);
        for (std::int64_t i = 0; !kept_.empty() && i < state_.unit_chains.rows; ++i) {
            std::copy(kept().row(i), kept().row(i) + hidden_, state_.unit_chains.row(i));
        }
        if (state_.swaps && tempered_) tempered_->read_swaps(state_.swaps);
    }

    // Of the bags whose hidden states are drawn at the end of an epoch; of other data 1.
    void choose_last_sizes(const UnitBatch<T>& batch, std::uint64_t epochs, std::vector<T>& sizes) const {
        const std::int64_t m = state_.unit_chains.rows;
        sizes.assign(m, T(1));
        if (state_.visible.counts()) batch.choose_sizes(uniform<double>({options_.seed, Stream::sizes, epochs}, 1, 0), m, sizes);
    }

    // last_whole: the pass's last batch of as many rows as there are chains, whose states contrastive divergence keeps.
    template <class DrawOf>
    void run(Context& context, const Working<T>& work, const UnitBatch<T>& batch, T share, bool last_whole, const DrawOf& draw) {
        const double mass = static_cast<double>(share) * batch.total_weight();
        if (options_.exact) {
            enumerate(context, work, batch, mass);
            return;
        }
        Panels<const T> weights = work.weights;
        const T *visible_bias = work.visible_bias, *hidden_bias = work.hidden_bias;
        if (fast_weights_) {
            const auto& slow = work.memory;  // the weights come first in it
            for (std::size_t i = 0; i < fast_weights_->memory.size(); ++i) seen_weights_->memory[i] = slow[i] + fast_weights_->memory[i];
            seen_visible_.assign(fast_visible_.begin(), fast_visible_.end());
            seen_hidden_.assign(fast_hidden_.begin(), fast_hidden_.end());
            for (std::int64_t i = 0; i < visible_; ++i) seen_visible_[i] += visible_bias[i];
            for (std::int64_t j = 0; j < hidden_; ++j) seen_hidden_[j] += hidden_bias[j];
            weights = seen_weights_->panels;
            visible_bias = seen_visible_.data();
            hidden_bias = seen_hidden_.data();
        }
        const std::int64_t m = chains_ > 0 ? chains_ : batch.rows();
        if (batch.exposure() && chains_ == 0) exposure_.assign(batch.exposure(), batch.exposure() + m);
        else if (batch.exposure()) batch.choose_sizes(uniform<double>(draw(Stream::sizes, 0), 0, 0), m, exposure_);
        if (options_.n_temperatures > 1) {
            base_.resize(visible_);
            base_biases(state_.visible, work.visible_offset, base_.data());
        }
        const Panels<T> mean(hidden_mean_->memory.data(), m, hidden_);
        for (std::int64_t k = 1; k <= options_.n_gibbs_steps; ++k) {
            tempered_->step(context, weights, visible_bias, base_.data(), hidden_bias, batch.exposure() ? exposure_.data() : nullptr,
                            [&](Stream stream) { return draw(stream, k); }, mean);
        }
        if (chains_ == 0 && last_whole) tempered_->read(kept());
        rows_ = m;
        states_ = tempered_->visible(0).states();
        factors_.assign(m, static_cast<T>(-mass / static_cast<double>(m)));
        // Contrastive divergence: a model's state beside every row of the data, which counts as that row does.
        for (std::int64_t i = 0; chains_ == 0 && i < m; ++i) factors_[i] = -share * batch.weight(i);
        mean_ = mean;
    }

    // visible -= <v>, hidden -= <h>, of a bag of words per word of the data; states() and minus_probability() are then what
    // the gradient's last term is made of.
    void subtract(std::vector<T>& visible, AlignedVector<T>& hidden) {
        for (std::int64_t r = 0; r < rows_; ++r) {
            const T factor = factors_[r], times = factor * (model_.visible.counts() && !options_.exact ? exposure_[r] : T(1));
            for (std::int64_t p = 0; p < mean_.count(); ++p) {
                T* h = mean_.panel(p).row(r);
                for (std::int64_t j = 0; j < mean_.valid_cols(p); ++j) {
                    hidden[64 * p + j] += times * h[j];
                    h[j] *= factor;
                }
            }
        }
        if (options_.exact) {
            for (std::int64_t i = 0; i < visible_; ++i) visible[i] -= exact_visible_[i];
        } else {
            add_rows(states_, [&](std::int64_t r) { return factors_[r]; }, visible.data());
        }
    }
    const States<T>& states() const { return states_; }
    Panels<const T> minus_probability() const { return mean_; }

    // Fast weights of rows [first, ...) of panel p follow the gradient there; fast biases likewise.
    void move_fast(std::int64_t p, std::int64_t first, Matrix<const T> gradient) const {
        if (!fast_weights_) return;
        for (std::int64_t i = 0; i < gradient.rows; ++i) {
            T* fast = fast_weights_->panels.panel(p).row(first + i);
            for (std::int64_t j = 0; j < gradient.cols; ++j) fast[j] = moved(fast[j], gradient.row(i)[j]);
        }
    }
    void move_fast_biases(const std::vector<T>& visible, const AlignedVector<T>& hidden) {
        if (!fast_weights_) return;
        for (std::int64_t i = 0; i < visible_; ++i) fast_visible_[i] = moved(fast_visible_[i], visible[i]);
        for (std::int64_t j = 0; j < hidden_; ++j) fast_hidden_[j] = moved(fast_hidden_[j], hidden[j]);
    }

private:
    // What the caller's chains become, where no chains live on here.
    Matrix<T> kept() { return {kept_.data(), state_.unit_chains.rows, hidden_}; }
    void keep(Matrix<const T> chains) {
        kept_.resize(chains.rows * hidden_);
        for (std::int64_t i = 0; i < chains.rows; ++i) std::copy(chains.row(i), chains.row(i) + hidden_, kept().row(i));
    }

    T moved(T fast, T slope) const {
        return static_cast<T>(19.0 / 20 * static_cast<double>(fast) + options_.fast_rate * static_cast<double>(slope));
    }

    // At the first use: where epochs run on a GPU there may be none here.
    void list_states() {
        if (all_) return;
        const Layer& layer = by_hidden_ ? state_.hidden : state_.visible;
        all_ = std::make_unique<StateBuffer<T>>(layer, rows_);
        enumerate_states(layer, 0, all_->bits());
        visible_mean_ = std::make_unique<PanelMemory<T>>(rows_, visible_);
        hidden_mean_ = std::make_unique<PanelMemory<T>>(rows_, hidden_);
        probability_.resize(rows_);
        factors_.assign(rows_, T(-1));
        others_.resize(rows_);
        if (by_hidden_) dense_.resize(rows_ * visible_);
        exact_visible_.resize(visible_);
        ones_.assign(rows_, T(1));
    }

    // others_: the log of what every state weighs, of a bag for one word; the other layer's means given it.
    void weigh_states(Context& context, Panels<const T> weights, const T* visible_bias, const T* hidden_bias) {
        list_states();
        Conditional<T> other{&(by_hidden_ ? state_.visible : state_.hidden), weights, by_hidden_,
                             by_hidden_ ? visible_bias : hidden_bias};
        if (state_.visible.counts()) other.exposure = ones_.data();
        other(context, all_->states(), by_hidden_ ? visible_mean_->panels : hidden_mean_->panels, nullptr, others_.data());
        for (std::int64_t s = 0; s < rows_; ++s) {
            others_[s] += natural_term(all_->states(), s, by_hidden_ ? hidden_bias : visible_bias);
        }
    }

    // A state of the layer that is enumerated for each chain by its inverse distribution function, then hidden states given it.
    void draw_chains(Context& context, const Working<T>& work, const UnitBatch<T>& batch) {
        const bool mean = static_cast<bool>(state_.last.weights);
        const Panels<const T> weights = mean ? work.mean_weights : work.weights;
        const T* hidden_bias = mean ? work.mean_hidden_bias : work.hidden_bias;
        weigh_states(context, weights, mean ? work.mean_visible_bias : work.visible_bias, hidden_bias);
        const std::int64_t m = state_.unit_chains.rows;
        const Draw draw{options_.seed, Stream::start, work.epochs};
        choose_last_sizes(batch, work.epochs, exposure_);
        std::vector<std::int64_t> by_size(m);
        std::iota(by_size.begin(), by_size.end(), std::int64_t(0));
        std::stable_sort(by_size.begin(), by_size.end(), [&](std::int64_t a, std::int64_t b) { return exposure_[a] < exposure_[b]; });
        const Layer& layer = by_hidden_ ? state_.hidden : state_.visible;
        StateBuffer<T> chosen(layer, m), hidden(state_.hidden, m);
        const double most = *std::max_element(others_.begin(), others_.end());
        for (std::int64_t k = 0; k < m; ++k) {
            const std::int64_t i = by_size[k];
            if (k == 0 || exposure_[i] != exposure_[by_size[k - 1]]) {
                double sum = 0;
                for (std::int64_t s = 0; s < rows_; ++s) {
                    probability_[s] = sum += exp(static_cast<double>(exposure_[i]) * (others_[s] - most));
                }
            }
            const double level = uniform<double>(draw, static_cast<std::uint32_t>(i), 0) * probability_[rows_ - 1];
            const std::int64_t s = std::upper_bound(probability_.begin(), probability_.end(), level) - probability_.begin();
            const std::uint64_t* from = all_->bits().row(std::min(s, rows_ - 1));
            std::copy(from, from + all_->bits().words(), chosen.bits().row(i));
        }
        if (!by_hidden_) {
            PanelMemory<T> means(m, hidden_);
            Conditional<T> up{&state_.hidden, weights, false, hidden_bias};
            up.draw = draw;
            up.first_row = static_cast<std::uint32_t>(m);
            up(context, chosen.states(), means.panels, &hidden);
        }
        for (std::int64_t i = 0; i < m; ++i) StateBuffer<T>::read_row((by_hidden_ ? chosen : hidden).states(), i, kept().row(i));
    }

    // Weighs every state by its probability; of bags of words, by the mean of N p_N over the batch's numbers N of words.
    void enumerate(Context& context, const Working<T>& work, const UnitBatch<T>& batch, double mass) {
        weigh_states(context, work.weights, work.visible_bias, work.hidden_bias);
        const Panels<T> mean = by_hidden_ ? visible_mean_->panels : hidden_mean_->panels;
        probability_.assign(rows_, 0.0);
        const std::int64_t sizes = state_.visible.counts() ? batch.rows() : 1;
        for (std::int64_t r = 0; r < sizes; ++r) {
            const double words = state_.visible.counts() ? static_cast<double>(batch.words(r)) : 1;
            const double largest = words * *std::max_element(others_.begin(), others_.end());
            double sum = 0;
            for (std::int64_t s = 0; s < rows_; ++s) sum += exp(words * others_[s] - largest);
            const double part = state_.visible.counts() ? words * static_cast<double>(batch.weight(r) * batch.share()) : mass;
            for (std::int64_t s = 0; s < rows_; ++s) probability_[s] += part * exp(words * others_[s] - largest) / sum;
        }
        mean_ = hidden_mean_->panels;
        std::fill(exact_visible_.begin(), exact_visible_.end(), T(0));
        for (std::int64_t s = 0; s < rows_; ++s) {
            for (std::int64_t i = 0; i < visible_; ++i) {
                const T v = by_hidden_ ? mean.at(s, i) : static_cast<T>(all_->bits().bit(s, i));
                exact_visible_[i] += static_cast<T>(probability_[s]) * v;
                if (by_hidden_) dense_[s * visible_ + i] = v;
            }
            for (std::int64_t j = 0; j < hidden_; ++j) {
                T& h = hidden_mean_->panels.at(s, j);
                h = static_cast<T>(probability_[s]) * (by_hidden_ ? static_cast<T>(all_->bits().bit(s, j)) : h);
            }
        }
        states_ = by_hidden_ ? States<T>(Matrix<const T>(dense_.data(), rows_, visible_)) : all_->states();
    }

    const UnitRbm<T>& model_;
    const UnitRbmOptions& options_;
    UnitRbmState<T>& state_;
    std::int64_t visible_, hidden_, chains_, rows_ = 0;
    States<T> states_;
    Panels<T> mean_;
    std::unique_ptr<TemperedChains<T>> tempered_;
    std::unique_ptr<PanelMemory<T>> hidden_mean_, visible_mean_, fast_weights_, seen_weights_;
    std::vector<T> fast_visible_, fast_hidden_, seen_visible_, seen_hidden_, exposure_, base_, factors_, kept_;
    // The exact side.
    bool by_hidden_ = false;
    std::unique_ptr<StateBuffer<T>> all_;
    std::vector<double> probability_, others_;
    std::vector<T> dense_, exact_visible_, ones_;
};

}  // namespace harmonium
