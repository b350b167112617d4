#include "harmonium/lasso.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "blas.hpp"
#include "cuda/lasso.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"
#include "harmonium/gemm.hpp"
#include "lasso_solver.hpp"

namespace harmonium {

namespace {

// Beyond, D D^T (134 MB) costs more memory than time is won.
constexpr std::int64_t most_atoms_with_gram = 4096;
constexpr std::int64_t most_numbers = 1 << 20;  // in each of the arrays for the rows coded at a time

template <class T>
void widen(Matrix<const T> from, std::int64_t stride, AlignedVector<double>& to) {
    to.assign(static_cast<std::size_t>(from.rows * stride), 0.0);
    for (std::int64_t i = 0; i < from.rows; ++i) std::copy(from.row(i), from.row(i) + from.cols, to.data() + i * stride);
}

double trace_bound(Context& context, Matrix<const double> d) {
    if (d.rows == 0 || d.cols == 0) return 0;
    const bool by_rows = d.rows <= d.cols;
    const std::int64_t n = by_rows ? d.rows : d.cols;
    AlignedVector<double> power(static_cast<std::size_t>(n * n)), square(power.size());
    gemm<double>(context, 1, d, !by_rows, d, by_rows, 0, Matrix<double>(power.data(), n, n));
    double log_scale = 0, share = 1;  // power = M^(1 / share) / exp(log_scale / share)
    for (int squaring = 0;; ++squaring) {
        double norm = 0;
        for (double value : power) norm += value * value;
        norm = std::sqrt(norm);
        if (norm == 0) return 0;
        // The Frobenius norm of M^k is trace(M^2k)^(1/2): the bound of M^k, taken to the power 1 / k.
        log_scale += share * std::log(norm);
        if (squaring == 7) return std::exp(log_scale) * (1 + 1e-12);
        for (double& value : power) value /= norm;
        const Matrix<const double> m(power.data(), n, n);
        gemm<double>(context, 1, m, false, m, false, 0, Matrix<double>(square.data(), n, n));
        power.swap(square);
        share /= 2;
    }
}

}  // namespace

template <class T>
double lipschitz_bound(Context& context, Matrix<const T> dictionary) {
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::lipschitz_bound<T>(context, dictionary);
    }
    AlignedVector<double> wide;
    widen(dictionary, dictionary.cols, wide);
    return trace_bound(context, Matrix<const double>(wide.data(), dictionary.rows, dictionary.cols));
}

template <class T>
void LassoSolver<T>::set_dictionary(Matrix<const T> dictionary, std::int64_t rows, bool masked) {
    atoms_ = dictionary.rows;
    features_ = dictionary.cols;
    masked_ = masked;
    capacity_ = std::min(atoms_, features_ + 64);
    const std::int64_t stride = lasso_padded(features_), atom_stride = lasso_padded(atoms_);
    widen(dictionary, stride, dictionary_);
    const Matrix<const double> d(dictionary_.data(), atoms_, features_, stride);
    with_gram_ = !masked && atoms_ <= most_atoms_with_gram && 4 * rows >= atoms_;
    if (with_gram_) {
        gram_.assign(static_cast<std::size_t>(atoms_ * atom_stride), 0.0);
        gemm<double>(context_, 1, d, false, d, true, 0, Matrix<double>(gram_.data(), atoms_, atoms_, atom_stride));
    }
    if (options_.algorithm != LassoAlgorithm::cd) {
        lipschitz_ = trace_bound(context_, d);
        if (lipschitz_ == 0) lipschitz_ = 1;  // any step leads codes on atoms of zeros to zero
    }
    most_rows_ = std::clamp(most_numbers / std::max(atoms_, features_), block, std::clamp<std::int64_t>(rows, block, 4096));
    x_.assign(static_cast<std::size_t>(most_rows_ * stride), 0.0);
    observed_.assign(masked ? x_.size() : 0, 0.0);
    correlations_.assign(static_cast<std::size_t>(most_rows_ * atom_stride), 0.0);
    codes_.resize(static_cast<std::size_t>(most_rows_ * atoms_));
    penalty_.resize(static_cast<std::size_t>(2 * atom_stride));
    left_.resize(static_cast<std::size_t>(most_rows_));
    context_.reserve_scratch(static_cast<std::size_t>(scratch_bytes()));
}

template <class T>
std::int64_t LassoSolver<T>::scratch_bytes() const {
    const std::int64_t capacity = lasso_padded(capacity_);
    const std::int64_t numbers = 7 * lasso_padded(atoms_) + lasso_padded(features_) + 6 * capacity +
                                 capacity_ * (2 * capacity + (masked_ ? lasso_padded(features_) : 0));
    return numbers * 8 + (2 * lasso_padded(atoms_) + capacity) * 4;
}

template <class T>
LassoScratch<double> LassoSolver<T>::carve(void* memory) const {
    const std::int64_t atoms = lasso_padded(atoms_), features = lasso_padded(features_), capacity = lasso_padded(capacity_);
    auto* next = static_cast<double*>(memory);
    const auto take = [&](std::int64_t n) { return std::exchange(next, next + n); };
    LassoScratch<double> s;
    for (double** row : {&s.codes, &s.previous, &s.correlation, &s.previous_correlation, &s.minus, &s.alpha, &s.inverse_alpha}) {
        *row = take(atoms);
    }
    s.residual = take(features);
    s.local_gram = take(capacity_ * capacity);
    s.inverse = take(capacity_ * capacity);
    s.masked = masked_ ? take(capacity_ * features) : nullptr;
    for (double** values : {&s.value, &s.gradient, &s.penalty, &s.step, &s.slope, &s.weight}) *values = take(capacity);
    auto* index = reinterpret_cast<std::int32_t*>(next);
    s.found = index;
    s.slot_of = index + atoms;
    s.atom_of = index + 2 * atoms;
    s.capacity = capacity_;
    s.capacity_stride = capacity;
    return s;
}

template <class T>
void LassoSolver<T>::set_penalty(const double* alpha, std::int64_t stride, double* own, double* inverse) const {
    for (std::int64_t j = 0; j < lasso_padded(atoms_); ++j) {
        own[j] = j < atoms_ ? alpha[j * stride] : std::numeric_limits<double>::infinity();
        inverse[j] = 1 / own[j];
    }
}

// Rows [first, last) in double, with 0 where an entry is missing, and their correlations with every atom.
template <class T>
void LassoSolver<T>::prepare(Matrix<const T> x, Matrix<const std::uint8_t> observed, std::int64_t first, std::int64_t last) {
    const std::int64_t stride = lasso_padded(features_), atom_stride = lasso_padded(atoms_);
    for (std::int64_t i = first; i < last; ++i) {
        double* to = x_.data() + i * stride;
        std::copy(x.row(i), x.row(i) + features_, to);
        if (!observed) continue;
        for (std::int64_t f = 0; f < features_; ++f) {
            const bool there = observed.row(i)[f] != 0;
            observed_[static_cast<std::size_t>(i * stride + f)] = there;
            if (!there) to[f] = 0;
        }
    }
    blas_gemm(1, Matrix<const double>(x_.data() + first * stride, last - first, features_, stride), false,
              Matrix<const double>(dictionary_.data(), atoms_, features_, stride), true, 0,
              Matrix<double>(correlations_.data() + first * atom_stride, last - first, atoms_, atom_stride));
}

template <class T>
std::int64_t LassoSolver<T>::encode(Matrix<const T> x, LassoPenalty alpha, Matrix<const std::uint8_t> observed,
                                    Matrix<T> codes, double* gaps, std::int32_t* n_iter, double* objectives) {
    const std::int64_t stride = lasso_padded(features_), atom_stride = lasso_padded(atoms_), rows = x.rows;
    if (alpha.row_stride == 0) set_penalty(alpha.data, alpha.col_stride, penalty_.data(), penalty_.data() + atom_stride);
    const LassoKernels<double>& kernels = lasso_kernels<double>();
    const auto solve = options_.algorithm == LassoAlgorithm::cd      ? kernels.cd
                       : options_.algorithm == LassoAlgorithm::fista ? kernels.fista
                                                                     : kernels.ista;
    // Rows go all the way on one thread: fewer would pack the dictionary too often, more would leave threads idle at the end.
    constexpr std::int64_t rows_a_task = 32;
    context_.parallel_for((rows + rows_a_task - 1) / rows_a_task, [&](std::int64_t task, int worker) {
        LassoScratch<double> scratch = carve(context_.scratch<unsigned char>(worker));
        LassoRow<double> row;
        row.atoms = atoms_;
        row.features = features_;
        row.dictionary = dictionary_.data();
        row.dictionary_stride = stride;
        row.gram = with_gram_ ? gram_.data() : nullptr;
        row.gram_stride = atom_stride;
        row.lipschitz = lipschitz_;
        row.tol = options_.tol;
        row.max_iter = options_.max_iter;
        row.positive = options_.positive;
        row.float_codes = sizeof(T) == 4;
        const std::int64_t first = task * rows_a_task, last = std::min(rows, first + rows_a_task);
        prepare(x, observed, first, last);
        for (std::int64_t i = first; i < last; ++i) {
            row.x = x_.data() + i * stride;
            row.observed = observed ? observed_.data() + i * stride : nullptr;
            row.start_correlations = correlations_.data() + i * atom_stride;
            row.alpha = alpha.row_stride ? scratch.alpha : penalty_.data();
            row.inverse_alpha = alpha.row_stride ? scratch.inverse_alpha : penalty_.data() + atom_stride;
            if (alpha.row_stride) {
                set_penalty(alpha.data + i * alpha.row_stride, alpha.col_stride, scratch.alpha, scratch.inverse_alpha);
            }
            row.codes = codes_.data() + i * atoms_;
            row.n_iter = 0;
            for (std::int64_t j = 0; j < atoms_; ++j) {
                // An infinite penalty of a code to start from would make all objectives infinite, and alike.
                row.codes[j] = row.alpha[j] == std::numeric_limits<double>::infinity() ? 0.0 : codes.row(i)[j];
            }
            solve(row, scratch);
            std::copy(row.codes, row.codes + atoms_, codes.row(i));
            gaps[i] = row.gap;
            if (objectives) objectives[i] = row.objective;
            n_iter[i] = static_cast<std::int32_t>(row.n_iter);
            left_[static_cast<std::size_t>(i)] = !row.converged;
        }
    });
    return std::count(left_.begin(), left_.begin() + rows, 1);
}

template <class T>
std::int64_t lasso(Context& context, Matrix<const T> x, Matrix<const T> dictionary, LassoPenalty alpha,
                   Matrix<const std::uint8_t> observed, const LassoOptions& options, Matrix<T> codes, double* gaps,
                   std::int32_t* n_iter) {
    require(x.cols == dictionary.cols, "lasso: X has ", x.cols, " columns, the dictionary ", dictionary.cols);
    require(codes.rows == x.rows && codes.cols == dictionary.rows, "lasso: codes are ", codes.rows, " x ", codes.cols, ", ",
            x.rows, " x ", dictionary.rows, " are needed");
    require(!observed || (observed.rows == x.rows && observed.cols == x.cols), "lasso: the mask is ", observed.rows, " x ",
            observed.cols, ", X is ", x.rows, " x ", x.cols);
    require(options.tol >= 0 && options.max_iter >= 0, "lasso: tol=", options.tol, ", max_iter=", options.max_iter);
    require(options.max_iter <= std::numeric_limits<std::int32_t>::max(), "lasso: max_iter=", options.max_iter);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::lasso<T>(context, x, dictionary, alpha, observed, options, codes, gaps, n_iter);
    }
    for (std::int64_t i = 0; i < (alpha.row_stride ? x.rows : 1); ++i) {
        for (std::int64_t j = 0; j < (alpha.col_stride ? dictionary.rows : 1); ++j) {
            const double penalty = alpha.data[i * alpha.row_stride + j * alpha.col_stride];
            require(penalty > 0, "lasso: alpha is ", penalty, " for row ", i, ", atom ", j, "; it must be positive");
        }
    }
    LassoSolver<T> solver(context, options);
    solver.set_dictionary(dictionary, x.rows, static_cast<bool>(observed));
    std::int64_t left = 0;
    for (std::int64_t first = 0; first < x.rows; first += solver.most_rows()) {
        const std::int64_t rows = std::min(solver.most_rows(), x.rows - first);
        context.poll(static_cast<double>(first) / static_cast<double>(x.rows));
        left += solver.encode(x.rows_from(first, rows),
                              {alpha.data + first * alpha.row_stride, alpha.row_stride, alpha.col_stride},
                              observed ? observed.rows_from(first, rows) : observed, codes.rows_from(first, rows), gaps + first,
                              n_iter + first);
    }
    return left;
}

#define HARMONIUM_INSTANTIATE(T)                                                                                            \
    template class LassoSolver<T>;                                                                                          \
    template double lipschitz_bound(Context&, Matrix<const T>);                                                             \
    template std::int64_t lasso(Context&, Matrix<const T>, Matrix<const T>, LassoPenalty, Matrix<const std::uint8_t>,       \
                                const LassoOptions&, Matrix<T>, double*, std::int32_t*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
