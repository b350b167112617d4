// What training keeps beside its loop: the batch at hand, and a copy of the state to work on.
#pragma once

#include <algorithm>
#include <vector>

#include "aligned.hpp"
#include "bernoulli_kernels.hpp"
#include "harmonium/pack.hpp"
#include "harmonium/rbm.hpp"

namespace harmonium {

// One batch, gathered from wherever its rows stand in the data.
template <class T>
class Batch {
public:
    Batch(const States<T>& x, std::int64_t capacity, bool draw) : x_(x), draw_(draw) {
        if (!x.is_bits() && !binary_sparse()) dense_.resize((draw ? 1 : capacity) * x.cols() + 64);
        if (binary_sparse()) indptr_.resize(capacity + 1);
    }

    // Rows order[0..n), or first, first + 1, ... without order. Bits go to `bits` (n x D), the batch is states().
    // Where numbers are to be drawn from, row i of the batch draws as row i of `draw`.
    // mirrored: D bits of columns that are read as 1 - x; null: none.
    void gather(const std::int64_t* order, std::int64_t first, std::int64_t n, BitMatrix bits, const Draw& draw,
                const std::uint64_t* mirrored) {
        const auto source = [&](std::int64_t i) { return order ? order[first + i] : first + i; };
        if (x_.is_bits()) {
            for (std::int64_t i = 0; i < n; ++i) {
                const std::uint64_t* from = x_.bits.row(source(i));
                std::copy(from, from + bits.words(), bits.row(i));
            }
            mirror(bits, n, mirrored);
            states_ = bits;
        } else if (binary_sparse()) {
            indices_.clear();
            indptr_[0] = 0;
            for (std::int64_t i = 0; i < n; ++i) {
                const std::int64_t r = source(i);
                indices_.insert(indices_.end(), x_.sparse.indices + x_.sparse.indptr[r],
                                x_.sparse.indices + x_.sparse.indptr[r + 1]);
                indptr_[i + 1] = static_cast<std::int64_t>(indices_.size());
            }
            const SparseRows<T> rows{indptr_.data(), indices_.data(), nullptr, n, x_.cols()};
            pack_bits(rows, bits);
            mirror(bits, n, mirrored);
            if (mirrored) states_ = bits;
            else states_ = rows;
        } else {
            const std::int64_t cols = x_.cols();
            for (std::int64_t i = 0; i < n; ++i) {
                T* to = dense_.data() + (draw_ ? 0 : i * cols);
                const std::int64_t r = source(i);
                if (x_.dense) {
                    std::copy(x_.dense.row(r), x_.dense.row(r) + cols, to);
                } else {
                    std::fill(to, to + cols, T(0));
                    for (std::int64_t k = x_.sparse.indptr[r]; k < x_.sparse.indptr[r + 1]; ++k) {
                        to[x_.sparse.indices[k]] = x_.sparse.values[k];
                    }
                }
                for (std::int64_t j = 0; mirrored && j < cols; ++j) {
                    if (mirrored[j / 64] >> (j % 64) & 1) to[j] = T(1) - to[j];
                }
                for (std::int64_t w = 0; draw_ && w < bits.words(); ++w) {  // 64 zeros follow the row
                    bits.row(i)[w] = bernoulli_kernels<T>().draw(draw, static_cast<std::uint32_t>(i), w, to + 64 * w);
                }
            }
            if (draw_) states_ = bits;
            else states_ = Matrix<const T>(dense_.data(), n, cols);
        }
    }

    const States<T>& states() const { return states_; }
    bool is_bits() const { return !states_.dense; }

private:
    bool binary_sparse() const { return x_.is_sparse() && x_.bits_only(); }
    static void mirror(BitMatrix bits, std::int64_t n, const std::uint64_t* mirrored) {
        for (std::int64_t i = 0; mirrored && i < n; ++i) {
            for (std::int64_t w = 0; w < bits.words(); ++w) bits.row(i)[w] ^= mirrored[w];
        }
    }

    States<T> x_, states_;
    bool draw_;
    std::vector<T> dense_;
    std::vector<std::int64_t> indptr_;
    std::vector<std::int32_t> indices_;
};

// A copy of the state that training works on, its matrices in panels; commit() hands it back whole.
template <class T>
struct Working {
    std::int64_t visible, hidden;
    AlignedVector<T> memory;
    Panels<T> weights, weight_velocity, mean_weights;
    T *visible_bias, *hidden_bias, *visible_offset, *hidden_offset, *visible_velocity, *hidden_velocity;
    T *mean_visible_bias, *mean_hidden_bias;
    std::vector<std::uint64_t> mirrored, chain_words;
    BitMatrix chains;
    std::uint64_t steps, epochs, averaged;
    double travelled;

    explicit Working(const RbmState<T>& s)
        : visible(s.model.visible()), hidden(s.model.hidden()), mirrored(BitMatrix::words_for(s.model.visible())),
          chain_words(s.chains.rows * s.chains.words()),
          chains(chain_words.data(), s.chains.rows, s.chains.cols), steps(s.steps), epochs(s.epochs),
          averaged(s.averaged), travelled(s.travelled) {
        const std::int64_t size = Panels<T>::size(visible, hidden);
        memory.resize(3 * size + 4 * (visible + hidden));
        weights = {memory.data(), visible, hidden};
        weight_velocity = {memory.data() + size, visible, hidden};
        mean_weights = {memory.data() + 2 * size, visible, hidden};
        T* next = memory.data() + 3 * size;
        for (T** vector : {&visible_bias, &visible_offset, &visible_velocity, &mean_visible_bias}) *vector = next, next += visible;
        for (T** vector : {&hidden_bias, &hidden_offset, &hidden_velocity, &mean_hidden_bias}) *vector = next, next += hidden;
        const auto take = [](const T* theirs, T* ours, std::int64_t n) { std::copy(theirs, theirs + n, ours); };
        each_vector(s, take);
        if (s.mirrored) std::copy(s.mirrored, s.mirrored + mirrored.size(), mirrored.begin());
        const Rbm<T>& start = averaged > 0 ? s.last : s.model;
        to_panels<T>(start.weights, weights);
        each_bias(start, visible_bias, hidden_bias, take);
        if (s.last.weights) {
            to_panels<T>(s.model.weights, mean_weights);
            each_bias(s.model, mean_visible_bias, mean_hidden_bias, take);
        }
        if (s.weight_velocity) to_panels<T>(s.weight_velocity, weight_velocity);
        for (std::int64_t i = 0; i < chains.rows; ++i) {
            std::copy(s.chains.row(i), s.chains.row(i) + chains.words(), chains.row(i));
        }
    }

    void commit(RbmState<T>& s) const {
        const auto give = [](T* theirs, const T* ours, std::int64_t n) { std::copy(ours, ours + n, theirs); };
        each_vector(s, give);
        if (s.mirrored) std::copy(mirrored.begin(), mirrored.end(), s.mirrored);
        const Rbm<T>& newest = s.last.weights ? s.last : s.model;
        from_panels<T>(weights, newest.weights);
        each_bias(newest, visible_bias, hidden_bias, give);
        if (s.last.weights) {
            from_panels<T>(mean_weights, s.model.weights);
            each_bias(s.model, mean_visible_bias, mean_hidden_bias, give);
        }
        if (s.weight_velocity) from_panels<T>(weight_velocity, s.weight_velocity);
        for (std::int64_t i = 0; i < chains.rows; ++i) {
            std::copy(chains.row(i), chains.row(i) + chains.words(), s.chains.row(i));
        }
        s.steps = steps;
        s.epochs = epochs;
        s.travelled = travelled;
        s.averaged = averaged;
    }

    // For Batch::gather.
    const std::uint64_t* mirrored_or_null() const {
        const bool any = std::any_of(mirrored.begin(), mirrored.end(), [](std::uint64_t word) { return word != 0; });
        return any ? mirrored.data() : nullptr;
    }

    // Moves the means to the newest parameters, but for a share of the way; with 0 they are these exactly.
    void average(Context& context, T share) {
        const auto move = [share](const T* to, T* mean, std::int64_t n) {
            for (std::int64_t i = 0; i < n; ++i) mean[i] = to[i] - share * (to[i] - mean[i]);
        };
        context.parallel_for(weights.count(), [&](std::int64_t p, int) {
            for (std::int64_t i = 0; i < visible; ++i) move(weights.panel(p).row(i), mean_weights.panel(p).row(i), weights.panel_cols(p));
        });
        move(visible_bias, mean_visible_bias, visible);
        move(hidden_bias, mean_hidden_bias, hidden);
    }

private:
    template <class Function>
    void each_bias(const Rbm<T>& model, T* ours_visible, T* ours_hidden, const Function& function) const {
        function(model.visible_bias, ours_visible, visible);
        function(model.hidden_bias, ours_hidden, hidden);
    }
    template <class Function>
    void each_vector(const RbmState<T>& s, const Function& function) const {
        function(s.visible_offset, visible_offset, visible);
        function(s.hidden_offset, hidden_offset, hidden);
        if (!s.weight_velocity) return;
        function(s.visible_velocity, visible_velocity, visible);
        function(s.hidden_velocity, hidden_velocity, hidden);
    }
};

}  // namespace harmonium
