#include "gemm.cuh"

#include "launch.cuh"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

// c = beta c, for products over nothing, which cuBLAS refuses.
template <class T>
__global__ void scale_kernel(T beta, Matrix<T> c) {
    const auto j = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (j >= c.cols) return;
    for (std::int64_t i = blockIdx.y; i < c.rows; i += gridDim.y) c.row(i)[j] = beta == T(0) ? T(0) : beta * c.row(i)[j];
}

}  // namespace

template <class T>
void gemm(Context& context, T alpha, Matrix<const T> a, bool transpose_a, Matrix<const T> b, bool transpose_b, T beta, Matrix<T> c) {
    State& state = use(context);
    if (c.rows == 0 || c.cols == 0) return;
    const std::int64_t k = transpose_a ? a.rows : a.cols;
    if (k == 0) {
        launch(state.stream, scale_kernel<T>, dim3(blocks_for(c.cols, 256, 0x7FFFFFFF), blocks_for(c.rows, 1)), 256, 0, beta, c);
        return;
    }
    multiply(state, sizeof(T) == 4 ? Product::f32 : Product::f64, c.rows, c.cols, k, static_cast<double>(alpha),
             {a.data, a.stride, transpose_a}, {b.data, b.stride, transpose_b}, static_cast<double>(beta), c.data, c.stride);
}
template void gemm(Context&, float, Matrix<const float>, bool, Matrix<const float>, bool, float, Matrix<float>);
template void gemm(Context&, double, Matrix<const double>, bool, Matrix<const double>, bool, double, Matrix<double>);

}  // namespace harmonium::cuda
