// A batch of training data of any type of visible units.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "bernoulli_kernels.hpp"
#include "blas.hpp"
#include "panel_product.hpp"
#include "unit_states.hpp"

namespace harmonium {

// out_i += sum over rows r of times(r) x_ri
template <class T, class Times>
void add_rows(const States<T>& x, const Times& times, T* out) {
    for (std::int64_t r = 0; r < x.rows(); ++r) {
        const T factor = times(r);
        if (x.is_bits()) {
            for (std::int64_t w = 0; w < x.bits.words(); ++w) {
                for (std::uint64_t word = x.bits.row(r)[w]; word; word &= word - 1) out[64 * w + __builtin_ctzll(word)] += factor;
            }
        } else if (x.is_sparse()) {
            for (std::int64_t k = x.sparse.indptr[r]; k < x.sparse.indptr[r + 1]; ++k) {
                out[x.sparse.indices[k]] += factor * (x.sparse.values ? x.sparse.values[k] : T(1));
            }
        } else {
            for (std::int64_t i = 0; i < x.dense.cols; ++i) out[i] += factor * x.dense.row(r)[i];
        }
    }
}

// Of a column's mean: numbers that differ by less are too close to tell once they are divided by their standard deviation.
template <class T>
constexpr double least_deviation = std::is_same_v<T, float> ? 0x1p-17 : 0x1p-26;

template <class T>
class UnitBatch {
public:
    // draw: bits are drawn from numbers of bernoulli units.
    UnitBatch(const UnitTrainingData<T>& x, const Layer& layer, const T* scale, std::int64_t capacity, bool draw)
        : x_(x), layer_(layer), scale_(layer.units(), T(1)), draws_(draw && !x.states.bits_only()) {
        if (scale) std::copy(scale, scale + scale_.size(), scale_.begin());
        const std::int64_t n = x.states.rows();
        double weights = 0, words = 0;
        if (layer.counts()) {
            words_.resize(n);
            exposure_.resize(capacity);
        }
        for (std::int64_t i = 0; i < n; ++i) {
            weights += weight_of(i);
            if (layer.counts()) words += weight_of(i) * static_cast<double>(words_[i] = count_words(i));
        }
        if (layer.counts()) mean_words_ = std::max(words / weights, 1.0);
        if (x.weight) mean_weight_ = weights / static_cast<double>(n);
        while (weight_of(first_row_) == 0) ++first_row_;
        if (x.states.is_bits() || (draws_ && layer.binary())) bits_.resize(capacity * BitMatrix::words_for(layer.units()));
        if (!x.states.is_bits() && !layer.counts()) dense_.resize(capacity * layer.units());
        if (x.observed) {
            const std::int64_t words = n * BitMatrix::words_for(layer.units());
            filled_.assign(x.states.bits.data, x.states.bits.data + words);
        }
        row_.resize(capacity);
        for (const UnitGroup& group : layer.groups) bernoulli_.insert(bernoulli_.end(), group.count, group.type == UnitType::bernoulli);
    }

    // D bits of bernoulli units that are read as 1 - x from the next gather on, or null.
    void mirror(const std::uint64_t* units) { mirrored_ = units; }

    // Rows as `gather` takes them, but their weights and sizes alone.
    void take(const std::int64_t* order, std::int64_t first, std::int64_t n) {
        n_ = n;
        for (std::int64_t i = 0; i < n; ++i) {
            row_[i] = order ? order[first + i] : first + i;
            if (layer_.counts()) exposure_[i] = words_[row_[i]];
        }
    }

    // Rows order[first..), or first, first + 1, ... without order. Where bits are drawn from numbers, row i of the batch draws
    // as row i of `draw`; null: the numbers themselves.
    void gather(const std::int64_t* order, std::int64_t first, std::int64_t n, const Draw* draw) {
        take(order, first, n);
        const std::int64_t units = layer_.units();
        const States<T>& x = x_.states;
        if (x.is_bits()) {
            const BitMatrix to(bits_.data(), n, units);
            for (std::int64_t i = 0; i < n; ++i) {
                const std::uint64_t* from = filled_.empty() ? x.bits.row(row_[i]) : filled_.data() + row_[i] * to.words();
                for (std::int64_t w = 0; w < to.words(); ++w) to.row(i)[w] = from[w] ^ mirrored_word(w);
            }
            states_ = to;
        } else if (draw && draws_) {
            gather_drawn(*draw);
        } else if (x.is_sparse() && !mirrored_) {
            starts_.assign(1, 0);
            indices_.clear();
            values_.clear();
            for (std::int64_t i = 0; i < n; ++i) {
                const std::int64_t begin = x.sparse.indptr[row_[i]], end = x.sparse.indptr[row_[i] + 1];
                indices_.insert(indices_.end(), x.sparse.indices + begin, x.sparse.indices + end);
                if (x.sparse.values) values_.insert(values_.end(), x.sparse.values + begin, x.sparse.values + end);
                starts_.push_back(static_cast<std::int64_t>(indices_.size()));
            }
            indices_.reserve(1);
            values_.reserve(1);
            states_ = SparseRows<T>{starts_.data(), indices_.data(), x.sparse.values ? values_.data() : nullptr, n, units};
        } else {
            const Matrix<T> to(dense_.data(), n, units);
            for (std::int64_t i = 0; i < n; ++i) read_numbers(row_[i], to.row(i));
            states_ = Matrix<const T>(to);
        }
    }

    // Missing units: drawn given the others of their rows, n_steps times from where they stood when the rows were last met.
    template <class DrawOf>
    void fill_in(Context& context, Conditional<T> up, Conditional<T> down, Panels<T> hidden_mean, std::int64_t n_steps,
                 const DrawOf& draw) {
        if (!x_.observed) return;
        if (!hidden_) {
            hidden_ = std::make_unique<StateBuffer<T>>(*up.layer, bits_.size());
            visible_ = std::make_unique<StateBuffer<T>>(layer_, bits_.size());
        }
        PanelMemory<T> mean(n_, layer_.units());
        for (std::int64_t k = 0; k < n_steps; ++k) {
            up.draw = draw(Stream::missing_hidden, k);
            up(context, states_, hidden_mean, hidden_.get());
            down.draw = draw(Stream::missing_visible, k);
            down(context, hidden_->states(), mean.panels, visible_.get());
            const BitMatrix now(bits_.data(), n_, layer_.units()), drawn = visible_->bits();
            for (std::int64_t i = 0; i < n_; ++i) {
                const std::uint64_t* known = x_.observed.row(row_[i]);
                std::uint64_t* kept = filled_.data() + row_[i] * now.words();
                for (std::int64_t w = 0; w < now.words(); ++w) {
                    now.row(i)[w] = (now.row(i)[w] & known[w]) | (drawn.row(i)[w] & ~known[w]);
                    kept[w] = now.row(i)[w] ^ mirrored_word(w);
                }
            }
        }
    }

    // out_i += share sum_r weight_r v_ri
    void add_mean(T share, T* out) const {
        add_rows(states_, [&](std::int64_t r) { return share * weight(r); }, out);
    }

    // Gaussian units' standard deviations over all rows, for learning them: training begins from these. A unit is constant
    // where its rows differ by rounding: its standard deviation begins at 1 and stays as long as no call shows others.
    void measure(bool begins) {
        if (begins) std::fill(scale_.begin(), scale_.end(), T(1));
        const std::int64_t units = layer_.units();
        std::vector<T> first(units), row(units);
        std::vector<double> mean(units), square(units);  // about the first row: exactly 0 where all are the same
        double total = 0;
        std::int64_t counted = 0;
        StateBuffer<T>::read_row(x_.states, first_row_, first.data());
        const auto each_row = [&](const auto& look) {
            for (std::int64_t i = first_row_; i < x_.states.rows(); ++i) {
                const double w = weight_of(i);
                if (w == 0) continue;
                StateBuffer<T>::read_row(x_.states, i, row.data());
                look(w);
            }
        };
        each_row([&](double w) {
            total += w;
            ++counted;
            for (std::int64_t j = 0; j < units; ++j) mean[j] += w * (static_cast<double>(row[j]) - static_cast<double>(first[j]));
        });
        each_row([&](double w) {
            for (std::int64_t j = 0; j < units; ++j) {
                const double d = static_cast<double>(row[j]) - static_cast<double>(first[j]) - mean[j] / total;
                square[j] += w * d * d;
            }
        });
        moves_.assign(units, 1);
        for (const UnitGroup& group : layer_.groups) {
            for (std::int64_t j = group.first; group.type == UnitType::gaussian && j < group.first + group.count; ++j) {
                const double deviation = std::sqrt(square[j] / total), centre = static_cast<double>(first[j]) + mean[j] / total;
                const bool constant = deviation <= least_deviation<T> * std::abs(centre);
                if (begins && !constant) scale_[j] = static_cast<T>(deviation);
                moves_[j] = !constant || counted == 1 || scale_[j] != T(1);
            }
        }
    }
    bool scale_moves(std::int64_t unit) const { return moves_[unit] != 0; }

    const States<T>& states() const { return states_; }
    std::int64_t rows() const { return n_; }
    const T* exposure() const { return layer_.counts() ? exposure_.data() : nullptr; }
    T words(std::int64_t i) const { return layer_.counts() ? exposure_[i] : T(1); }
    T weight(std::int64_t i) const { return x_.weight ? x_.weight[row_[i]] : T(1); }
    double weight_of(std::int64_t row) const { return x_.weight ? static_cast<double>(x_.weight[row]) : 1; }
    bool weighted() const { return x_.weight != nullptr; }
    std::int64_t first_row() const { return first_row_; }  // that weighs anything
    double mean_words() const { return mean_words_; }
    double mean_weight() const { return mean_weight_; }
    std::vector<T>& scale() { return scale_; }
    std::vector<std::uint64_t>& filled() { return filled_; }  // all rows, where entries are missing
    // What a row of weight 1 counts in the means; a batch that weighs more than others moves the model more.
    T share() const { return static_cast<T>(1 / (static_cast<double>(n_) * mean_weight_ * mean_words_)); }
    double total_weight() const {
        double sum = 0;
        for (std::int64_t i = 0; i < n_; ++i) sum += static_cast<double>(weight(i));
        return sum;
    }
    // How many rows there are, whatever the weights' scale: repetitions where all are multiples of the least, else as many
    // as tell as much as these do (Kish, "Survey Sampling", 1965): (sum w)^2 / sum w^2.
    double row_count() const {
        const std::int64_t n = x_.states.rows();
        double least = 0, sum = 0, squares = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            const double w = weight_of(i);
            if (w > 0 && (least == 0 || w < least)) least = w;
            sum += w;
            squares += w * w;
        }
        for (std::int64_t i = 0; i < n; ++i) {
            const double times = weight_of(i) / least;
            if (std::abs(times - std::round(times)) > 1e-5 * times) return sum * sum / squares;
        }
        return sum / least;
    }
    // What the rows at hand count together, words of bags included: 1 on average over a pass.
    double mass() const {
        if (!x_.weight && !layer_.counts()) return 1;
        double sum = 0;
        for (std::int64_t i = 0; i < n_; ++i) sum += static_cast<double>(weight(i)) * static_cast<double>(words(i));
        return sum * static_cast<double>(share());
    }

    // The sizes of m bags of the model are those of the data: at equal distances of the running sum of their weights, the
    // first at a share u of that distance. In order of size, so that a chain's bag is about as large from step to step:
    // hidden states belong to bags of one size.
    void choose_sizes(double u, std::int64_t m, std::vector<T>& sizes) const {
        sizes.resize(m);
        const double total = total_weight();
        const auto weighs = [&](std::int64_t i) { return total > 0 ? static_cast<double>(weight(i)) : 1.0; };
        const double distance = (total > 0 ? total : static_cast<double>(n_)) / static_cast<double>(m);
        std::vector<std::int64_t> by_size(n_);
        std::iota(by_size.begin(), by_size.end(), std::int64_t(0));
        std::stable_sort(by_size.begin(), by_size.end(), [&](std::int64_t a, std::int64_t b) { return words(a) < words(b); });
        std::int64_t r = 0;
        double end = weighs(by_size[0]);
        for (std::int64_t i = 0; i < m; ++i) {
            while (r + 1 < n_ && end <= (static_cast<double>(i) + u) * distance) end += weighs(by_size[++r]);
            sizes[i] = words(by_size[r]);
        }
    }

private:
    std::uint64_t mirrored_word(std::int64_t w) const { return mirrored_ ? mirrored_[w] : 0; }

    void read_numbers(std::int64_t row, T* to) const {
        StateBuffer<T>::read_row(x_.states, row, to);
        for (std::int64_t j = 0; j < layer_.units(); ++j) {
            to[j] /= scale_[j];
            if (mirrored_word(j / 64) >> (j % 64) & 1) to[j] = T(1) - to[j];
        }
    }

    // Choices are drawn as they stand, 1 and 0 being certain; beside gaussian units bits are numbers.
    void gather_drawn(const Draw& draw) {
        const std::int64_t units = layer_.units();
        const BitMatrix bits(bits_.data(), n_, units);
        const Matrix<T> to(dense_.data(), n_, units);
        drawn_row_.assign((units + 63) / 64 * 64, T(0));
        for (std::int64_t i = 0; i < n_; ++i) {
            read_numbers(row_[i], drawn_row_.data());
            for (std::int64_t w = 0; w < bits.words(); ++w) {
                const std::uint64_t word = bernoulli_kernels<T>().draw(draw, static_cast<std::uint32_t>(i), w, drawn_row_.data() + 64 * w);
                if (layer_.binary()) bits.row(i)[w] = word;
                for (std::int64_t j = 64 * w; !layer_.binary() && j < std::min(64 * (w + 1), units); ++j) {
                    to.row(i)[j] = bernoulli_[j] ? static_cast<T>(word >> (j % 64) & 1) : drawn_row_[j];
                }
            }
        }
        if (layer_.binary()) states_ = bits;
        else states_ = Matrix<const T>(to);
    }

    T count_words(std::int64_t i) const {
        double sum = 0;
        const States<T>& x = x_.states;
        if (x.is_sparse()) {
            for (std::int64_t k = x.sparse.indptr[i]; k < x.sparse.indptr[i + 1]; ++k) sum += x.sparse.values ? static_cast<double>(x.sparse.values[k]) : 1.0;
        } else {
            std::vector<T> row(layer_.units());
            StateBuffer<T>::read_row(x, i, row.data());
            for (const T value : row) sum += static_cast<double>(value);
        }
        return static_cast<T>(sum);
    }

    const UnitTrainingData<T>& x_;
    const Layer& layer_;
    const std::uint64_t* mirrored_ = nullptr;
    std::int64_t n_ = 0, first_row_ = 0;
    double mean_words_ = 1, mean_weight_ = 1;
    States<T> states_;
    std::vector<T> scale_;
    bool draws_;
    std::vector<T> drawn_row_, words_, exposure_, dense_, values_;
    std::vector<std::uint64_t> bits_, filled_;
    std::vector<std::int64_t> row_, starts_;
    std::vector<std::int32_t> indices_;
    std::vector<char> moves_, bernoulli_;
    std::unique_ptr<StateBuffer<T>> hidden_, visible_;
};

// Rows of states as columns: what a gradient contracts over, in a form of which any rows can be multiplied by themselves.
template <class T>
class Transposed {
public:
    void set(Context& context, const States<T>& a) {
        dense_ = a.dense;
        states_ = {};
        if (a.is_bits()) {
            words_.resize(a.cols() * BitMatrix::words_for(a.rows()));
            const BitMatrix bits(words_.data(), a.cols(), a.rows());
            transpose_bits(context, a.bits, bits);
            states_ = bits;
        } else if (a.is_sparse()) {
            sort(a.sparse);
        }
    }

    // block = rows [first, first + block.rows) of A^T P, or added to it; columns those of panel p.
    void multiply(std::int64_t first, Panels<const T> probabilities, std::int64_t p, bool accumulate, Matrix<T> block, T* scratch) const {
        if (dense_) {
            const Matrix<const T> x(dense_.data + first, dense_.rows, block.rows, dense_.stride);
            blas_gemm(T(1), x, true, probabilities.panel(p), false, T(accumulate), block);
            return;
        }
        panel_product(states_.rows_from(first, block.rows), Factor<T>(probabilities, false), p, accumulate, block, scratch);
    }

private:
    // By columns, counting: entries of a column stay in the order of their rows.
    void sort(const SparseRows<T>& a) {
        starts_.assign(a.cols + 1, 0);
        const std::int64_t entries = a.indptr[a.rows] - a.indptr[0];
        for (std::int64_t k = a.indptr[0]; k < a.indptr[a.rows]; ++k) ++starts_[a.indices[k] + 1];
        for (std::int64_t j = 0; j < a.cols; ++j) starts_[j + 1] += starts_[j];
        next_.assign(starts_.begin(), starts_.end() - 1);
        rows_.resize(std::max<std::int64_t>(entries, 1));
        values_.resize(a.values ? rows_.size() : 0);
        for (std::int64_t i = 0; i < a.rows; ++i) {
            for (std::int64_t k = a.indptr[i]; k < a.indptr[i + 1]; ++k) {
                const std::int64_t at = next_[a.indices[k]]++;
                rows_[at] = static_cast<std::int32_t>(i);
                if (a.values) values_[at] = a.values[k];
            }
        }
        states_ = SparseRows<T>{starts_.data(), rows_.data(), a.values ? values_.data() : nullptr, a.cols, a.rows};
    }

    Matrix<const T> dense_;
    States<T> states_;
    std::vector<std::uint64_t> words_;
    std::vector<std::int64_t> starts_, next_;
    std::vector<std::int32_t> rows_;
    std::vector<T> values_;
};

// By power iteration from v (any but zero), which is left where it ends.
template <class T>
double largest_singular_value(Panels<const T> w, std::vector<double>& v, int most_steps) {
    std::vector<double> u(w.rows);
    double norm = 0;
    for (int step = 0; step < most_steps; ++step) {
        double length = 0;
        for (const double x : v) length += x * x;
        if (length == 0) return 0;
        for (double& x : v) x /= std::sqrt(length);
        std::fill(u.begin(), u.end(), 0.0);
        for (std::int64_t j = 0; j < w.cols; ++j) {
            const Matrix<const T> panel = w.panel(j / 64);
            for (std::int64_t i = 0; i < w.rows; ++i) u[i] += static_cast<double>(panel.row(i)[j % 64]) * v[j];
        }
        const double before = norm;
        norm = 0;
        for (const double x : u) norm += x * x;
        norm = std::sqrt(norm);
        if (std::abs(norm - before) < 1e-9 * norm) break;
        for (std::int64_t j = 0; j < w.cols; ++j) {
            const Matrix<const T> panel = w.panel(j / 64);
            v[j] = 0;
            for (std::int64_t i = 0; i < w.rows; ++i) v[j] += static_cast<double>(panel.row(i)[j % 64]) * u[i];
        }
    }
    return norm;
}

}  // namespace harmonium
