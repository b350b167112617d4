#include "harmonium/sparse_coding.hpp"

#include <algorithm>
#include <cmath>

#include "harmonium/dictionary.hpp"
#include "harmonium/error.hpp"
#include "lasso_solver.hpp"
#include "row_order.hpp"

namespace harmonium {

namespace {

// Training works on copies: the caller's state is always that of a whole pass.
template <class T>
class Trainer {
public:
    Trainer(Context& context, Matrix<const T> x, const SparseCodingOptions& options, SparseCodingState<T>& state)
        : context_(context), x_(x), options_(options), state_(state), work_(state), solver_(context, options.lasso),
          atoms_(state.dictionary.rows), features_(state.dictionary.cols),
          update_every_(options.batch_size ? std::min(options.batch_size, x.rows) : x.rows),
          dictionary_(size(atoms_, features_)), covariance_(size(atoms_, atoms_)), projections_(size(atoms_, features_)),
          narrow_(size(atoms_, features_)), scratch_(size(32, features_)), idle_(static_cast<std::size_t>(atoms_)),
          order_(options.shuffle && options.batch_size && x.rows > options.batch_size ? static_cast<std::size_t>(x.rows) : 0),
          rows_(size(block, features_)), codes_(size(block, atoms_)), values_(codes_.size()), indices_(codes_.size()) {
        work_.covariance = Matrix<double>(covariance_.data(), atoms_, atoms_);
        work_.projections = Matrix<double>(projections_.data(), atoms_, features_);
        copy(Matrix<const T>(state.dictionary), dictionary());
        copy(Matrix<const double>(state.covariance), work_.covariance);
        copy(Matrix<const double>(state.projections), work_.projections);
        std::copy(state.idle, state.idle + atoms_, idle_.begin());
    }

    // One pass; the state is then that of its end.
    SparseCodingEpoch epoch(double done_before, double share_of_all) {
        SparseCodingEpoch record;
        if (!order_.empty()) shuffle_rows(options_.seed, work_.epochs, order_);
        std::int64_t done = 0;
        while (done < x_.rows && !record.converged) {
            context_.poll(done_before + share_of_all * static_cast<double>(done) / static_cast<double>(x_.rows));
            const std::int64_t rows = std::min(update_every_, x_.rows - done);
            const double objective = step(done, rows, record);
            if (!std::isfinite(objective)) {
                throw DivergenceError(message("sparse_coding_train: the objective of rows ", done, " to ", done + rows - 1,
                                              " of pass ", work_.epochs, " is ", objective, ": values are too large"));
            }
            done += rows;
            record.objective += objective;
            record.converged = no_longer_improves(objective / static_cast<double>(rows), rows);
        }
        record.objective /= static_cast<double>(done);
        record.density /= static_cast<double>(done * atoms_);
        ++work_.epochs;
        commit();
        return record;
    }

private:
    static constexpr std::int64_t block = LassoSolver<T>::block;
    static std::size_t size(std::int64_t rows, std::int64_t cols) { return static_cast<std::size_t>(rows * cols); }
    Matrix<double> dictionary() { return {dictionary_.data(), atoms_, features_}; }

    template <class From, class To>
    static void copy(Matrix<From> from, Matrix<To> to) {
        for (std::int64_t i = 0; i < from.rows; ++i) std::copy(from.row(i), from.row(i) + from.cols, to.row(i));
    }

    // Codes of rows [first, first + rows) of the pass, and the dictionary moved by them. The sum of their objectives.
    double step(std::int64_t first, std::int64_t rows, SparseCodingEpoch& record) {
        const double age = static_cast<double>(work_.steps) + 1 + options_.forgetting;
        const double whole = static_cast<double>(rows) / static_cast<double>(update_every_);
        const double weight = options_.batch_size ? std::min(1.0, (1 + options_.forgetting) / age * whole) : 1.0;
        const double share = work_.steps == 0 ? 1.0 : weight;
        copy(Matrix<const double>(dictionary()), Matrix<T>(narrow_.data(), atoms_, features_));
        solver_.set_dictionary(Matrix<const T>(narrow_.data(), atoms_, features_), rows, false);
        double objective = 0, keep = 1 - share;
        for (std::int64_t begin = 0; begin < rows; begin += block) {
            const std::int64_t count = std::min(block, rows - begin);
            const Matrix<const T> x = gather(first + begin, count);
            const Matrix<T> codes(codes_.data(), count, atoms_);
            std::fill(codes_.begin(), codes_.end(), T(0));
            solver_.encode(x, {&options_.alpha, 0, 0}, {}, codes, gaps_, n_iter_, objectives_);
            for (std::int64_t i = 0; i < count; ++i) objective += objectives_[i];
            code_statistics<T>(context_, support(codes, record), x, keep, share / static_cast<double>(rows), work_.covariance,
                               work_.projections);
            keep = 1;
            if (begin + count == rows) record.redrawn += redraw(x);
        }
        for (std::int64_t sweep = 0; sweep < options_.sweeps; ++sweep) {
            dictionary_update(context_, work_.covariance, work_.projections, options_.positive_dictionary,
                              Matrix<double>(scratch_.data(), 32, features_), dictionary());
        }
        ++work_.steps;
        return objective;
    }

    Matrix<const T> gather(std::int64_t first, std::int64_t count) {
        if (order_.empty()) return x_.rows_from(first, count);
        for (std::int64_t i = 0; i < count; ++i) {
            const T* row = x_.row(order_[first + i]);
            std::copy(row, row + features_, rows_.data() + i * features_);
        }
        return {rows_.data(), count, features_};
    }

    SparseRows<T> support(Matrix<const T> codes, SparseCodingEpoch& record) {
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
        record.density += static_cast<double>(n);
        return {begin_, indices_.data(), values_.data(), codes.rows, atoms_};
    }

    // Atoms left idle become rows of x, from a drawn one on, each row once.
    double redraw(Matrix<const T> x) {
        std::int64_t tried = 0, redrawn = 0, start = -1;
        for (std::int64_t k = 0; k < atoms_; ++k) {
            if (idle_[k] < static_cast<double>(options_.redraw_after)) continue;
            if (start < 0) {
                const double u = uniform<double>(Draw(options_.seed, Stream::data, work_.steps), 0, 0);
                start = static_cast<std::int64_t>(u * static_cast<double>(x.rows));
            }
            for (; tried < x.rows; ++tried) {
                if (become(k, x.row((start + tried) % x.rows))) break;
            }
            if (tried++ >= x.rows) break;
            ++redrawn;
        }
        return static_cast<double>(redrawn);
    }

    bool become(std::int64_t k, const T* row) {
        double squares = 0;
        const auto value = [&](std::int64_t f) {
            return options_.positive_dictionary ? std::max(static_cast<double>(row[f]), 0.0) : static_cast<double>(row[f]);
        };
        for (std::int64_t f = 0; f < features_; ++f) squares += value(f) * value(f);
        if (!(squares > 0)) return false;
        for (std::int64_t f = 0; f < features_; ++f) dictionary().row(k)[f] = value(f) / std::sqrt(squares);
        std::fill(work_.covariance.row(k), work_.covariance.row(k) + atoms_, 0.0);
        for (std::int64_t j = 0; j < atoms_; ++j) work_.covariance.row(j)[k] = 0;
        std::fill(work_.projections.row(k), work_.projections.row(k) + features_, 0.0);
        idle_[k] = 0;
        return true;
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

    void commit() {
        const auto caller = state_;
        state_ = work_;
        state_.dictionary = caller.dictionary;
        state_.covariance = caller.covariance;
        state_.projections = caller.projections;
        copy(Matrix<const double>(dictionary()), state_.dictionary);
        // As it is read when learning goes on in another call: so many passes are the same in one call or in several.
        copy(Matrix<const T>(state_.dictionary), dictionary());
        copy(Matrix<const double>(work_.covariance), state_.covariance);
        copy(Matrix<const double>(work_.projections), state_.projections);
        std::copy(idle_.begin(), idle_.end(), state_.idle);
    }

    Context& context_;
    Matrix<const T> x_;
    const SparseCodingOptions& options_;
    SparseCodingState<T>& state_;
    SparseCodingState<T> work_;
    LassoSolver<T> solver_;
    std::int64_t atoms_, features_, update_every_;
    AlignedVector<double> dictionary_, covariance_, projections_;
    AlignedVector<T> narrow_;
    AlignedVector<double> scratch_, idle_;
    std::vector<std::int64_t> order_;
    AlignedVector<T> rows_, codes_, values_;
    AlignedVector<std::int32_t> indices_;
    std::int64_t begin_[block + 1];
    double gaps_[block], objectives_[block];
    std::int32_t n_iter_[block];
};

}  // namespace

template <class T>
void sparse_coding_train(Context& context, Matrix<const T> x, const SparseCodingOptions& options, std::int64_t n_epochs,
                         SparseCodingState<T>& state, const std::function<bool(const SparseCodingEpoch&)>& on_epoch) {
    require(!context.cuda(), "sparse_coding_train: dictionaries are learned on the CPU; what runs on a GPU is lasso, by fista or ista");
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
