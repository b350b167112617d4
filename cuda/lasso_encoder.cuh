// Codes on one dictionary after another, and the memory that coding needs; kept by whoever codes again and again.
#pragma once

#include <algorithm>
#include <map>
#include <utility>

#include "copy.cuh"
#include "graph.cuh"
#include "harmonium/error.hpp"
#include "lasso_kernels.cuh"

namespace harmonium::cuda {

template <class T>
class LassoEncoder {
public:
    // For at most so many rows at a time, and no more than half of the free memory holds; with penalties of alpha's strides.
    LassoEncoder(Context& context, std::int64_t atoms, std::int64_t features, const LassoOptions& options, std::int64_t rows,
                 LassoPenalty alpha, bool masked)
        : context_(context), state_(use(context)), options_(options), atoms_(atoms), features_(features), K_(padded(atoms)),
          d_(padded(features)), given_(size(atoms, features)), powers_(size(2 * std::min(atoms, features), std::min(atoms, features))),
          wide_(size(K_, d_)), below_(size(3 * K_, d_)), beside_(size(3 * K_, d_)), bound_(2), count_(1), count_on_host_(1) {
        reserve(rows, alpha, masked);
    }

    // Of either memory.
    void set_dictionary(Matrix<const T> dictionary) {
        copy_rows(state_, dictionary, Matrix<T>(given_.data(), atoms_, features_));
        lasso_dictionary<T>(state_, Matrix<const T>(given_.data(), atoms_, features_), K_, d_, wide_.data(), below_.data(), beside_.data());
        const std::int64_t smaller = std::min(atoms_, features_);
        trace_bound(context_, Matrix<const double>(wide_.data(), atoms_, features_, d_), powers_.data(), powers_.data() + smaller * smaller,
                    bound_.data());
    }

    double bound() {
        double found;
        CUDA_CHECK(cudaMemcpyAsync(&found, bound_.data(), sizeof found, cudaMemcpyDeviceToHost, state_.stream));
        context_.synchronize();
        return found;
    }

    std::int64_t rows_at_a_time() const { return capacity_; }

    // Codes of these rows, to start from `start` or from zeros. done: of poll.
    void encode(Matrix<const T> x, LassoPenalty alpha, Matrix<const std::uint8_t> observed, Matrix<const T> start, double done) {
        rows_ = x.rows;
        copy_rows(state_, x, Matrix<T>(x_.data(), rows_, features_));
        if (start) copy_rows(state_, start, Matrix<T>(codes_.data(), rows_, atoms_));
        else CUDA_CHECK(cudaMemsetAsync(codes_.data(), 0, size(rows_, atoms_) * sizeof(T), state_.stream));
        LassoBlock block{rows_, atoms_, features_, K_, d_, wide_.data(), below_.data(), beside_.data(), bound_.data() + 1, rows(), {},
                         take(alpha), gaps_.data(), objectives_.data(), n_iter_.data(), converged_.data()};
        if (observed) {
            copy_rows(state_, observed, Matrix<std::uint8_t>(observed_.data(), rows_, features_));
            block.observed = {observed_.data(), rows_, features_};
        }
        lasso_rows<T>(state_, Matrix<const T>(x_.data(), rows_, features_), block.observed, Matrix<double>(rows_wide_.data(), rows_, features_));
        CUDA_CHECK(cudaMemsetAsync(n_iter_.data(), 0, static_cast<std::size_t>(rows_) * sizeof(std::int32_t), state_.stream));
        // What bfloat16 resolves comes first, at a third of a step's time; where every step is asked for, none of it.
        if (options_.tol > 0) run<float>(block, steps_a_look, done);
        run<double>(block, options_.tol > 0 ? 1 : steps_a_look, done);  // often all are done
        const LassoWork<double> last = work<double>();
        lasso_start<double, T>(state_, block, last, codes());
        lasso_correlations(state_, block, last, rows_);
        lasso_gaps(state_, block, last, options_.positive);
    }

    // What encode left on the device, until the next call. In double: the rows, 0 where an entry is missing, and the codes.
    Matrix<const T> codes() const { return {codes_.data(), rows_, atoms_}; }
    Matrix<const double> rows() const { return {rows_wide_.data(), rows_, features_}; }
    Matrix<const double> codes_in_double() { return {work<double>().codes, rows_, atoms_, K_}; }
    const double* gaps() const { return gaps_.data(); }
    const double* objectives() const { return objectives_.data(); }
    const std::int32_t* n_iter() const { return n_iter_.data(); }
    const std::uint8_t* converged() const { return converged_.data(); }

private:
    static constexpr std::int64_t steps_a_look = 8;  // between two looks at how many rows are left
    static constexpr std::int64_t most_rows = std::int64_t(1) << 18;
    static constexpr std::size_t most_graphs = 64;

    static std::int64_t padded(std::int64_t n) { return (n + 7) / 8 * 8; }
    static std::size_t size(std::int64_t rows, std::int64_t cols) { return static_cast<std::size_t>(rows * cols); }

    void reserve(std::int64_t rows, LassoPenalty alpha, bool masked) {
        const std::int64_t penalties = alpha.row_stride ? (alpha.col_stride ? atoms_ : 1) : 0;
        const std::int64_t of_work = 4 * 8 * K_ + 10 * d_;  // 32 K' + 8 d' in double, 22 K' + 10 d' in float with the parts
        const std::int64_t of_row = of_work + (8 + static_cast<std::int64_t>(sizeof(T))) * features_ +
                                    static_cast<std::int64_t>(sizeof(T)) * atoms_ + 8 * penalties + (masked ? features_ : 0) +
                                    static_cast<std::int64_t>(sizeof(LassoSlot)) + 40;
        std::size_t free = 0, total = 0;
        CUDA_CHECK(cudaMemGetInfo(&free, &total));
        const std::int64_t fit = static_cast<std::int64_t>(free / 2) / of_row;
        capacity_ = std::min(rows, std::clamp<std::int64_t>(fit, 64, most_rows));
        arena_ = DeviceBuffer<double>(size(capacity_, of_work) / sizeof(double));
        x_ = DeviceBuffer<T>(size(capacity_, features_));
        rows_wide_ = DeviceBuffer<double>(size(capacity_, features_));
        codes_ = DeviceBuffer<T>(size(capacity_, atoms_));
        observed_ = DeviceBuffer<std::uint8_t>(masked ? size(capacity_, features_) : 0);
        penalty_ = DeviceBuffer<double>(alpha.row_stride ? size(capacity_, penalties) : alpha.col_stride ? size(atoms_, 1) : 1);
        slots_ = DeviceBuffer<LassoSlot>(size(capacity_, 1));
        gaps_ = DeviceBuffer<double>(size(capacity_, 1));
        objectives_ = DeviceBuffer<double>(size(capacity_, 1));
        n_iter_ = DeviceBuffer<std::int32_t>(size(capacity_, 1));
        converged_ = DeviceBuffer<std::uint8_t>(size(capacity_, 1));
        moves_ = DeviceBuffer<int>(size(capacity_, 2) + 1);
    }

    // The block's penalties on the device.
    LassoPenalty take(LassoPenalty alpha) {
        const std::int64_t height = alpha.row_stride ? rows_ : 1, width = alpha.col_stride ? atoms_ : 1;
        const Matrix<const double> from(alpha.data, height, width, alpha.row_stride ? alpha.row_stride : width);
        require(alpha.col_stride <= 1, "lasso: penalties of an atom are ", alpha.col_stride, " apart; on a GPU they lie side by side");
        copy_rows(state_, from, Matrix<double>(penalty_.data(), height, width));
        return {penalty_.data(), alpha.row_stride ? width : 0, alpha.col_stride ? 1 : 0};
    }

    template <class R>
    LassoWork<R> work() {
        R* next = reinterpret_cast<R*>(arena_.data());
        const auto carve = [&](std::int64_t n) { return std::exchange(next, next + n * capacity_); };
        LassoWork<R> w{};
        for (R** values : {&w.codes, &w.before, &w.correlation, &w.correlation_before}) *values = carve(K_);
        w.residual = carve(d_);
        if constexpr (sizeof(R) == 4) {
            w.code_parts = reinterpret_cast<Bfloat16*>(next);
            w.residual_parts = w.code_parts + capacity_ * 3 * K_;
        }
        w.slots = slots_.data();
        return w;
    }

    // So many steps in as many slots. All that they read stays where it is: a graph serves every block of rows.
    template <class R>
    const Graph& steps(const LassoBlock& block, const LassoWork<R>& w, std::int64_t slots, std::int64_t n) {
        const GraphKey key(sizeof(R) == 4, static_cast<bool>(block.observed), slots, n);
        if (graphs_.size() >= most_graphs && !graphs_.count(key)) graphs_.clear();
        Graph& graph = graphs_[key];
        if (!graph) {
            graph.capture(state_.stream, [&] {
                for (std::int64_t step = 0; step < n; ++step) {
                    lasso_correlations(state_, block, w, slots);
                    lasso_step<R, T>(state_, block, w, options_, slots, Matrix<T>(codes_.data(), block.rows, atoms_));
                }
                lasso_count(state_, w.slots, slots, count_.data());
                CUDA_CHECK(cudaMemcpyAsync(count_on_host_.data(), count_.data(), sizeof(int), cudaMemcpyDeviceToHost, state_.stream));
            });
        }
        return graph;
    }

    // Steps until no row is at work, `first` of them before the first look. Rows at work move together, so that the others'
    // slots cost nothing any more.
    template <class R>
    void run(const LassoBlock& block, std::int64_t first, double done) {
        const LassoWork<R> w = work<R>();
        lasso_start<R, T>(state_, block, w, codes());
        for (std::int64_t slots = block.rows, n = first;; n = steps_a_look) {
            steps<R>(block, w, slots, n).launch(state_.stream);
            context_.synchronize();
            context_.poll(done);
            const std::int64_t working = *count_on_host_.data();
            if (working == 0) return;
            // So many fewer that a smaller product is worth its plan and its graph.
            if (4 * working > 3 * slots || slots <= 64) continue;
            lasso_compact(state_, block, w, slots, working, moves_.data());
            slots = std::min((working + 63) / 64 * 64, slots);
        }
    }

    using GraphKey = std::tuple<bool, bool, std::int64_t, std::int64_t>;

    Context& context_;
    State& state_;
    LassoOptions options_;
    std::int64_t atoms_, features_, K_, d_, capacity_ = 0, rows_ = 0;
    DeviceBuffer<T> given_;
    DeviceBuffer<double> powers_, wide_;
    DeviceBuffer<Bfloat16> below_, beside_;
    DeviceBuffer<double> bound_;
    DeviceBuffer<int> count_;
    HostBuffer<int> count_on_host_;
    DeviceBuffer<double> arena_, rows_wide_, penalty_, gaps_, objectives_;
    DeviceBuffer<T> x_, codes_;
    DeviceBuffer<std::uint8_t> observed_, converged_;
    DeviceBuffer<LassoSlot> slots_;
    DeviceBuffer<std::int32_t> n_iter_;
    DeviceBuffer<int> moves_;
    std::map<GraphKey, Graph> graphs_;
};

}  // namespace harmonium::cuda
