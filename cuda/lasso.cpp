#include "lasso.cuh"

#include <stdexcept>

#include "lasso_encoder.cuh"
#include "row_feed.cuh"

namespace harmonium::cuda {

namespace {

// Before anything is changed. The first wrong one, counted along rows.
void check_penalties(Context& context, LassoPenalty alpha, std::int64_t rows, std::int64_t atoms) {
    State& state = use(context);
    const std::int64_t height = alpha.row_stride ? rows : 1, width = alpha.col_stride ? atoms : 1;
    auto first = static_cast<unsigned long long>(height * width);
    if (!on_device(alpha.data)) {
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
    const bool masked = static_cast<bool>(observed);
    LassoEncoder<T> encoder(context, dictionary.rows, dictionary.cols, options, x.rows, alpha, masked);
    encoder.set_dictionary(dictionary);
    State& state = use(context);
    HostBuffer<std::uint8_t> converged(static_cast<std::size_t>(encoder.rows_at_a_time()));
    std::int64_t left = 0;
    for (std::int64_t first = 0; first < x.rows; first += encoder.rows_at_a_time()) {
        const std::int64_t rows = std::min(encoder.rows_at_a_time(), x.rows - first);
        const Matrix<T> out = codes.rows_from(first, rows);
        encoder.encode(x.rows_from(first, rows), {alpha.data + first * alpha.row_stride, alpha.row_stride, alpha.col_stride},
                       masked ? observed.rows_from(first, rows) : observed, out, static_cast<double>(first) / static_cast<double>(x.rows));
        copy_rows(state, encoder.codes(), out);
        copy_numbers<double>(state, encoder.gaps(), rows, gaps + first);
        copy_numbers<std::int32_t>(state, encoder.n_iter(), rows, n_iter + first);
        copy_numbers<std::uint8_t>(state, encoder.converged(), rows, converged.data());
        context.synchronize();
        left += std::count(converged.data(), converged.data() + rows, 0);
    }
    return left;
}

template <class T>
double lipschitz_bound(Context& context, Matrix<const T> dictionary) {
    if (dictionary.rows == 0 || dictionary.cols == 0) return 0;
    LassoEncoder<T> encoder(context, dictionary.rows, dictionary.cols, {}, 1, {}, false);
    encoder.set_dictionary(dictionary);
    return encoder.bound();
}

#define HARMONIUM_INSTANTIATE(T)                                                                                            \
    template std::int64_t lasso(Context&, Matrix<const T>, Matrix<const T>, LassoPenalty, Matrix<const std::uint8_t>,       \
                                const LassoOptions&, Matrix<T>, double*, std::int32_t*);                                    \
    template double lipschitz_bound(Context&, Matrix<const T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
