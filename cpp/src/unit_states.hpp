// Memory for states of a layer in the form that products read best, and a layer's conditional into it.
#pragma once

#include <algorithm>
#include <vector>

#include "aligned.hpp"
#include "enumeration.hpp"
#include "harmonium/bernoulli.hpp"
#include "harmonium/binary_gemm.hpp"
#include "harmonium/error.hpp"
#include "harmonium/math.hpp"
#include "harmonium/pack.hpp"
#include "harmonium/unit_rbm.hpp"

namespace harmonium {

template <class T>
class StateBuffer {
public:
    StateBuffer(const Layer& layer, std::int64_t capacity) : layer_(layer), rows_(capacity) {
        const std::int64_t units = layer.units();
        if (layer.binary()) words_.resize(capacity * BitMatrix::words_for(units));
        else if (!layer.counts()) dense_.resize(capacity * units);
    }

    // How many rows there are from now on; of bags, with how many words each.
    void resize(std::int64_t rows, const T* exposure) {
        rows_ = rows;
        if (!layer_.counts()) return;
        starts_.assign(1, 0);
        for (std::int64_t i = 0; i < rows; ++i) starts_.push_back(starts_.back() + static_cast<std::int64_t>(exposure[i]));
        tokens_.resize(std::max<std::size_t>(static_cast<std::size_t>(starts_.back()), 1));
    }

    DrawnStates<T> target() {
        DrawnStates<T> drawn;
        if (layer_.binary()) drawn.bits = bits();
        else if (layer_.counts()) drawn.tokens = tokens_.data(), drawn.starts = starts_.data();
        else drawn.dense = dense();
        return drawn;
    }
    BitMatrix bits() { return {words_.data(), rows_, layer_.units()}; }
    Matrix<T> dense() { return {dense_.data(), rows_, layer_.units()}; }
    States<T> states() const {
        const std::int64_t units = layer_.units();
        if (layer_.binary()) return ConstBitMatrix(words_.data(), rows_, units);
        if (layer_.counts()) return SparseRows<T>{starts_.data(), tokens_.data(), nullptr, rows_, units};
        return Matrix<const T>(dense_.data(), rows_, units);
    }

    // From states in any form; bags as they are, whatever their sizes.
    void assign(const States<T>& from) {
        rows_ = from.rows();
        if (layer_.counts()) {
            starts_.assign(1, 0);
            tokens_.clear();
            std::vector<T> row(layer_.units());
            for (std::int64_t i = 0; i < rows_; ++i) {
                read_row(from, i, row.data());
                for (std::int64_t j = 0; j < layer_.units(); ++j) tokens_.insert(tokens_.end(), static_cast<std::size_t>(row[j]), static_cast<std::int32_t>(j));
                starts_.push_back(static_cast<std::int64_t>(tokens_.size()));
            }
            if (tokens_.empty()) tokens_.resize(1);
            return;
        }
        std::vector<T> row(layer_.units());
        for (std::int64_t i = 0; i < rows_; ++i) {
            T* to = layer_.binary() ? row.data() : dense().row(i);
            read_row(from, i, to);
            if (!layer_.binary()) continue;
            std::uint64_t* words = bits().row(i);
            std::fill(words, words + bits().words(), 0);
            for (std::int64_t j = 0; j < layer_.units(); ++j) words[j / 64] |= static_cast<std::uint64_t>(to[j] != T(0)) << (j % 64);
        }
    }

    // Row i as numbers.
    static void read_row(const States<T>& x, std::int64_t i, T* to) {
        if (x.dense) {
            std::copy(x.dense.row(i), x.dense.row(i) + x.dense.cols, to);
            return;
        }
        std::fill(to, to + x.cols(), T(0));
        if (x.is_bits()) {
            for (std::int64_t j = 0; j < x.cols(); ++j) to[j] = static_cast<T>(x.bits.bit(i, j));
        } else {
            for (std::int64_t k = x.sparse.indptr[i]; k < x.sparse.indptr[i + 1]; ++k) {
                to[x.sparse.indices[k]] += x.sparse.values ? x.sparse.values[k] : T(1);
            }
        }
    }

private:
    const Layer& layer_;
    std::int64_t rows_;
    std::vector<std::uint64_t> words_;
    std::vector<T> dense_;
    std::vector<std::int64_t> starts_;
    std::vector<std::int32_t> tokens_;
};

// One layer of the model given the other.
template <class T>
struct Conditional {
    const Layer* layer = nullptr;
    Panels<const T> weights;
    bool transposed = false;      // the visible layer given the hidden one
    const T* bias = nullptr;
    T scale = 1;                  // of the weights
    const T* exposure = nullptr;
    Draw draw;
    std::uint32_t first_row = 0;

    Conditional(const Layer* layer_, Panels<const T> weights_, bool transposed_, const T* bias_, T scale_ = T(1),
                const T* exposure_ = nullptr)
        : layer(layer_), weights(weights_), transposed(transposed_), bias(bias_), scale(scale_), exposure(exposure_) {}

    // The mean goes to `mean` (n x units, needed in any case), draws to `states` unless null.
    void operator()(Context& context, const States<T>& given, Panels<T> mean, StateBuffer<T>* states,
                    double* log_normaliser = nullptr) const {
        if (states) states->resize(given.rows(), exposure);
        if (layer->only(UnitType::bernoulli) && !exposure && !log_normaliser) {
            LayerOutput<T> out;
            out.probability = mean;
            out.draw = draw;
            out.first_row = first_row;
            if (states) out.bits = states->bits();
            bernoulli_layer<T>(context, given, weights, transposed, bias, scale, out);
            return;
        }
        binary_gemm<T>(context, given, weights, transposed, false, mean);
        units<T>(context, *layer, bias, scale, exposure, draw, first_row, mean, states ? states->target() : DrawnStates<T>(),
                 log_normaliser);
    }
};

template <class T>
struct PanelMemory {
    AlignedVector<T> memory;
    Panels<T> panels;
    PanelMemory(std::int64_t rows, std::int64_t cols) : memory(Panels<T>::size(rows, cols)), panels(memory.data(), rows, cols) {}
    explicit PanelMemory(Matrix<const T> from) : PanelMemory(from.rows, from.cols) { to_panels<T>(from, panels); }
};

template <class T>
void check_model(const UnitRbm<T>& m) {
    check_layer(m.visible, "visible");
    check_layer(m.hidden, "hidden");
    require(m.visible.units() == m.weights.rows && m.hidden.units() == m.weights.cols, "RBM: weights ", m.weights.rows,
            " x ", m.weights.cols, ", layers of ", m.visible.units(), " and ", m.hidden.units(), " units");
    require(!m.hidden.counts(), "RBM: a bag of words is a visible layer");
}

// A model whose weights stand in panels.
template <class T>
struct PanelModel {
    const UnitRbm<T>& model;
    PanelMemory<T> weights;

    explicit PanelModel(const UnitRbm<T>& m) : model(m), weights(Matrix<const T>(m.weights)) { check_model(m); }
    Conditional<T> hidden() const { return {&model.hidden, weights.panels, false, model.hidden_bias}; }
    Conditional<T> visible() const { return {&model.visible, weights.panels, true, model.visible_bias}; }
};

// States first, first + 1, ... of a layer of bernoulli and categorical units, as set_units numbers them.
inline void enumerate_states(const Layer& layer, std::int64_t first, BitMatrix bits) {
    struct Row {
        std::uint64_t* words;
        void set(std::int64_t j) const { words[j / 64] |= std::uint64_t(1) << (j % 64); }
    };
    for (std::int64_t i = 0; i < bits.rows; ++i) {
        std::fill(bits.row(i), bits.row(i) + bits.words(), 0);
        set_units(layer.groups.data(), static_cast<std::int64_t>(layer.groups.size()), first + i, Row{bits.row(i)});
    }
}

// The layer whose states training by enumeration goes through: the one with fewer.
struct Enumeration {
    bool hidden = false;
    std::int64_t states = 0;

    Enumeration(const Layer& visible, const Layer& hidden_layer) {
        constexpr std::int64_t most = std::int64_t(1) << 14;
        const std::int64_t of_visible = count_states(visible), of_hidden = count_states(hidden_layer);
        hidden = of_hidden > 0 && (of_hidden <= of_visible || of_visible == 0);
        states = hidden ? of_hidden : of_visible;
        require(states > 0 && states <= most, "RBM: method=\"exact\" enumerates a layer of bernoulli or categorical units, "
                "the smaller one has ", states == 0 ? "too many or real" : message(states), " states, at most ", most, " are possible");
    }
};

// Biases at which independent units have these means.
template <class T>
void base_biases(const Layer& layer, const T* means, T* out) {
    for (const UnitGroup& group : layer.groups) {
        double total = 0;
        for (std::int64_t i = group.first; i < group.first + group.count; ++i) total += static_cast<double>(means[i]);
        for (std::int64_t i = group.first; i < group.first + group.count; ++i) {
            auto mean = static_cast<double>(means[i]);
            if (group.type == UnitType::bernoulli) {
                mean = std::clamp(mean, 0.005, 0.995);
                mean = log(mean) - log(1 - mean);
            } else if (group.type != UnitType::gaussian) {
                mean = log(std::max(mean, 0.1 * total / static_cast<double>(group.count)));
            }
            out[i] = static_cast<T>(mean);
        }
    }
}

// b x of row i, the part of the exponent that is linear in x.
template <class T>
double natural_term(const States<T>& x, std::int64_t i, const T* bias) {
    double sum = 0;
    if (x.is_bits()) {
        for (std::int64_t w = 0; w < x.bits.words(); ++w) {
            for (std::uint64_t word = x.bits.row(i)[w]; word; word &= word - 1) {
                sum += static_cast<double>(bias[64 * w + __builtin_ctzll(word)]);
            }
        }
    } else if (x.is_sparse()) {
        for (std::int64_t k = x.sparse.indptr[i]; k < x.sparse.indptr[i + 1]; ++k) {
            const double value = x.sparse.values ? static_cast<double>(x.sparse.values[k]) : 1.0;
            sum += value * static_cast<double>(bias[x.sparse.indices[k]]);
        }
    } else {
        for (std::int64_t j = 0; j < x.dense.cols; ++j) sum += static_cast<double>(x.dense.row(i)[j]) * static_cast<double>(bias[j]);
    }
    return sum;
}

// The sum of bias^2 / 2 over gaussian units, which their energies hold and their natural parameters do not.
template <class T>
double completed_square(const Layer& layer, const T* bias) {
    double sum = 0;
    for (const UnitGroup& group : layer.groups) {
        for (std::int64_t j = group.first; group.type == UnitType::gaussian && j < group.first + group.count; ++j) {
            sum += 0.5 * static_cast<double>(bias[j]) * static_cast<double>(bias[j]);
        }
    }
    return sum;
}

// The sum of x^2 / 2 over units that take real values.
template <class T>
double half_squares(const Layer& layer, const States<T>& x, std::int64_t i) {
    double sum = 0;
    if (!x.dense) return sum;
    for (const UnitGroup& group : layer.groups) {
        if (group.type != UnitType::gaussian && group.type != UnitType::relu) continue;
        for (std::int64_t j = group.first; j < group.first + group.count; ++j) {
            sum += 0.5 * static_cast<double>(x.dense.row(i)[j]) * static_cast<double>(x.dense.row(i)[j]);
        }
    }
    return sum;
}

// -E_layer of row i of x.
template <class T>
double own_term(const Layer& layer, const States<T>& x, std::int64_t i, const T* bias) {
    return natural_term(x, i, bias) - half_squares(layer, x, i) - completed_square(layer, bias);
}

}  // namespace harmonium
