#include "lasso.cuh"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "copy.cuh"
#include "graph.cuh"
#include "harmonium/error.hpp"
#include "lasso_kernels.cuh"

namespace harmonium::cuda {

namespace {

std::int64_t padded(std::int64_t n) { return (n + 7) / 8 * 8; }
constexpr std::int64_t steps_a_look = 8;          // between two looks at how many rows are left
constexpr std::int64_t most_rows = std::int64_t(1) << 18;

bool on_host(const void* pointer) {
    cudaPointerAttributes attributes;
    CUDA_CHECK(cudaPointerGetAttributes(&attributes, pointer));
    return attributes.type != cudaMemoryTypeDevice;
}

// One call's memory and what it does with a block of rows.
template <class T>
class Encoder {
public:
    Encoder(Context& context, Matrix<const T> dictionary, const LassoOptions& options, std::int64_t rows, LassoPenalty alpha, bool masked)
        : context_(context), state_(use(context)), options_(options), atoms_(dictionary.rows), features_(dictionary.cols),
          K_(padded(atoms_)), d_(padded(features_)), wide_(K_ * d_), below_(3 * K_ * d_), beside_(3 * K_ * d_), bound_(2),
          count_(1), count_on_host_(1) {
        const std::int64_t smaller = std::min(atoms_, features_);
        {
            DeviceBuffer<T> given(atoms_ * features_);
            DeviceBuffer<double> powers(2 * smaller * smaller);
            copy_rows(state_, dictionary, Matrix<T>(given.data(), atoms_, features_));
            lasso_dictionary<T>(state_, Matrix<const T>(given.data(), atoms_, features_), K_, d_, wide_.data(), below_.data(), beside_.data());
            trace_bound(context, Matrix<const double>(wide_.data(), atoms_, features_, d_), powers.data(),
                        powers.data() + smaller * smaller, bound_.data());
        }
        reserve(rows, alpha, masked);
    }

    double bound() {
        double found;
        CUDA_CHECK(cudaMemcpyAsync(&found, bound_.data(), sizeof found, cudaMemcpyDeviceToHost, state_.stream));
        context_.synchronize();
        return found;
    }

    std::int64_t rows_at_a_time() const { return capacity_; }

    // All arguments from the block's first row on. Rows left above tol.
    std::int64_t encode(Matrix<const T> x, LassoPenalty alpha, Matrix<const std::uint8_t> observed, Matrix<T> codes, double* gaps,
                        std::int32_t* n_iter, double done) {
        const std::int64_t rows = x.rows;
        copy_rows(state_, x, Matrix<T>(x_.data(), rows, features_));
        const Matrix<T> out(codes_.data(), rows, atoms_);
        copy_rows(state_, codes, out);
        LassoBlock block{rows, atoms_, features_, K_, d_, wide_.data(), below_.data(), beside_.data(), bound_.data() + 1,
                         Matrix<const double>(rows_.data(), rows, features_), {}, take(alpha, rows), gaps_.data(), n_iter_.data(),
                         converged_.data()};
        if (observed) {
            copy_rows(state_, observed, Matrix<std::uint8_t>(observed_.data(), rows, features_));
            block.observed = {observed_.data(), rows, features_};
        }
        lasso_rows<T>(state_, Matrix<const T>(x_.data(), rows, features_), block.observed, Matrix<double>(rows_.data(), rows, features_));
        CUDA_CHECK(cudaMemsetAsync(n_iter_.data(), 0, static_cast<std::size_t>(rows) * sizeof(std::int32_t), state_.stream));
        // What bfloat16 resolves comes first, at a third of a step's time; where every step is asked for, none of it.
        if (options_.tol > 0) run<float>(block, out, done);
        run<double>(block, out, done);
        const LassoWork<double> last = work<double>();
        lasso_start<double, T>(state_, block, last, Matrix<const T>(out));
        lasso_correlations(state_, block, last, rows);
        lasso_gaps(state_, block, last, options_.positive);
        copy_rows(state_, out, codes);
        copy_numbers<double>(state_, gaps_.data(), rows, gaps);
        copy_numbers<std::int32_t>(state_, n_iter_.data(), rows, n_iter);
        CUDA_CHECK(cudaMemcpyAsync(converged_on_host_.data(), converged_.data(), static_cast<std::size_t>(rows), cudaMemcpyDeviceToHost,
                                   state_.stream));
        context_.synchronize();
        return std::count(converged_on_host_.data(), converged_on_host_.data() + rows, 0);
    }

private:
    // As many rows at a time as half of the free memory holds.
    void reserve(std::int64_t rows, LassoPenalty alpha, bool masked) {
        const std::int64_t penalties = alpha.row_stride ? (alpha.col_stride ? atoms_ : 1) : 0;
        const std::int64_t of_work = 4 * 8 * K_ + 10 * d_;  // 32 K' + 8 d' in double, 22 K' + 10 d' in float with the parts
        const std::int64_t of_row = of_work + (8 + static_cast<std::int64_t>(sizeof(T))) * features_ +
                                    static_cast<std::int64_t>(sizeof(T)) * atoms_ + 8 * penalties + (masked ? features_ : 0) +
                                    static_cast<std::int64_t>(sizeof(LassoSlot)) + 32;
        std::size_t free = 0, total = 0;
        CUDA_CHECK(cudaMemGetInfo(&free, &total));
        const std::int64_t fit = static_cast<std::int64_t>(free / 2) / of_row;
        capacity_ = std::min(rows, std::clamp<std::int64_t>(fit, 64, most_rows));
        arena_ = DeviceBuffer<double>(capacity_ * of_work / static_cast<std::int64_t>(sizeof(double)));
        x_ = DeviceBuffer<T>(capacity_ * features_);
        rows_ = DeviceBuffer<double>(capacity_ * features_);
        codes_ = DeviceBuffer<T>(capacity_ * atoms_);
        observed_ = DeviceBuffer<std::uint8_t>(masked ? capacity_ * features_ : 0);
        penalty_ = DeviceBuffer<double>(alpha.row_stride ? capacity_ * penalties : alpha.col_stride ? atoms_ : 1);
        slots_ = DeviceBuffer<LassoSlot>(capacity_);
        gaps_ = DeviceBuffer<double>(capacity_);
        n_iter_ = DeviceBuffer<std::int32_t>(capacity_);
        converged_ = DeviceBuffer<std::uint8_t>(capacity_);
        converged_on_host_ = HostBuffer<std::uint8_t>(capacity_);
        moves_ = DeviceBuffer<int>(2 * capacity_ + 1);
    }

    // The block's penalties on the device.
    LassoPenalty take(LassoPenalty alpha, std::int64_t rows) {
        const std::int64_t height = alpha.row_stride ? rows : 1, width = alpha.col_stride ? atoms_ : 1;
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

    // Steps until no row is at work. Rows at work move together, so that the others' slots cost nothing any more.
    template <class R>
    void run(const LassoBlock& block, Matrix<T> codes, double done) {
        const LassoWork<R> w = work<R>();
        lasso_start<R, T>(state_, block, w, Matrix<const T>(codes));
        std::int64_t slots = block.rows;
        for (;;) {
            Graph graph;
            graph.capture(state_.stream, [&] {
                for (std::int64_t step = 0; step < steps_a_look; ++step) {
                    lasso_correlations(state_, block, w, slots);
                    lasso_step<R, T>(state_, block, w, options_, slots, codes);
                }
                lasso_count(state_, w.slots, slots, count_.data());
                CUDA_CHECK(cudaMemcpyAsync(count_on_host_.data(), count_.data(), sizeof(int), cudaMemcpyDeviceToHost, state_.stream));
            });
            std::int64_t working = slots;
            // So many fewer that a smaller product is worth its plan and its graph.
            while (4 * working > 3 * slots || slots <= 64) {
                graph.launch(state_.stream);
                context_.synchronize();
                context_.poll(done);
                working = *count_on_host_.data();
                if (working == 0) return;
            }
            const std::int64_t fewer = std::min((working + 63) / 64 * 64, slots);
            lasso_compact(state_, block, w, slots, working, moves_.data());
            slots = fewer;
        }
    }

    Context& context_;
    State& state_;
    LassoOptions options_;
    std::int64_t atoms_, features_, K_, d_, capacity_ = 0;
    DeviceBuffer<double> wide_;
    DeviceBuffer<Bfloat16> below_, beside_;
    DeviceBuffer<double> bound_;
    DeviceBuffer<int> count_;
    HostBuffer<int> count_on_host_;
    DeviceBuffer<double> arena_, rows_, penalty_, gaps_;
    DeviceBuffer<T> x_, codes_;
    DeviceBuffer<std::uint8_t> observed_, converged_;
    HostBuffer<std::uint8_t> converged_on_host_;
    DeviceBuffer<LassoSlot> slots_;
    DeviceBuffer<std::int32_t> n_iter_;
    DeviceBuffer<int> moves_;
};

// Before anything is changed. The first wrong one, counted along rows.
void check_penalties(Context& context, LassoPenalty alpha, std::int64_t rows, std::int64_t atoms) {
    State& state = use(context);
    const std::int64_t height = alpha.row_stride ? rows : 1, width = alpha.col_stride ? atoms : 1;
    auto first = static_cast<unsigned long long>(height * width);
    if (on_host(alpha.data)) {
        for (unsigned long long at = 0; at < first; ++at) {
            const auto i = static_cast<std::int64_t>(at) / width, j = static_cast<std::int64_t>(at) % width;
            if (!(alpha.data[i * alpha.row_stride + j * alpha.col_stride] > 0)) first = at;
        }
    } else {
        auto* found = state.scratch<unsigned long long>(Scratch::first, 1);
        CUDA_CHECK(cudaMemcpyAsync(found, &first, sizeof first, cudaMemcpyHostToDevice, state.stream));
        lasso_refused(state, alpha, height, width, found);
        CUDA_CHECK(cudaMemcpyAsync(&first, found, sizeof first, cudaMemcpyDeviceToHost, state.stream));
        context.synchronize();
    }
    if (static_cast<std::int64_t>(first) == height * width) return;
    const std::int64_t i = static_cast<std::int64_t>(first) / width, j = static_cast<std::int64_t>(first) % width;
    double penalty;
    CUDA_CHECK(cudaMemcpyAsync(&penalty, alpha.data + i * alpha.row_stride + j * alpha.col_stride, sizeof penalty, cudaMemcpyDefault,
                               state.stream));
    context.synchronize();
    throw std::invalid_argument(message("lasso: alpha is ", penalty, " for row ", i, ", atom ", j, "; it must be positive"));
}

}  // namespace

template <class T>
std::int64_t lasso(Context& context, Matrix<const T> x, Matrix<const T> dictionary, LassoPenalty alpha,
                   Matrix<const std::uint8_t> observed, const LassoOptions& options, Matrix<T> codes, double* gaps,
                   std::int32_t* n_iter) {
    require(options.algorithm != LassoAlgorithm::cd, "lasso: algorithm=\"cd\" has no CUDA kernel; on a GPU \"fista\" and \"ista\" run, "
            "which \"auto\" chooses there, and \"cd\" on the CPU");
    require(dictionary.rows > 0 && dictionary.cols > 0, "lasso: the dictionary is ", dictionary.rows, " x ", dictionary.cols);
    if (x.rows == 0) return 0;
    check_penalties(context, alpha, x.rows, dictionary.rows);
    Encoder<T> encoder(context, dictionary, options, x.rows, alpha, static_cast<bool>(observed));
    std::int64_t left = 0;
    for (std::int64_t first = 0; first < x.rows; first += encoder.rows_at_a_time()) {
        const std::int64_t rows = std::min(encoder.rows_at_a_time(), x.rows - first);
        left += encoder.encode(x.rows_from(first, rows), {alpha.data + first * alpha.row_stride, alpha.row_stride, alpha.col_stride},
                               observed ? observed.rows_from(first, rows) : observed, codes.rows_from(first, rows), gaps + first,
                               n_iter + first, static_cast<double>(first) / static_cast<double>(x.rows));
    }
    return left;
}

template <class T>
double lipschitz_bound(Context& context, Matrix<const T> dictionary) {
    if (dictionary.rows == 0 || dictionary.cols == 0) return 0;
    return Encoder<T>(context, dictionary, {}, 1, {}, false).bound();
}

#define HARMONIUM_INSTANTIATE(T)                                                                                            \
    template std::int64_t lasso(Context&, Matrix<const T>, Matrix<const T>, LassoPenalty, Matrix<const std::uint8_t>,       \
                                const LassoOptions&, Matrix<T>, double*, std::int32_t*);                                    \
    template double lipschitz_bound(Context&, Matrix<const T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
