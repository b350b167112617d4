#include "contraction.cuh"

#include "activation.cuh"
#include "cover.cuh"
#include "reduce.cuh"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

// norms[j] = norm(W_j)^2; squares[j] = factor times the sum over rows of f'(z_ij)^2, where squares are wanted.
template <class T>
__global__ void columns_kernel(Activation f, Matrix<const T> w, Matrix<const T> a, T factor, T* norms, T* squares) {
    const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
    const bool valid = j < w.cols;
    const T norm = sum_down<T>(w.rows, valid, [&](std::int64_t i) { return w.row(i)[j] * w.row(i)[j]; });
    if (threadIdx.y == 0 && valid) norms[j] = norm;
    if (!squares) return;
    __syncthreads();  // the sums share memory
    const T sum = sum_down<T>(a.rows, valid, [&](std::int64_t i) {
        const T s = slope(f, a.row(i)[j]);
        return s * s;
    });
    if (threadIdx.y == 0 && valid) squares[j] = factor * sum;
}

// A block takes a row.
template <class T>
__global__ void rows_kernel(Activation f, Matrix<const T> a, const T* norms, T factor, double* penalty, Matrix<T> delta) {
    for (std::int64_t i = blockIdx.x; i < a.rows; i += gridDim.x) {
        double sum = 0;
        for (std::int64_t j = threadIdx.x; j < a.cols; j += blockDim.x) {
            const T of = a.row(i)[j], s = slope(f, of);
            sum += static_cast<double>(s * s * norms[j]);
            if (delta) delta.row(i)[j] = factor * s * curvature(f, of) * norms[j];
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) penalty[i] = sum;
    }
}

template <class T>
__global__ void add_scaled_kernel(Matrix<const T> w, const T* squares, Matrix<T> gradient) {
    const std::int64_t j = own_x();
    if (j >= w.cols) return;
    for (std::int64_t i = own_y(); i < w.rows; i += stride_y()) gradient.row(i)[j] += w.row(i)[j] * squares[j];
}

}  // namespace

template <class T>
void contraction(Context& context, const ContractionLayer<T>& layer, T scale, double* penalty, T* scratch) {
    State& state = use(context);
    const Matrix<const T> w = layer.weights, a = layer.output;
    if (w.cols == 0) return;
    T* norms = scratch;
    T* squares = layer.delta ? scratch + w.cols : nullptr;
    launch(state.stream, columns_kernel<T>, blocks_for(w.cols, 32, 0x7FFFFFFF), dim3(32, rows_down), 0, layer.activation, w, a, 2 * scale,
           norms, squares);
    if (a.rows > 0) {
        launch(state.stream, rows_kernel<T>, blocks_for(a.rows, 1), 128, 0, layer.activation, a, norms, 2 * scale, penalty, layer.delta);
    }
    if (!layer.gradient || w.rows == 0) return;
    const Cover c = cover(w.rows, w.cols);
    launch(state.stream, add_scaled_kernel<T>, c.grid, c.block, 0, w, squares, layer.gradient);
}
template void contraction(Context&, const ContractionLayer<float>&, float, double*, float*);
template void contraction(Context&, const ContractionLayer<double>&, double, double*, double*);

}  // namespace harmonium::cuda
