#include <cmath>
#include <memory>

#include "cuda/unit_rbm.cuh"
#include "cuda_state.hpp"
#include "harmonium/math.hpp"
#include "harmonium/normal.hpp"
#include "likelihood_kernels.hpp"
#include "unit_pseudo_kernels.hpp"
#include "unit_states.hpp"

namespace harmonium {

namespace {

// Of one hidden unit: log integral exp(theta h) times its base measure.
double log_normaliser(UnitType type, double theta) {
    switch (type) {
        case UnitType::bernoulli: return softplus(theta);
        case UnitType::gaussian: return 0.5 * theta * theta + half_log_two_pi;
        default: return rectified_log_normaliser(theta);
    }
}

double log_sum_exp(const std::vector<double>& x) {
    const double largest = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const double value : x) sum += exp(value - largest);
    return largest + log(sum);
}

// The log integral over h given v is a sum over hidden units or choices; here for v with single units changed.
template <class T>
class Changes {
public:
    Changes(const UnitRbm<T>& model, double exposure, const T* activation)
        : model_(model), theta_(model.hidden.units()), moved_(theta_.size()) {
        for (std::size_t j = 0; j < theta_.size(); ++j) {
            theta_[j] = static_cast<double>(activation[j]) + exposure * static_cast<double>(model.hidden_bias[j]);
        }
    }

    // log integral over h when unit `off` (< 0: none) loses `less` and unit `on` gains `more`.
    double operator()(std::int64_t off, double less, std::int64_t on, double more) {
        moved_ = theta_;
        add(off, -less);
        add(on, more);
        double sum = 0;
        for (const UnitGroup& group : model_.hidden.groups) {
            if (group.type == UnitType::categorical) {
                sum += log_sum_exp({moved_.begin() + group.first, moved_.begin() + group.first + group.count});
                continue;
            }
            for (std::int64_t j = group.first; j < group.first + group.count; ++j) sum += log_normaliser(group.type, moved_[j]);
        }
        return sum;
    }

    // How far from its bias a gaussian unit can be given the others, 9 standard deviations included.
    double reach(std::int64_t unit, double value) const {
        const T* w = model_.weights.row(unit);
        double moves = 0, squares = 0;
        for (std::size_t j = 0; j < theta_.size(); ++j) {
            const auto weight = static_cast<double>(w[j]);
            const bool bounded = model_.hidden.groups[0].type == UnitType::bernoulli;
            moves += std::abs(weight) * (bounded ? 1.0 : std::abs(theta_[j] - weight * value) + 1);
            squares += bounded ? 0.0 : weight * weight;
        }
        const double variance = 1 / (1 - std::min(squares, 0.9999));  // of weights that leave a proper density
        return moves * variance + 9 * std::sqrt(variance);
    }

private:
    void add(std::int64_t unit, double amount) {
        if (unit < 0 || amount == 0) return;
        const T* w = model_.weights.row(unit);
        for (std::size_t j = 0; j < moved_.size(); ++j) moved_[j] += amount * static_cast<double>(w[j]);
    }

    const UnitRbm<T>& model_;
    std::vector<double> theta_, moved_;
};

template <class T>
double pseudo(const UnitRbm<T>& model, const T* v, double exposure, const T* activation) {
    Changes<T> log_integral(model, exposure, activation);
    const T* b = model.visible_bias;
    const double here = log_integral(-1, 0, -1, 0);
    double sum = 0;
    for (const UnitGroup& group : model.visible.groups) {
        const std::int64_t end = group.first + group.count;
        for (std::int64_t i = group.first; i < end; ++i) {
            const auto value = static_cast<double>(v[i]);
            if (group.type == UnitType::bernoulli) {
                const double flip = 1 - 2 * value;
                sum -= softplus(log_integral(-1, 0, i, flip) - here + flip * static_cast<double>(b[i]));
            } else if (group.type == UnitType::gaussian) {
                // Its density given the others: normals of variance 1, whose means h moves, or wider where h is unbounded.
                // The trapezoidal rule at 0.4 standard deviations is exact to rounding.
                const auto centre = static_cast<double>(b[i]);
                const double reach = log_integral.reach(i, value);
                const std::int64_t points = static_cast<std::int64_t>(std::ceil(2 * reach / 0.4)) + 1;
                const double low = centre - reach, width = 2 * reach / static_cast<double>(points - 1);
                std::vector<double> terms(points);
                for (std::int64_t k = 0; k < points; ++k) {
                    const double x = low + width * static_cast<double>(k);
                    terms[k] = log_integral(-1, 0, i, x - value) - 0.5 * (x - centre) * (x - centre);
                }
                sum += here - 0.5 * (value - centre) * (value - centre) - log_sum_exp(terms) - log(width);
            } else if (value != 0) {  // the choice that is on, or a word of the bag, against all others
                std::vector<double> terms(group.count);
                for (std::int64_t k = group.first; k < end; ++k) {
                    terms[k - group.first] =
                        (k == i ? here : log_integral(i, 1, k, 1)) + static_cast<double>(b[k]) - static_cast<double>(b[i]);
                }
                sum += value * (here - log_sum_exp(terms));
            }
        }
    }
    return sum;
}

// What every row asks of a model with bernoulli hidden units, in double.
struct Tables {
    static constexpr double largest_ratio = 15;  // above this |W|, exp(-|W|) - 1 loses more than 9 digits of 1 + p r
    static constexpr double fits = 700;          // what the log of a product in a double can be
    static constexpr double padding = -1e4;
    static constexpr double spacing = 0.4;

    std::int64_t length = 0, every = 0, most_terms = 0;  // every: factors 1 + p r
    bool by_ratios = false;
    AlignedVector<double> w, on, off;  // D x length: W, exp(W) - 1, exp(-W) - 1
    std::vector<double> row_sums;      // sum_j |W_ij|

    template <class T>
    Tables(Context& context, const UnitRbm<T>& model) : length((model.hidden.units() + 15) / 16 * 16), row_sums(model.visible.units()) {
        const std::int64_t visible = model.visible.units(), hidden = model.hidden.units();
        w.resize(visible * length);
        double largest = 0, largest_sum = 0;
        for (std::int64_t i = 0; i < visible; ++i) {
            for (std::int64_t j = 0; j < hidden; ++j) {
                const double value = w[i * length + j] = static_cast<double>(model.weights.row(i)[j]);
                row_sums[i] += std::abs(value);
                largest = std::max(largest, std::abs(value));
            }
            largest_sum = std::max(largest_sum, row_sums[i]);
        }
        bool bernoulli = false, others = false;
        most_terms = 1;
        for (const UnitGroup& group : model.visible.groups) {
            bernoulli |= group.type == UnitType::bernoulli;
            others |= group.type != UnitType::gaussian;
            most_terms = std::max(most_terms, group.type == UnitType::gaussian ? points(largest_sum + 9) : group.count);
        }
        by_ratios = others && largest <= largest_ratio;
        every = largest_sum < fits ? length : static_cast<std::int64_t>(fits / largest) / 16 * 16;
        if (!by_ratios) return;
        on.resize(w.size());
        off.resize(bernoulli ? w.size() : 0);
        const auto& kernels = likelihood_kernels<double>();
        context.parallel_for(visible, [&](std::int64_t i, int) {
            kernels.exp_minus(w.data() + i * length, length, 1, 1, on.data() + i * length);
            if (bernoulli) kernels.exp_minus(w.data() + i * length, length, -1, 1, off.data() + i * length);
        });
    }

    const double* weights(std::int64_t i) const { return w.data() + i * length; }
    // The trapezoidal rule at 0.4 standard deviations is exact to rounding.
    static std::int64_t points(double reach) { return static_cast<std::int64_t>(std::ceil(2 * reach / spacing)) + 1; }
    std::int64_t scratch() const { return 4 * length + (most_terms + 15) / 16 * 16; }
};

// As `pseudo`. theta: the hidden units' activations, followed by scratch.
template <class T>
double pseudo_of_bits(const UnitRbm<T>& model, const Tables& tables, const T* v, double* theta) {
    const auto& k = unit_pseudo_kernels<double>();
    const std::int64_t length = tables.length;
    double *p = theta + length, *shifted = p + length, *step = shifted + length, *terms = step + length;
    const T* b = model.visible_bias;
    const double here = k.softplus_sum(theta, theta, 0, length);
    k.probability(theta, theta, 0, length, p);
    double sum = 0;
    for (const UnitGroup& group : model.visible.groups) {
        for (std::int64_t i = group.first; i < group.first + group.count; ++i) {
            const auto value = static_cast<double>(v[i]);
            const double* w = tables.weights(i);
            if (group.type == UnitType::bernoulli) {
                const double flip = 1 - 2 * value;
                double change;
                if (tables.by_ratios && (value == 0 || value == 1)) {
                    k.products(p, (value == 0 ? tables.on : tables.off).data() + i * length, 1, length, tables.every, &change);
                } else {
                    change = k.softplus_sum(theta, w, flip, length) - here;
                }
                sum -= softplus(change + flip * static_cast<double>(b[i]));
            } else if (group.type == UnitType::gaussian) {
                // Its density given the others: normals of variance 1, whose means h moves.
                const auto centre = static_cast<double>(b[i]);
                const double reach = tables.row_sums[i] + 9;
                const std::int64_t n = Tables::points(reach);
                const double low = centre - reach, width = 2 * reach / static_cast<double>(n - 1);
                double largest = 0;
                for (std::int64_t j = 0; j < model.hidden.units(); ++j) {
                    largest = std::max({largest, theta[j] + (low - value) * w[j], theta[j] + (low + 2 * reach - value) * w[j],
                                        -theta[j] - (low - value) * w[j], -theta[j] - (low + 2 * reach - value) * w[j]});
                }
                const auto every = static_cast<std::int64_t>(Tables::fits / (largest + 0.7)) / 16 * 16;
                if (every > 0) {
                    k.odds(theta, w, low - value, length, shifted);
                    likelihood_kernels<double>().exp_minus(w, length, width, 0, step);
                    k.path(shifted, step, n, length, every, terms);
                } else {
                    for (std::int64_t s = 0; s < n; ++s) {
                        terms[s] = k.softplus_sum(theta, w, low + width * static_cast<double>(s) - value, length);
                    }
                }
                for (std::int64_t s = 0; s < n; ++s) {
                    const double x = low + width * static_cast<double>(s) - centre;
                    terms[s] -= 0.5 * x * x;
                }
                sum += here - 0.5 * (value - centre) * (value - centre) - k.log_sum_exp(terms, n) - log(width);
            } else if (value != 0) {  // the choice that is on, or a word of the bag, against all others
                if (tables.by_ratios) {
                    k.probability(theta, w, -1, length, shifted);
                    k.products(shifted, tables.on.data() + group.first * length, group.count, length, tables.every, terms);
                } else {
                    for (std::int64_t j = 0; j < length; ++j) shifted[j] = theta[j] - w[j];
                    for (std::int64_t c = 0; c < group.count; ++c) {
                        terms[c] = k.softplus_sum(shifted, tables.weights(group.first + c), 1, length);
                    }
                }
                for (std::int64_t c = 0; c < group.count; ++c) terms[c] += static_cast<double>(b[group.first + c]);
                sum += value * (terms[i - group.first] - k.log_sum_exp(terms, group.count));
            }
        }
    }
    return sum;
}

}  // namespace

template <class T>
void rbm_pseudo_log_likelihood(Context& context, const UnitRbm<T>& model, const UnitData<T>& v, double* out) {
    constexpr std::int64_t step = 256;
    check_model(model);
    const std::int64_t n = v.states.rows(), visible = model.visible.units(), hidden = model.hidden.units();
    require(v.states.cols() == visible, "RBM: X has ", v.states.cols(), " columns, the model has ", visible);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_pseudo_log_likelihood(context, model, v, out);
    }
    const PanelModel<T> panels(model);
    PanelMemory<T> memory(std::min(step, n), hidden);
    const bool bits = model.hidden.only(UnitType::bernoulli);
    std::unique_ptr<Tables> tables;
    if (bits) tables = std::make_unique<Tables>(context, model);
    const std::size_t doubles = bits ? tables->scratch() : 0;
    for (std::int64_t first = 0; first < n; first += step) {
        context.poll(static_cast<double>(first) / static_cast<double>(n));
        const std::int64_t count = std::min(step, n - first);
        const States<T> part = v.states.rows_from(first, count);
        const Panels<T> activation(memory.memory.data(), count, hidden);
        binary_gemm<T>(context, part, panels.weights.panels, false, false, activation);
        context.reserve_scratch(doubles * sizeof(double) + static_cast<std::size_t>(visible + hidden) * sizeof(T));
        context.parallel_for(count, [&](std::int64_t i, int worker) {
            double* theta = context.template scratch<double>(worker);
            T* row = reinterpret_cast<T*>(theta + doubles);
            T* a = row + visible;
            StateBuffer<T>::read_row(part, i, row);
            for (std::int64_t j = 0; j < hidden; ++j) a[j] = activation.at(i, j);
            const double words = v.exposure ? static_cast<double>(v.exposure[first + i]) : 1.0;
            if (bits) {
                std::fill(theta, theta + tables->length, Tables::padding);
                for (std::int64_t j = 0; j < hidden; ++j) {
                    theta[j] = static_cast<double>(a[j]) + words * static_cast<double>(model.hidden_bias[j]);
                }
                out[first + i] = pseudo_of_bits(model, *tables, row, theta);
                return;
            }
            out[first + i] = pseudo(model, row, words, a);
        });
    }
}
template void rbm_pseudo_log_likelihood(Context&, const UnitRbm<float>&, const UnitData<float>&, double*);
template void rbm_pseudo_log_likelihood(Context&, const UnitRbm<double>&, const UnitData<double>&, double*);

}  // namespace harmonium
