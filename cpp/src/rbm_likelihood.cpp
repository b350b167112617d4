#include "harmonium/rbm_likelihood.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "aligned.hpp"
#include "cuda/rbm.cuh"
#include "cuda_state.hpp"
#include "harmonium/bernoulli.hpp"
#include "harmonium/binary_gemm.hpp"
#include "harmonium/error.hpp"
#include "harmonium/math.hpp"
#include "harmonium/pack.hpp"
#include "likelihood_kernels.hpp"
#include "smaller_layer.hpp"

namespace harmonium {

namespace {

constexpr double largest_odds = 600;
constexpr std::int64_t rows_together = 8;    // whose pseudo-likelihoods share each fetch of the weights

// b.x per row, in double.
template <class T>
double bias_term(const States<T>& x, std::int64_t row, const T* bias) {
    double sum = 0;
    if (x.is_bits()) {
        for (std::int64_t w = 0; w < x.bits.words(); ++w) {
            for (std::uint64_t word = x.bits.row(row)[w]; word; word &= word - 1) {
                sum += static_cast<double>(bias[64 * w + __builtin_ctzll(word)]);
            }
        }
    } else if (x.is_sparse()) {
        for (std::int64_t k = x.sparse.indptr[row]; k < x.sparse.indptr[row + 1]; ++k) {
            const double value = x.sparse.values ? static_cast<double>(x.sparse.values[k]) : 1.0;
            sum += value * static_cast<double>(bias[x.sparse.indices[k]]);
        }
    } else {
        for (std::int64_t i = 0; i < x.dense.cols; ++i) {
            sum += static_cast<double>(x.dense.row(row)[i]) * static_cast<double>(bias[i]);
        }
    }
    return sum;
}

template <class T>
struct Weights {
    AlignedVector<T> memory;
    Panels<const T> panels;

    explicit Weights(const Rbm<T>& model) : memory(Panels<T>::size(model.visible(), model.hidden())) {
        to_panels<T>(model.weights, {memory.data(), model.visible(), model.hidden()});
        panels = Panels<const T>(memory.data(), model.visible(), model.hidden());
    }
};

}  // namespace

template <class T>
void rbm_free_energy(Context& context, const Rbm<T>& model, const States<T>& v, double* out) {
    constexpr std::int64_t step = 4096;
    require(v.cols() == model.visible(), "RBM: X has ", v.cols(), " columns, the model has ", model.visible());
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_free_energy(context, model, v, out);
    }
    const Weights<T> weights(model);
    const std::int64_t panels = weights.panels.count();
    std::vector<double> sums(panels * std::min(step, v.rows()));
    for (std::int64_t first = 0; first < v.rows(); first += step) {
        context.poll(static_cast<double>(first) / static_cast<double>(v.rows()));
        const std::int64_t count = std::min(step, v.rows() - first);
        const States<T> part = v.rows_from(first, count);
        LayerOutput<T> layer;
        layer.softplus = {sums.data(), panels, count};
        bernoulli_layer<T>(context, part, weights.panels, false, model.hidden_bias, T(1), layer);
        for (std::int64_t i = 0; i < count; ++i) {
            out[first + i] = -bias_term(part, i, model.visible_bias);
            for (std::int64_t p = 0; p < panels; ++p) out[first + i] -= layer.softplus.row(p)[i];
        }
    }
}

template <class T>
void rbm_pseudo_log_likelihood(Context& context, const Rbm<T>& model, const States<T>& v, double* out,
                               const std::int64_t* units, std::int64_t n_units) {
    constexpr std::int64_t step = 256;
    const std::int64_t visible = model.visible(), hidden = model.hidden(), length = padded_length(hidden);
    require(v.cols() == visible, "RBM: X has ", v.cols(), " columns, the model has ", visible);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_pseudo_log_likelihood(context, model, v, out, units, n_units);
    }
    const Weights<T> weights(model);
    const auto& kernels = likelihood_kernels<double>();
    std::vector<std::int64_t> all(units ? 0 : visible);
    std::iota(all.begin(), all.end(), std::int64_t(0));
    Flips flips{};
    flips.units = units ? units : all.data();
    flips.n = units ? n_units : visible;
    flips.length = length;
    AlignedVector<double> w(flips.n * length), on_flip, off_flip;
    std::vector<double> bias(flips.n), row_sums(flips.n);
    for (std::int64_t i = 0; i < flips.n; ++i) {
        const T* row = model.weights.row(flips.units[i]);
        for (std::int64_t j = 0; j < hidden; ++j) {
            const auto value = static_cast<double>(row[j]);
            w[i * length + j] = value;
            row_sums[i] += std::abs(value);
            flips.largest = std::max(flips.largest, std::abs(value));
        }
        bias[i] = static_cast<double>(model.visible_bias[flips.units[i]]);
    }
    const bool by_ratios = v.bits_only() && flips.largest <= largest_ratio;
    if (by_ratios) {
        on_flip.resize(w.size());
        off_flip.resize(w.size());
        context.parallel_for(flips.n, [&](std::int64_t i, int) {
            kernels.exp_minus(w.data() + i * length, length, 1, 1, on_flip.data() + i * length);
            kernels.exp_minus(w.data() + i * length, length, -1, 1, off_flip.data() + i * length);
        });
    }
    flips.bias = bias.data();
    flips.weights = w.data();
    flips.on_flip = on_flip.data();
    flips.off_flip = off_flip.data();
    flips.row_sums = row_sums.data();

    const std::int64_t rows = std::min(step, v.rows());
    AlignedVector<T> activations(Panels<T>::size(rows, hidden));
    std::vector<std::uint64_t> words(v.is_sparse() && by_ratios ? rows * BitMatrix::words_for(visible) : 0);
    for (std::int64_t first = 0; first < v.rows(); first += step) {
        context.poll(static_cast<double>(first) / static_cast<double>(v.rows()));
        const std::int64_t count = std::min(step, v.rows() - first);
        States<T> part = v.rows_from(first, count);
        const Panels<T> activation(activations.data(), count, hidden);
        binary_gemm<T>(context, part, weights.panels, false, false, activation);
        if (!words.empty()) {
            const BitMatrix bits(words.data(), count, visible);
            pack_bits(part.sparse, bits);
            part = bits;
        }
        const std::int64_t group = by_ratios ? rows_together : 1;
        context.reserve_scratch(static_cast<std::size_t>(group * length + visible) * sizeof(double));
        context.parallel_for((count + group - 1) / group, [&](std::int64_t task, int worker) {
            const std::int64_t from = task * group, n = std::min(group, count - from);
            double* a = context.template scratch<double>(worker);
            std::fill(a, a + n * length, padding_activation);
            for (std::int64_t i = 0; i < n; ++i) {
                for (std::int64_t j = 0; j < hidden; ++j) {
                    a[i * length + j] =
                        static_cast<double>(activation.at(from + i, j)) + static_cast<double>(model.hidden_bias[j]);
                }
            }
            if (by_ratios) {
                kernels.pseudo(part.bits.rows_from(from, n), a, flips, out + first + from);
                return;
            }
            double* x = a + length;
            for (std::int64_t k = 0; k < visible; ++k) {
                x[k] = part.is_bits() ? static_cast<double>(part.bits.bit(from, k))
                       : part.dense   ? static_cast<double>(part.dense.row(from)[k])
                                      : 0.0;
            }
            if (part.is_sparse()) {
                for (std::int64_t k = part.sparse.indptr[from]; k < part.sparse.indptr[from + 1]; ++k) {
                    x[part.sparse.indices[k]] = part.sparse.values ? static_cast<double>(part.sparse.values[k]) : 1.0;
                }
            }
            out[first + from] = kernels.pseudo_any(x, a, flips);
        });
    }
}

template <class T>
double rbm_log_partition(Context& context, const Rbm<T>& model) {
    constexpr std::int64_t inner = 10;  // units of a task: 2^10 multiplications in a row keep 12 digits
    SmallerLayer layer(model);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_log_partition(context, layer);
    }
    const std::int64_t units = layer.units, length = layer.length;
    const auto& kernels = likelihood_kernels<double>();
    const bool by_odds = layer.reach < largest_odds;
    AlignedVector<double> up(layer.rows.size()), down(layer.rows.size());
    kernels.exp_minus(layer.rows.data(), units * length, 1, 0, up.data());
    kernels.exp_minus(layer.rows.data(), units * length, -1, 0, down.data());

    const int low = static_cast<int>(std::min(inner, units));
    const std::int64_t tasks = std::int64_t(1) << (units - low);
    std::vector<LogSum> parts(tasks);
    context.reserve_scratch(static_cast<std::size_t>(length) * sizeof(double));
    constexpr std::int64_t between_polls = 256;
    for (std::int64_t from = 0; from < tasks; from += between_polls) {
        context.poll(static_cast<double>(from) / static_cast<double>(tasks));
        context.parallel_for(std::min(between_polls, tasks - from), [&](std::int64_t task, int worker) {
            double* a = context.scratch<double>(worker);
            std::copy(layer.start.begin(), layer.start.end(), a);
            double bias_sum = 0;
            for (std::uint64_t on = static_cast<std::uint64_t>(from + task); on; on &= on - 1) {
                const int k = low + __builtin_ctzll(on);
                bias_sum += layer.bias[static_cast<std::size_t>(k)];
                for (std::int64_t j = 0; j < layer.others; ++j) a[j] += layer.row(k)[j];
            }
            if (by_odds) {
                kernels.exp_minus(a, length, 1, 0, a);
                parts[from + task] = kernels.gray(low, layer.bias.data(), up.data(), down.data(), bias_sum, a, length, layer.factors());
            } else {
                parts[from + task] = kernels.gray_any(low, layer.bias.data(), layer.rows.data(), bias_sum, a, length);
            }
        });
    }
    return log_of_sum(parts);
}

double rbm_base_log_partition(const double* base, std::int64_t visible, std::int64_t hidden) {
    double sum = static_cast<double>(hidden) * 0.6931471805599453;
    for (std::int64_t i = 0; i < visible; ++i) sum += softplus(base[i]);
    return sum;
}

template <class T>
void rbm_anneal(Context& context, const Rbm<T>& model, const double* base, const double* betas, std::int64_t n_betas,
                ConstBitMatrix start, std::uint64_t seed, std::int64_t n_runs, double* log_weights) {
    const std::int64_t visible = model.visible(), hidden = model.hidden();
    require(n_runs >= 1, "log_partition: n_runs=", n_runs, ", at least 1 is needed");
    require(n_betas >= 2, "log_partition: ", n_betas, " temperatures, at least 2 are needed");
    for (std::int64_t k = 0; k < n_betas; ++k) {
        require(betas[k] >= 0 && betas[k] <= 1, "log_partition: beta ", betas[k], " is not in [0, 1]");
    }
    require(start || betas[0] == 0, "log_partition: runs from the base model start at beta 0, not ", betas[0]);
    require(!start || (start.rows == n_runs && start.cols == visible), "log_partition: start is ", start.rows, " x ",
            start.cols, ", not ", n_runs, " x ", visible);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::rbm_anneal(context, model, base, betas, n_betas, start, seed, n_runs, log_weights);
    }
    const Weights<T> weights(model);
    const std::int64_t panels = weights.panels.count();
    std::vector<std::uint64_t> v_words(n_runs * BitMatrix::words_for(visible)), h_words(n_runs * BitMatrix::words_for(hidden));
    const BitMatrix v(v_words.data(), n_runs, visible), h(h_words.data(), n_runs, hidden);
    std::vector<T> visible_bias(visible), hidden_bias(hidden), hidden_before(hidden), base_t(base, base + visible);
    std::vector<double> now(panels * n_runs), before(panels * n_runs);
    const auto set_biases = [&](double beta, std::vector<T>& c) {
        for (std::int64_t i = 0; i < visible; ++i) {
            visible_bias[i] = static_cast<T>((1 - beta) * base[i] + beta * static_cast<double>(model.visible_bias[i]));
        }
        for (std::int64_t j = 0; j < hidden; ++j) c[j] = static_cast<T>(beta * static_cast<double>(model.hidden_bias[j]));
    };
    if (start) {
        for (std::int64_t i = 0; i < n_runs; ++i) std::copy(start.row(i), start.row(i) + v.words(), v.row(i));
    } else {
        std::vector<T> zeros(n_runs * visible);
        bernoulli<T>(context, Matrix<const T>(zeros.data(), n_runs, visible), base_t.data(), T(1),
                     {seed, Stream::start, 0}, 0, {}, v);
    }
    std::fill(log_weights, log_weights + n_runs, 0.0);
    for (std::int64_t k = 1; k < n_betas; ++k) {
        context.poll(static_cast<double>(k) / static_cast<double>(n_betas));
        set_biases(betas[k - 1], hidden_before);
        set_biases(betas[k], hidden_bias);
        const double difference = betas[k] - betas[k - 1];
        for (std::int64_t i = 0; i < n_runs; ++i) {
            log_weights[i] += difference * (bias_term<T>(v, i, model.visible_bias) - bias_term<double>(v, i, base));
        }
        LayerOutput<T> out;
        out.bits = h;
        out.draw = {seed, Stream::hidden, static_cast<std::uint64_t>(k)};
        out.softplus = {now.data(), panels, n_runs};
        out.other_softplus = {before.data(), panels, n_runs};
        out.other_bias = hidden_before.data();
        out.other_scale = static_cast<T>(betas[k - 1]);
        bernoulli_layer<T>(context, v, weights.panels, false, hidden_bias.data(), static_cast<T>(betas[k]), out);
        for (std::int64_t i = 0; i < n_runs; ++i) {
            for (std::int64_t p = 0; p < panels; ++p) log_weights[i] += now[p * n_runs + i] - before[p * n_runs + i];
        }
        LayerOutput<T> back;
        back.bits = v;
        back.draw = {seed, Stream::visible, static_cast<std::uint64_t>(k)};
        bernoulli_layer<T>(context, h, weights.panels, true, visible_bias.data(), static_cast<T>(betas[k]), back);
    }
}

#define HARMONIUM_INSTANTIATE(T)                                                                                      \
    template void rbm_free_energy(Context&, const Rbm<T>&, const States<T>&, double*);                                \
    template void rbm_pseudo_log_likelihood(Context&, const Rbm<T>&, const States<T>&, double*, const std::int64_t*,  \
                                            std::int64_t);                                                            \
    template double rbm_log_partition(Context&, const Rbm<T>&);                                                       \
    template void rbm_anneal(Context&, const Rbm<T>&, const double*, const double*, std::int64_t, ConstBitMatrix,     \
                             std::uint64_t, std::int64_t, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
