// Chains at several temperatures whose states change places (Geyer 1991; Desjardins et al. 2010 for RBMs).
#pragma once

#include <cmath>

#include "harmonium/math.hpp"
#include "unit_states.hpp"

namespace harmonium {

// At beta_t = 1 - t / (n_temperatures - 1) weights are beta_t W, biases beta_t c and base + beta_t (b - base): at the last
// temperature visible units are independent, with the data's means if base is theirs. What beta_t multiplies,
// L(v, h) = (b - base).v + c.h + v^T W h, decides on swaps: accepted with probability exp((b_t - b_s)(L_s - L_t)).
template <class T>
class TemperedChains {
public:
    TemperedChains(const Layer& visible, const Layer& hidden, std::int64_t chains, std::int64_t n_temperatures)
        : visible_layer_(visible), hidden_layer_(hidden), chains_(chains), temperatures_(n_temperatures),
          visible_mean_(chains, visible.units()), hidden_mean_(n_temperatures > 1 ? chains : 0, hidden.units()),
          likes_(n_temperatures, std::vector<double>(chains)), accepted_(n_temperatures - 1), proposed_(n_temperatures - 1) {
        for (std::int64_t t = 0; t < n_temperatures; ++t) {
            visible_.emplace_back(visible, chains);
            hidden_.emplace_back(hidden, chains);
        }
        if (n_temperatures > 1) dots_.resize(hidden_mean_.panels.count() * chains);
    }

    StateBuffer<T>& hidden(std::int64_t t) { return hidden_[t]; }
    StateBuffer<T>& visible(std::int64_t t) { return visible_[t]; }

    void start(Context& context, const T* hidden_bias, std::uint64_t seed) {
        const std::int64_t units = visible_layer_.units();
        std::vector<T> nothing(Panels<T>::size(units, hidden_layer_.units()));
        std::vector<std::uint64_t> none(chains_ * BitMatrix::words_for(units));
        PanelMemory<T> mean(chains_, hidden_layer_.units());
        for (std::int64_t t = 0; t < temperatures_; ++t) {
            Conditional<T> up{&hidden_layer_, {nothing.data(), units, hidden_layer_.units()}, false, hidden_bias};
            up.draw = {seed, Stream::start, 0};
            up.first_row = static_cast<std::uint32_t>(t * chains_);
            up(context, States<T>(ConstBitMatrix(none.data(), chains_, units)), mean.panels, &hidden_[t]);
        }
    }

    void assign(Matrix<const T> all) {
        for (std::int64_t t = 0; t < temperatures_; ++t) hidden_[t].assign(States<T>(all.rows_from(t * chains_, chains_)));
    }
    void read(Matrix<T> all) const {
        for (std::int64_t t = 0; t < temperatures_; ++t) {
            const States<T> states = hidden_[t].states();
            for (std::int64_t i = 0; i < std::min(states.rows(), all.rows - t * chains_); ++i) {
                StateBuffer<T>::read_row(states, i, all.row(t * chains_ + i));
            }
        }
    }

    // v given h and h given v at every temperature, then swaps of the hidden states, from which the next step goes on.
    // mean: receives p(h | v) of the coldest chains; visible(0) their v.
    template <class DrawOf>
    void step(Context& context, Panels<const T> weights, const T* visible_bias, const T* base, const T* hidden_bias,
              const T* exposure, const DrawOf& draw, Panels<T> mean) {
        const std::int64_t m = mean.rows;
        for (std::int64_t t = 0; t < temperatures_; ++t) {
            const T beta = temperatures_ == 1 ? T(1) : static_cast<T>(1 - static_cast<double>(t) / static_cast<double>(temperatures_ - 1));
            tempered_.assign(visible_bias, visible_bias + visible_layer_.units());
            for (std::size_t i = 0; temperatures_ > 1 && i < tempered_.size(); ++i) {
                tempered_[i] = base[i] + beta * (visible_bias[i] - base[i]);
            }
            Conditional<T> down{&visible_layer_, weights, true, tempered_.data(), beta, exposure};
            down.draw = draw(Stream::visible);
            down.first_row = static_cast<std::uint32_t>(t * chains_);
            down(context, hidden_[t].states(), {visible_mean_.memory.data(), m, visible_layer_.units()}, &visible_[t]);
            scaled_.assign(hidden_bias, hidden_bias + hidden_layer_.units());
            for (T& c : scaled_) c *= beta;
            const Panels<T> target = t == 0 ? mean : hidden_mean_.panels;
            if (temperatures_ == 1) {
                Conditional<T> up{&hidden_layer_, weights, false, scaled_.data(), beta, exposure};
                up.draw = draw(Stream::hidden);
                up(context, visible_[t].states(), target, &hidden_[t]);
                continue;
            }
            LayerOutput<T> out;
            if (t == 0) out.probability = target;
            out.draw = draw(Stream::hidden);
            out.first_row = static_cast<std::uint32_t>(t * chains_);
            out.bits = hidden_[t].bits();
            out.dot = {dots_.data(), hidden_mean_.panels.count(), m};
            out.dot_bias = hidden_bias;
            bernoulli_layer<T>(context, visible_[t].states(), weights, false, scaled_.data(), beta, out);
            for (std::int64_t i = 0; i < m; ++i) {
                likes_[t][i] = natural_term(visible_[t].states(), i, visible_bias) - natural_term(visible_[t].states(), i, base);
                for (std::int64_t p = 0; p < out.dot.rows; ++p) likes_[t][i] += out.dot.row(p)[i];
            }
        }
        const Draw of_swaps = draw(Stream::swap);
        for (std::int64_t first = 0; first < 2; ++first) {
            for (std::int64_t t = first; t + 1 < temperatures_; t += 2) {
                for (std::int64_t i = 0; i < m; ++i) swap(of_swaps, t, i);
            }
        }
    }

    void forget_swaps() {
        std::fill(accepted_.begin(), accepted_.end(), 0.0);
        std::fill(proposed_.begin(), proposed_.end(), 0.0);
    }
    void read_swaps(double* rates) const {
        for (std::size_t t = 0; t < accepted_.size(); ++t) rates[t] = proposed_[t] > 0 ? accepted_[t] / proposed_[t] : 0;
    }

private:
    void swap(const Draw& draw, std::int64_t t, std::int64_t i) {
        const double gap = 1 / static_cast<double>(temperatures_ - 1);
        const double u = uniform<double>(draw, static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(t));
        ++proposed_[t];
        if (u >= exp(std::min(0.0, gap * (likes_[t + 1][i] - likes_[t][i])))) return;
        ++accepted_[t];
        std::swap(likes_[t][i], likes_[t + 1][i]);
        const BitMatrix cold = hidden_[t].bits(), hot = hidden_[t + 1].bits();
        std::swap_ranges(cold.row(i), cold.row(i) + cold.words(), hot.row(i));
    }

    const Layer& visible_layer_;
    const Layer& hidden_layer_;
    std::int64_t chains_, temperatures_;
    std::vector<StateBuffer<T>> visible_, hidden_;
    PanelMemory<T> visible_mean_, hidden_mean_;
    std::vector<std::vector<double>> likes_;
    std::vector<double> accepted_, proposed_, dots_;
    std::vector<T> scaled_, tempered_;
};

}  // namespace harmonium
