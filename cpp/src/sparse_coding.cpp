#include "harmonium/sparse_coding.hpp"

#include <algorithm>
#include <cmath>

#include "cuda_state.hpp"
#include "harmonium/dictionary.hpp"
#include "harmonium/error.hpp"
#include "lasso_solver.hpp"
#include "row_order.hpp"
#include "sparse_coding_steps.hpp"

namespace harmonium {

namespace {

template <class From, class To>
void copy(Matrix<From> from, Matrix<To> to) {
    for (std::int64_t i = 0; i < from.rows; ++i) std::copy(from.row(i), from.row(i) + from.cols, to.row(i));
}

template <class T>
class StepsOnCpu : public SparseCodingSteps<T> {
public:
    StepsOnCpu(Context& context, Matrix<const T> x, const SparseCodingOptions& options, const SparseCodingState<T>& state)
        : context_(context), x_(x), options_(options), solver_(context, options.lasso), atoms_(state.dictionary.rows),
          features_(state.dictionary.cols), dictionary_(size(atoms_, features_)), covariance_(size(atoms_, atoms_)),
          projections_(size(atoms_, features_)), narrow_(size(atoms_, features_)), scratch_(size(32, features_)),
          idle_(state.idle, state.idle + atoms_), rows_(size(block, features_)), codes_(size(block, atoms_)), values_(codes_.size()),
          indices_(codes_.size()) {
        copy(Matrix<const T>(state.dictionary), dictionary());
        copy(Matrix<const double>(state.covariance), covariance());
        copy(Matrix<const double>(state.projections), projections());
    }

    void over(const std::vector<std::int64_t>& order, const std::function<bool(std::int64_t, std::int64_t)>& body) override {
        order_ = order.empty() ? nullptr : order.data();
        const std::int64_t batch = options_.batch_size ? std::min(options_.batch_size, x_.rows) : x_.rows;
        for (std::int64_t first = 0; first < x_.rows; first += batch) {
            if (!body(first, std::min(batch, x_.rows - first))) return;
        }
    }

    SparseCodingBatch take(std::int64_t first, std::int64_t rows, double share, std::uint64_t step, double) override {
        SparseCodingBatch batch;
        copy(Matrix<const double>(dictionary()), Matrix<T>(narrow_.data(), atoms_, features_));
        solver_.set_dictionary(Matrix<const T>(narrow_.data(), atoms_, features_), rows, false);
        double keep = 1 - share;
        for (std::int64_t begin = 0; begin < rows; begin += block) {
            const std::int64_t count = std::min(block, rows - begin);
            const Matrix<const T> x = gather(first + begin, count);
            const Matrix<T> codes(codes_.data(), count, atoms_);
            std::fill(codes_.begin(), codes_.end(), T(0));
            solver_.encode(x, {&options_.alpha, 0, 0}, {}, codes, gaps_, n_iter_, objectives_);
            for (std::int64_t i = 0; i < count; ++i) batch.objective += objectives_[i];
            code_statistics<T>(context_, support(codes, batch), x, keep, share / static_cast<double>(rows), covariance(), projections());
            keep = 1;
            if (begin + count == rows) batch.redrawn = redraw(x, step);
        }
        for (std::int64_t sweep = 0; sweep < options_.sweeps; ++sweep) {
            dictionary_update(context_, covariance(), projections(), options_.positive_dictionary, Matrix<double>(scratch_.data(), 32, features_),
                              dictionary());
        }
        return batch;
    }

    void commit(SparseCodingState<T>& state) override {
        copy(Matrix<const double>(dictionary()), state.dictionary);
        // As it is read when learning goes on in another call: so many passes are the same in one call or in several.
        copy(Matrix<const T>(state.dictionary), dictionary());
        copy(Matrix<const double>(covariance()), state.covariance);
        copy(Matrix<const double>(projections()), state.projections);
        std::copy(idle_.begin(), idle_.end(), state.idle);
    }

private:
    static constexpr std::int64_t block = LassoSolver<T>::block;
    static_assert(block == sparse_coding_block, "a GPU's steps count idle rows alike");
    static std::size_t size(std::int64_t rows, std::int64_t cols) { return static_cast<std::size_t>(rows * cols); }
    Matrix<double> dictionary() { return {dictionary_.data(), atoms_, features_}; }
    Matrix<double> covariance() { return {covariance_.data(), atoms_, atoms_}; }
    Matrix<double> projections() { return {projections_.data(), atoms_, features_}; }

    Matrix<const T> gather(std::int64_t first, std::int64_t count) {
        if (!order_) return x_.rows_from(first, count);
        for (std::int64_t i = 0; i < count; ++i) {
            const T* row = x_.row(order_[first + i]);
            std::copy(row, row + features_, rows_.data() + i * features_);
        }
        return {rows_.data(), count, features_};
    }

    SparseRows<T> support(Matrix<const T> codes, SparseCodingBatch& batch) {
        std::int64_t n = 0;
        for (std::int64_t k = 0; k < atoms_; ++k) idle_[k] += static_cast<double>(codes.rows);
        for (std::int64_t i = 0; i < codes.rows; ++i) {
            begin_[i] = n;
            for (std::int64_t k = 0; k < atoms_; ++k) {
                if (codes.row(i)[k] == 0) continue;
                indices_[n] = static_cast<std::int32_t>(k);
                values_[n++] = codes.row(i)[k];
                idle_[k] = 0;
            }
        }
        begin_[codes.rows] = n;
        batch.nonzeros += static_cast<double>(n);
        return {begin_, indices_.data(), values_.data(), codes.rows, atoms_};
    }

    std::int64_t redraw(Matrix<const T> x, std::uint64_t step) {
        return redraw_idle<T>(options_, step, idle_.data(), atoms_, x, scratch_.data(), [&](std::int64_t k, const double* row) {
            std::copy(row, row + features_, dictionary().row(k));
            std::fill(covariance().row(k), covariance().row(k) + atoms_, 0.0);
            for (std::int64_t j = 0; j < atoms_; ++j) covariance().row(j)[k] = 0;
            std::fill(projections().row(k), projections().row(k) + features_, 0.0);
        });
    }

    Context& context_;
    Matrix<const T> x_;
    const SparseCodingOptions& options_;
    LassoSolver<T> solver_;
    std::int64_t atoms_, features_;
    AlignedVector<double> dictionary_, covariance_, projections_;
    AlignedVector<T> narrow_;
    AlignedVector<double> scratch_, idle_;
    const std::int64_t* order_ = nullptr;
    AlignedVector<T> rows_, codes_, values_;
    AlignedVector<std::int32_t> indices_;
    std::int64_t begin_[block + 1];
    double gaps_[block], objectives_[block];
    std::int32_t n_iter_[block];
};

template <class T>
std::unique_ptr<SparseCodingSteps<T>> open_steps(Context& context, Matrix<const T> x, const SparseCodingOptions& options,
                                                 const SparseCodingState<T>& state) {
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::open_sparse_coding_steps<T>(context, x, options, state);
    }
    return std::make_unique<StepsOnCpu<T>>(context, x, options, state);
}

// Training works on copies: the caller's state is always that of a whole pass.
template <class T>
class Trainer {
public:
    Trainer(Context& context, Matrix<const T> x, const SparseCodingOptions& options, SparseCodingState<T>& state)
        : context_(context), n_(x.rows), options_(options), state_(state), work_(state), steps_(open_steps<T>(context, x, options, state)),
          update_every_(options.batch_size ? std::min(options.batch_size, n_) : n_),
          order_(options.shuffle && options.batch_size && n_ > options.batch_size ? static_cast<std::size_t>(n_) : 0) {}

    // One pass; the state is then that of its end.
    SparseCodingEpoch epoch(double done_before, double share_of_all) {
        SparseCodingEpoch record;
        if (!order_.empty()) shuffle_rows(options_.seed, work_.epochs, order_);
        std::int64_t done = 0;
        steps_->over(order_, [&](std::int64_t first, std::int64_t rows) {
            const double now = done_before + share_of_all * static_cast<double>(first) / static_cast<double>(n_);
            context_.poll(now);
            const SparseCodingBatch batch = steps_->take(first, rows, share_of(rows), work_.steps, now);
            ++work_.steps;
            if (!std::isfinite(batch.objective)) {
                throw DivergenceError(message("sparse_coding_train: the objective of rows ", first, " to ", first + rows - 1,
                                              " of pass ", work_.epochs, " is ", batch.objective, ": values are too large"));
            }
            done += rows;
            record.objective += batch.objective;
            record.density += batch.nonzeros;
            record.redrawn += static_cast<double>(batch.redrawn);
            record.converged = no_longer_improves(batch.objective / static_cast<double>(rows), rows);
            return !record.converged;
        });
        record.objective /= static_cast<double>(done);
        record.density /= static_cast<double>(done * state_.dictionary.rows);
        ++work_.epochs;
        steps_->commit(state_);
        state_.steps = work_.steps;
        state_.epochs = work_.epochs;
        state_.smoothed = work_.smoothed;
        state_.least = work_.least;
        state_.no_improvement = work_.no_improvement;
        return record;
    }

private:
    // A batch's weight in the statistics.
    double share_of(std::int64_t rows) const {
        if (work_.steps == 0 || !options_.batch_size) return 1;
        const double age = static_cast<double>(work_.steps) + 1 + options_.forgetting;
        return std::min(1.0, (1 + options_.forgetting) / age * (static_cast<double>(rows) / static_cast<double>(update_every_)));
    }

    // The objective's exponential mean as batches come; whether it has not been less for long enough. Single batches differ
    // by more than an update improves them: without the first rows' part one lucky batch would be the least for long.
    bool no_longer_improves(double objective, std::int64_t rows) {
        const double weight = std::min(1.0, static_cast<double>(rows) / (static_cast<double>(options_.smoothing) + 1));
        work_.smoothed = work_.steps == 1 ? objective : (1 - weight) * work_.smoothed + weight * objective;
        if (static_cast<double>(work_.steps) * weight <= 1 || work_.smoothed < work_.least) {
            work_.least = work_.smoothed;
            work_.no_improvement = 0;
        } else {
            ++work_.no_improvement;
        }
        return options_.max_no_improvement > 0 && work_.no_improvement >= options_.max_no_improvement;
    }

    Context& context_;
    std::int64_t n_;
    const SparseCodingOptions& options_;
    SparseCodingState<T>& state_;
    SparseCodingState<T> work_;  // its counters; what they count is in steps_
    std::unique_ptr<SparseCodingSteps<T>> steps_;
    std::int64_t update_every_;
    std::vector<std::int64_t> order_;
};

}  // namespace

template <class T>
void sparse_coding_train(Context& context, Matrix<const T> x, const SparseCodingOptions& options, std::int64_t n_epochs,
                         SparseCodingState<T>& state, const std::function<bool(const SparseCodingEpoch&)>& on_epoch) {
    require(!context.cuda() || options.lasso.algorithm != LassoAlgorithm::cd,
            "sparse_coding_train: algorithm=\"cd\" does not run on a GPU; there \"fista\" and \"ista\" do");
    const std::int64_t atoms = state.dictionary.rows, features = state.dictionary.cols;
    require(x.cols == features, "sparse_coding_train: X has ", x.cols, " columns, the dictionary ", features);
    require(x.rows > 0 && atoms > 0 && features > 0, "sparse_coding_train: X is ", x.rows, " x ", x.cols, ", with ", atoms, " atoms");
    require(state.covariance.rows == atoms && state.covariance.cols == atoms && state.projections.rows == atoms &&
                state.projections.cols == features,
            "sparse_coding_train: the statistics are ", state.covariance.rows, " x ", state.covariance.cols, " and ",
            state.projections.rows, " x ", state.projections.cols);
    require(options.alpha > 0, "sparse_coding_train: alpha=", options.alpha, ", it must be positive");
    require(options.batch_size >= 0 && options.sweeps >= 1 && options.forgetting >= 0, "sparse_coding_train: batch_size=",
            options.batch_size, ", sweeps=", options.sweeps, ", forgetting=", options.forgetting);
    Trainer<T> trainer(context, x, options, state);
    for (std::int64_t epoch = 0; epoch < n_epochs; ++epoch) {
        const double all = 1 / static_cast<double>(n_epochs);
        const SparseCodingEpoch record = trainer.epoch(static_cast<double>(epoch) * all, all);
        if (on_epoch(record) || record.converged) return;
    }
}
template void sparse_coding_train(Context&, Matrix<const float>, const SparseCodingOptions&, std::int64_t,
                                  SparseCodingState<float>&, const std::function<bool(const SparseCodingEpoch&)>&);
template void sparse_coding_train(Context&, Matrix<const double>, const SparseCodingOptions&, std::int64_t,
                                  SparseCodingState<double>&, const std::function<bool(const SparseCodingEpoch&)>&);

}  // namespace harmonium
