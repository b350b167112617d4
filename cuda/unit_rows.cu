#include "unit_rows.cuh"

#include "cover.cuh"
#include "launch.cuh"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

// log sum exp of what is added.
struct LogSum {
    double largest = -1e300, sum = 0;
    __device__ void add(double x) {
        if (x > largest) {
            sum = sum * exp(largest - x) + 1;
            largest = x;
        } else {
            sum += exp(x - largest);
        }
    }
    __device__ double value() const { return largest + log(sum); }
};

template <class T>
__global__ void numbers_kernel(LayerRows<T> rows, Matrix<T> out) {
    for (std::int64_t i = own_y(); i < out.rows; i += stride_y()) {
        if (const std::int64_t j = own_x(); j < out.cols) out.row(i)[j] = rows.value(i, j);
    }
}

// A block takes a row.
template <class T>
__global__ void terms_kernel(RowTerms<T> t) {
    const double share = t.share ? *t.share : 1.0;
    for (std::int64_t i = blockIdx.x; i < t.rows; i += gridDim.x) {
        double sum = 0;
        for (std::int64_t j = threadIdx.x; j < t.units; j += blockDim.x) {
            const auto x = static_cast<double>(t.x.value(i, j));
            sum += x * ((t.bias ? static_cast<double>(t.bias[j]) : t.slope[j]) - (t.curve ? t.curve[j] * x : 0.0));
        }
        sum = block_sum(sum);
        if (threadIdx.x > 0) continue;
        sum = share * sum + (t.plus ? t.plus[i] : 0.0) - (t.minus ? t.minus[i] : 0.0);
        t.out[i] = t.add ? t.out[i] + sum : sum;
    }
}

// Hidden units of a row, integrated over, where v is changed; a warp works on it.
template <class T>
struct Integral {
    const UnitPseudo<T>& p;
    const T* activation;
    double exposure;

    __device__ double theta(std::int64_t j) const { return static_cast<double>(activation[j]) + exposure * static_cast<double>(p.hidden_bias[j]); }
    // By how much the log integral grows where the visible unit `on` gains `amount`, and `off` (null: none) loses 1; for all lanes.
    __device__ double change(const T* on, double amount, const T* off) const {
        const auto moved = [&](std::int64_t j) {
            return theta(j) + amount * static_cast<double>(on[j]) - (off ? static_cast<double>(off[j]) : 0.0);
        };
        double sum = 0;
        for (std::int64_t j = threadIdx.x % 32; j < p.hidden.units; j += 32) {
            const UnitType type = p.hidden.types[j];
            if (type != UnitType::categorical) sum += log_normaliser_of(type, moved(j)) - log_normaliser_of(type, theta(j));
        }
        for (std::int64_t g = threadIdx.x % 32; g < p.hidden.n_choices; g += 32) {
            const UnitGroup group = p.hidden.choices[g];
            LogSum before, after;
            for (std::int64_t j = group.first; j < group.first + group.count; ++j) before.add(theta(j)), after.add(moved(j));
            sum += after.value() - before.value();
        }
        return warp_sum(sum);
    }
};

// Its density given the others: normals of variance 1, whose means h moves, or wider where h is unbounded. The trapezoidal rule at
// 0.4 standard deviations is exact to rounding.
template <class T>
__device__ double gaussian_term(const Integral<T>& integral, std::int64_t unit, double value) {
    const UnitPseudo<T>& p = integral.p;
    const T* w = p.weights.row(unit);
    const auto centre = static_cast<double>(p.visible_bias[unit]);
    double moves = 0, squares = 0;
    for (std::int64_t j = threadIdx.x % 32; j < p.weights.cols; j += 32) {
        const auto weight = static_cast<double>(w[j]), size = weight < 0 ? -weight : weight, rest = integral.theta(j) - weight * value;
        moves += size * (p.bounded ? 1.0 : (rest < 0 ? -rest : rest) + 1);
        squares += p.bounded ? 0.0 : weight * weight;
    }
    moves = warp_sum(moves), squares = warp_sum(squares);
    const double variance = 1 / (1 - (squares < 0.9999 ? squares : 0.9999)), reach = moves * variance + 9 * sqrt(variance);
    const std::int64_t points = static_cast<std::int64_t>(ceil(2 * reach / 0.4)) + 1;
    const double low = centre - reach, width = 2 * reach / static_cast<double>(points - 1);
    LogSum all;
    for (std::int64_t k = 0; k < points; ++k) {
        const double x = low + width * static_cast<double>(k);
        all.add(integral.change(w, x - value, nullptr) - 0.5 * (x - centre) * (x - centre));
    }
    return -0.5 * (value - centre) * (value - centre) - all.value() - log(width);
}

constexpr unsigned pseudo_threads = 256;

// A block takes a row, its warps the units.
template <class T>
__global__ void pseudo_kernel(UnitPseudo<T> p) {
    for (std::int64_t i = blockIdx.x; i < p.activation.rows; i += gridDim.x) {
        const Integral<T> integral{p, p.activation.row(i), p.exposure ? static_cast<double>(p.exposure[i]) : 1.0};
        double sum = 0;
        for (std::int64_t unit = threadIdx.x / 32; unit < p.weights.rows; unit += pseudo_threads / 32) {
            const UnitGroup group = p.groups[unit];
            const auto value = static_cast<double>(p.v.value(i, unit)), bias = static_cast<double>(p.visible_bias[unit]);
            const T* w = p.weights.row(unit);
            if (group.type == UnitType::bernoulli) {
                const double flip = 1 - 2 * value;
                sum -= softplus(integral.change(w, flip, nullptr) + flip * bias);
            } else if (group.type == UnitType::gaussian) {
                sum += gaussian_term(integral, unit, value);
            } else if (value != 0) {  // the choice that is on, or a word of the bag, against all others
                LogSum all;
                for (std::int64_t k = group.first; k < group.first + group.count; ++k) {
                    const double change = k == unit ? 0.0 : integral.change(p.weights.row(k), 1, w);
                    all.add(change + static_cast<double>(p.visible_bias[k]) - bias);
                }
                sum -= value * all.value();
            }
        }
        sum = block_sum(threadIdx.x % 32 == 0 ? sum : 0.0);  // all lanes of a warp have the same
        if (threadIdx.x == 0) p.out[i] = sum;
    }
}

}  // namespace

template <class T>
void numbers_of(State& state, const LayerRows<T>& rows, Matrix<T> out) {
    const Cover over = cover(out.rows, out.cols);
    if (out.rows && out.cols) launch(state.stream, numbers_kernel<T>, over.grid, over.block, 0, rows, out);
}
template <class T>
void row_terms(State& state, const RowTerms<T>& terms) {
    if (terms.rows) launch(state.stream, terms_kernel<T>, blocks_for(terms.rows, 1), 128, 0, terms);
}

template <class T>
void pseudo_log_likelihood(State& state, const UnitPseudo<T>& p) {
    if (p.activation.rows) launch(state.stream, pseudo_kernel<T>, blocks_for(p.activation.rows, 1), pseudo_threads, 0, p);
}

#define HARMONIUM_INSTANTIATE(T)                                            \
    template void numbers_of(State&, const LayerRows<T>&, Matrix<T>);       \
    template void row_terms(State&, const RowTerms<T>&);                    \
    template void pseudo_log_likelihood(State&, const UnitPseudo<T>&);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
