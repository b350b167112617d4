#include "update.cuh"

#include "cover.cuh"
#include "gemm.cuh"
#include "reduce.cuh"
#include "state.cuh"
#include "update_rules.hpp"

namespace harmonium::cuda {

namespace {

template <class T>
__device__ UpdateNumbers<T> numbers_now(Update options, const Paces& paces) {
    if (paces.paces) {
        const Pace pace = paces.paces[*paces.at];
        options.rate = pace.rate, options.first_correction = pace.first_correction, options.second_correction = pace.second_correction;
    }
    return UpdateNumbers<T>(options);
}

template <class T>
__device__ void update_by(UpdateRule rule, const UpdateNumbers<T>& numbers, T g, T* u, T* s, T* theta) {
    switch (rule) {
        case UpdateRule::sgd: update_one<UpdateRule::sgd>(numbers, g, u, s, theta); break;
        case UpdateRule::momentum: update_one<UpdateRule::momentum>(numbers, g, u, s, theta); break;
        case UpdateRule::nesterov: update_one<UpdateRule::nesterov>(numbers, g, u, s, theta); break;
        case UpdateRule::adagrad: update_one<UpdateRule::adagrad>(numbers, g, u, s, theta); break;
        case UpdateRule::rmsprop: update_one<UpdateRule::rmsprop>(numbers, g, u, s, theta); break;
        case UpdateRule::adam: update_one<UpdateRule::adam>(numbers, g, u, s, theta); break;
    }
}

// u and s lie as theta. stored: where the gradient is wanted, the decay's share in it.
template <class T>
__global__ void update_kernel(Update options, Paces paces, T decay, Matrix<const T> gradient, T* stored, T* u, T* s, Matrix<T> theta) {
    const std::int64_t j = own_x();
    if (j >= theta.cols) return;
    const UpdateNumbers<T> numbers = numbers_now<T>(options, paces);
    for (std::int64_t i = own_y(); i < theta.rows; i += stride_y()) {
        const std::int64_t at = i * theta.stride + j;
        T g = gradient.row(i)[j];
        if (decay != T(0)) {
            g += decay * theta.data[at];
            if (stored) stored[i * gradient.stride + j] = g;
        }
        update_by(options.rule, numbers, g, u ? u + at : nullptr, s ? s + at : nullptr, theta.data + at);
    }
}

template <class T>
__global__ void bias_kernel(Matrix<const T> delta, Update options, Paces paces, T* u, T* s, T* theta) {
    const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
    const T g = sum_down<T>(delta.rows, j < delta.cols, [&](std::int64_t i) { return delta.row(i)[j]; });
    if (threadIdx.y > 0 || j >= delta.cols) return;
    update_by(options.rule, numbers_now<T>(options, paces), g, u ? u + j : nullptr, s ? s + j : nullptr, theta + j);
}

template <class T>
__global__ void add_decay_kernel(T decay, std::int64_t n, const T* theta, T* gradient) {
    for (std::int64_t i = own_x(); i < n; i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) gradient[i] += decay * theta[i];
}

constexpr unsigned squares_blocks = 256, squares_threads = 256;

// A row is one block's, or many blocks take turns in it where there is one row.
template <class T>
__global__ void squares_kernel(Matrix<const T> m, double* partial) {
    double sum = 0;
    for (std::int64_t i = blockIdx.y; i < m.rows; i += gridDim.y) {
        for (std::int64_t j = own_x(); j < m.cols; j += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
            const auto value = static_cast<double>(m.row(i)[j]);
            sum += value * value;
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}
__global__ void add_up_kernel(const double* partial, int n, bool accumulate, double* out) {
    double sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *out = accumulate ? *out + sum : sum;
}

}  // namespace

template <class T>
void update(Context& context, const Update& options, std::int64_t n, const T* gradient, T* u, T* s, T* theta) {
    State& state = use(context);
    if (n == 0) return;
    const Cover c = cover(1, n);
    launch(state.stream, update_kernel<T>, c.grid, c.block, 0, options, Paces(), T(0), Matrix<const T>(gradient, 1, n),
           nullptr, u, s, Matrix<T>(theta, 1, n));
}

template <class T>
void sum_of_squares(Context& context, Matrix<const T> m, bool accumulate, double* out) {
    State& state = use(context);
    const unsigned across = blocks_for(m.cols, 4 * squares_threads, squares_blocks), down = blocks_for(m.rows, 1, squares_blocks / across);
    double* partial = state.scratch<double>(Scratch::first, squares_blocks);
    launch(state.stream, squares_kernel<T>, dim3(across, down), squares_threads, 0, m, partial);
    launch(state.stream, add_up_kernel, 1, squares_threads, 0, partial, static_cast<int>(across * down), accumulate, out);
}

template <class T>
double add_decay(Context& context, T decay, std::int64_t n, const T* theta, T* gradient) {
    State& state = use(context);
    double* sum = state.scratch<double>(Scratch::second, 1);
    sum_of_squares<T>(context, Matrix<const T>(theta, 1, n), false, sum);
    if (gradient && n > 0) launch(state.stream, add_decay_kernel<T>, blocks_for(n, 256), 256, 0, decay, n, theta, gradient);
    double squares = 0;
    CUDA_CHECK(cudaMemcpyAsync(&squares, sum, sizeof squares, cudaMemcpyDeviceToHost, state.stream));
    CUDA_CHECK(cudaStreamSynchronize(state.stream));
    return squares;
}

template <class T>
void weight_step(Context& context, const WeightStep<T>& step, const Paces& paces) {
    State& state = use(context);
    const Matrix<T> shape = step.gradient ? step.gradient : step.weights;
    if (shape.rows == 0 || shape.cols == 0) return;
    const std::int64_t stride = (shape.cols + 3) / 4 * 4;  // rows at multiples of 16 bytes
    const Matrix<T> gradient =
        step.gradient ? step.gradient : Matrix<T>(state.scratch<T>(Scratch::first, shape.rows * stride), shape.rows, shape.cols, stride);
    for (int t = 0; t < step.n_terms; ++t) {
        gemm<T>(context, T(1), step.terms[t].a, true, step.terms[t].b, false, T(t > 0 || step.accumulate ? 1 : 0), gradient);
    }
    if (!step.weights) return;
    const Cover c = cover(shape.rows, shape.cols);
    launch(state.stream, update_kernel<T>, c.grid, c.block, 0, step.update, paces, step.decay, Matrix<const T>(gradient),
           step.gradient.data, step.first, step.second, step.weights);
}

template <class T>
void bias_step(Context& context, Matrix<const T> delta, const Update& options, const Paces& paces, T* u, T* s, T* theta) {
    State& state = use(context);
    if (delta.cols == 0) return;
    launch(state.stream, bias_kernel<T>, blocks_for(delta.cols, 32, 0x7FFFFFFF), dim3(32, rows_down), 0, delta, options, paces, u, s, theta);
}

#define HARMONIUM_INSTANTIATE(T)                                                                            \
    template void update(Context&, const Update&, std::int64_t, const T*, T*, T*, T*);                      \
    template double add_decay(Context&, T, std::int64_t, const T*, T*);                                     \
    template void weight_step(Context&, const WeightStep<T>&, const Paces&);                                \
    template void bias_step(Context&, Matrix<const T>, const Update&, const Paces&, T*, T*, T*);            \
    template void sum_of_squares(Context&, Matrix<const T>, bool, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
