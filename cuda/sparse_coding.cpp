#include "cpp/src/sparse_coding_steps.hpp"
#include "dictionary.cuh"
#include "lasso_encoder.cuh"
#include "row_feed.cuh"

namespace harmonium::cuda {

namespace {

template <class T>
class Steps : public SparseCodingSteps<T> {
public:
    Steps(Context& context, Matrix<const T> x, const SparseCodingOptions& options, const SparseCodingState<T>& state)
        : context_(context), state_(use(context)), options_(options), n_(x.rows), atoms_(state.dictionary.rows),
          features_(state.dictionary.cols), batch_(options.batch_size ? std::min(options.batch_size, n_) : n_),
          encoder_(context, atoms_, features_, options.lasso, batch_, {&options.alpha, 0, 0}, false), dictionary_(size(atoms_, features_)),
          covariance_(size(atoms_, atoms_)), projections_(size(atoms_, features_)), idle_(size(atoms_, 1)), nonzeros_(size(atoms_, 1)),
          scratch_(size(32, features_)), narrow_(size(atoms_, features_)), place_(1), objectives_on_host_(size(encoder_.rows_at_a_time(), 1)),
          nonzeros_on_host_(size(atoms_, 1)), idle_on_host_(size(atoms_, 1)), new_rows_on_host_(size(atoms_, features_)),
          new_atoms_on_host_(size(atoms_, 1)) {
        const std::int64_t most = encoder_.rows_at_a_time();
        piece_ = most < batch_ && most > sparse_coding_block ? most / sparse_coding_block * sparse_coding_block : most;
        x_ = DeviceBuffer<T>(size(piece_, features_));
        copy_rows(state_, state.dictionary, narrow_view());
        convert(state_, Matrix<const T>(narrow_view()), dictionary());
        copy_rows(state_, state.covariance, covariance());
        copy_rows(state_, state.projections, projections());
        copy_numbers<double>(state_, state.idle, atoms_, idle_.data());
        if (!on_device(state.idle)) {
            staging_ = HostBuffer<double>(size(atoms_, atoms_ + features_ + 1));
            narrow_on_host_ = HostBuffer<T>(size(atoms_, features_));
        }
        feed_ = std::make_unique<RowFeed<T>>(context, States<T>(x), batch_);  // last: it looks at what memory is left
        context_.synchronize();
    }

    void over(const std::vector<std::int64_t>& order, const std::function<bool(std::int64_t, std::int64_t)>& body) override {
        bool goes_on = true;
        feed_->over(order.empty() ? nullptr : order.data(), n_, [&](const RowBlock<T>& block, std::int64_t first) {
            block_ = block;
            block_begins_ = first;
            for (std::int64_t row = 0; goes_on && row < block.rows; row += batch_) {
                goes_on = body(first + row, std::min(batch_, block.rows - row));
            }
        });
    }

    SparseCodingBatch take(std::int64_t first, std::int64_t rows, double share, std::uint64_t step, double done) override {
        SparseCodingBatch batch;
        double keep = 1 - share;
        convert(state_, Matrix<const double>(dictionary()), narrow_view());
        encoder_.set_dictionary(narrow_view());
        for (std::int64_t begin = 0; begin < rows; begin += piece_) {
            const std::int64_t count = std::min(piece_, rows - begin);
            const Matrix<const T> x = gather(first + begin, count);
            encoder_.encode(x, {&options_.alpha, 0, 0}, {}, {}, done);
            code_statistics(state_, encoder_.codes_in_double(), encoder_.rows(), keep, share / static_cast<double>(rows), covariance(), projections());
            keep = 1;
            count_uses(state_, encoder_.codes(), sparse_coding_block, nonzeros_.data(), idle_.data());
            copy_numbers(state_, encoder_.objectives(), count, objectives_on_host_.data());
            copy_numbers(state_, nonzeros_.data(), atoms_, nonzeros_on_host_.data());
            copy_numbers(state_, idle_.data(), atoms_, idle_on_host_.data());
            context_.synchronize();
            for (std::int64_t i = 0; i < count; ++i) batch.objective += objectives_on_host_.data()[i];
            for (std::int64_t k = 0; k < atoms_; ++k) batch.nonzeros += nonzeros_on_host_.data()[k];
            if (begin + count == rows) {
                const std::int64_t last = (count - 1) / sparse_coding_block * sparse_coding_block;
                batch.redrawn = redraw(x.rows_from(last, count - last), step);
            }
        }
        update();
        return batch;
    }

    void commit(SparseCodingState<T>& state) override {
        convert(state_, Matrix<const double>(dictionary()), narrow_view());
        convert(state_, Matrix<const T>(narrow_view()), dictionary());  // as it is read when learning goes on in another call
        if (staging_.size() == 0) {
            copy_rows(state_, narrow_view(), state.dictionary);
            copy_rows(state_, covariance(), state.covariance);
            copy_rows(state_, projections(), state.projections);
            copy_numbers(state_, idle_.data(), atoms_, state.idle);
            context_.synchronize();
            return;
        }
        double *a = staging_.data(), *b = a + atoms_ * atoms_, *idle = b + atoms_ * features_;
        copy_numbers(state_, narrow_.data(), atoms_ * features_, narrow_on_host_.data());
        copy_numbers(state_, covariance_.data(), atoms_ * atoms_, a);
        copy_numbers(state_, projections_.data(), atoms_ * features_, b);
        copy_numbers(state_, idle_.data(), atoms_, idle);
        context_.synchronize();  // what follows cannot fail
        put(narrow_on_host_.data(), state.dictionary);
        put(a, state.covariance);
        put(b, state.projections);
        put(idle, Matrix<double>(state.idle, 1, atoms_));
    }

private:
    static std::size_t size(std::int64_t rows, std::int64_t cols) { return static_cast<std::size_t>(rows * cols); }
    Matrix<double> dictionary() const { return {dictionary_.data(), atoms_, features_}; }
    Matrix<double> covariance() const { return {covariance_.data(), atoms_, atoms_}; }
    Matrix<double> projections() const { return {projections_.data(), atoms_, features_}; }
    Matrix<T> narrow_view() const { return {narrow_.data(), atoms_, features_}; }

    template <class U>
    static void put(const U* from, Matrix<U> to) {
        for (std::int64_t i = 0; i < to.rows; ++i) std::copy(from + i * to.cols, from + (i + 1) * to.cols, to.row(i));
    }

    // Rows of the pass, of which the block that is there holds all.
    Matrix<const T> gather(std::int64_t first, std::int64_t count) {
        RowBlock<T> from = block_;
        if (!from.order) return from.dense.rows_from(first - block_begins_, count);
        from.order += first - block_begins_;
        set_place(state_, place_.data(), Place<T>{from, 0, 0, 0});
        const Matrix<T> x(x_.data(), count, features_);
        cuda::gather<T>(state_, place_.data(), count, x, {});
        return x;
    }

    // Rarely: on the host, which has seen what is idle.
    std::int64_t redraw(Matrix<const T> x, std::uint64_t step) {
        double* idle = idle_on_host_.data();
        if (std::none_of(idle, idle + atoms_, [&](double rows) { return rows >= static_cast<double>(options_.redraw_after); })) return 0;
        std::vector<T> rows(size(x.rows, features_));
        copy_rows(state_, x, Matrix<T>(rows.data(), x.rows, features_));
        context_.synchronize();
        std::vector<double> room(size(features_, 1));
        std::int64_t n = 0;
        redraw_idle<T>(options_, step, idle, atoms_, Matrix<const T>(rows.data(), x.rows, features_), room.data(), [&](std::int64_t k, const double* row) {
            std::copy(row, row + features_, new_rows_on_host_.data() + n * features_);
            new_atoms_on_host_.data()[n++] = static_cast<std::int32_t>(k);
        });
        if (n == 0) return 0;
        const DeviceBuffer<double> new_rows(size(n, features_));
        const DeviceBuffer<std::int32_t> new_atoms(size(n, 1));
        copy_numbers<double>(state_, new_rows_on_host_.data(), n * features_, new_rows.data());
        copy_numbers<std::int32_t>(state_, new_atoms_on_host_.data(), n, new_atoms.data());
        replace_atoms(state_, n, new_atoms.data(), new_rows.data(), dictionary(), covariance(), projections(), idle_.data());
        context_.synchronize();
        return n;
    }

    // The first runs as it is: whatever loads or allocates does so then. The others are one graph.
    void update() {
        const auto queue = [&] {
            for (std::int64_t sweep = 0; sweep < options_.sweeps; ++sweep) {
                cuda::dictionary_update(context_, covariance(), projections(), options_.positive_dictionary, Matrix<double>(scratch_.data(), 32, features_),
                                  dictionary());
            }
        };
        if (!std::exchange(warm_, true)) return queue();
        if (!update_) update_.capture(state_.stream, queue);
        update_.launch(state_.stream);
    }

    Context& context_;
    State& state_;
    const SparseCodingOptions& options_;
    std::int64_t n_, atoms_, features_, batch_, piece_ = 0;
    LassoEncoder<T> encoder_;
    DeviceBuffer<double> dictionary_, covariance_, projections_, idle_, nonzeros_, scratch_;
    DeviceBuffer<T> narrow_, x_;
    DeviceBuffer<Place<T>> place_;
    HostBuffer<double> objectives_on_host_, nonzeros_on_host_, idle_on_host_, new_rows_on_host_;
    HostBuffer<std::int32_t> new_atoms_on_host_;
    HostBuffer<double> staging_;  // where the caller's state is of the host: it changes when all of it has come
    HostBuffer<T> narrow_on_host_;
    std::unique_ptr<RowFeed<T>> feed_;
    RowBlock<T> block_;
    std::int64_t block_begins_ = 0;
    bool warm_ = false;
    Graph update_;
};

}  // namespace

template <class T>
std::unique_ptr<SparseCodingSteps<T>> open_sparse_coding_steps(Context& context, Matrix<const T> x, const SparseCodingOptions& options,
                                                               const SparseCodingState<T>& state) {
    return std::make_unique<Steps<T>>(context, x, options, state);
}
template std::unique_ptr<SparseCodingSteps<float>> open_sparse_coding_steps(Context&, Matrix<const float>, const SparseCodingOptions&,
                                                                            const SparseCodingState<float>&);
template std::unique_ptr<SparseCodingSteps<double>> open_sparse_coding_steps(Context&, Matrix<const double>, const SparseCodingOptions&,
                                                                             const SparseCodingState<double>&);

}  // namespace harmonium::cuda
