#include "contraction.cuh"

#include <algorithm>

#include "activation.cuh"
#include "cover.cuh"
#include "gemm.cuh"
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

// -- several layers: T_l = W_l C_l, C_l = S_l T_(l+1), C_L = S_L. Of row r the columns [r width, (r + 1) width) of all matrices ------

// out(i, r width + k) = w(i, k) f'(z_rk).
template <class T>
__global__ void top_kernel(Activation f, Matrix<const T> w, Matrix<const T> a, Matrix<T> out) {
    const std::int64_t c = own_x();
    if (c >= out.cols) return;
    const std::int64_t k = c % w.cols;
    const T s = slope(f, a.row(c / w.cols)[k]);
    for (std::int64_t i = own_y(); i < out.rows; i += stride_y()) out.row(i)[c] = w.row(i)[k] * s;
}

// out(j, r width + k) = m(j, r width + k) f'(z_rj), for a lower layer's z.
template <class T>
__global__ void scale_kernel(Activation f, Matrix<const T> m, Matrix<const T> a, std::int64_t width, Matrix<T> out) {
    const std::int64_t c = own_x();
    if (c >= out.cols) return;
    const T* of_row = a.row(c / width);
    for (std::int64_t j = own_y(); j < out.rows; j += stride_y()) out.row(j)[c] = m.row(j)[c] * slope(f, of_row[j]);
}

// A block takes a row's Jacobian.
template <class T>
__global__ void norms_kernel(Matrix<const T> jacobians, std::int64_t width, double* penalty) {
    double sum = 0;
    for (std::int64_t at = threadIdx.x; at < jacobians.rows * width; at += blockDim.x) {
        const auto value = static_cast<double>(jacobians.row(at / width)[blockIdx.x * width + at % width]);
        sum += value * value;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) penalty[blockIdx.x] = sum;
}

// delta(r, j) = f''(z_rj) times the sum over k of by_scaled(j, r width + k) product(j, r width + k), of a lower layer: by a warp.
template <class T>
__global__ void lower_delta_kernel(Activation f, Matrix<const T> by_scaled, Matrix<const T> product, std::int64_t width, Matrix<const T> a, Matrix<T> delta) {
    const std::int64_t warps = static_cast<std::int64_t>(gridDim.x) * (blockDim.x / 32);
    for (std::int64_t at = own_x() / 32; at < delta.rows * delta.cols; at += warps) {
        const std::int64_t j = at / delta.rows, r = at % delta.rows;
        T sum = 0;
        for (std::int64_t k = r * width + threadIdx.x % 32; k < (r + 1) * width; k += 32) sum += by_scaled.row(j)[k] * product.row(j)[k];
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) delta.row(r)[j] = sum * curvature(f, a.row(r)[j]);
    }
}

// delta(r, k) = f''(z_rk) times the sum over i of by_product(i, .) w(i, k), of the last layer.
template <class T>
__global__ void top_delta_kernel(Activation f, Matrix<const T> by_product, Matrix<const T> w, Matrix<const T> a, Matrix<T> delta) {
    const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x, k = c % w.cols, r = c / w.cols;
    const T sum = sum_down<T>(w.rows, c < by_product.cols, [&](std::int64_t i) { return by_product.row(i)[c] * w.row(i)[k]; });
    if (threadIdx.y == 0 && c < by_product.cols) delta.row(r)[k] = sum * curvature(f, a.row(r)[k]);
}

// gradient(i, k) += the sum over rows of by_product(i, r width + k) f'(z_rk).
template <class T>
__global__ void top_gradient_kernel(Activation f, Matrix<const T> by_product, Matrix<const T> a, Matrix<T> gradient) {
    const std::int64_t k = own_x();
    if (k >= gradient.cols) return;
    for (std::int64_t i = own_y(); i < gradient.rows; i += stride_y()) {
        T sum = 0;
        for (std::int64_t r = 0; r < a.rows; ++r) sum += by_product.row(i)[r * gradient.cols + k] * slope(f, a.row(r)[k]);
        gradient.row(i)[k] += sum;
    }
}

template <class T>
void one_layer(Context& context, const ContractionLayer<T>& layer, T scale, double* penalty, T* scratch) {
    State& state = use(context);
    const Matrix<const T> w = layer.weights, a = layer.output;
    T* norms = scratch;
    T* squares = layer.delta ? scratch + w.cols : nullptr;
    launch(state.stream, columns_kernel<T>, blocks_for(w.cols, 32, 0x7FFFFFFF), dim3(32, rows_down), 0, layer.activation, w, a, 2 * scale,
           norms, squares);
    launch(state.stream, rows_kernel<T>, blocks_for(a.rows, 1), 128, 0, layer.activation, a, norms, 2 * scale, penalty, layer.delta);
    if (!layer.gradient) return;
    const Cover c = cover(w.rows, w.cols);
    launch(state.stream, add_scaled_kernel<T>, c.grid, c.block, 0, w, squares, layer.gradient);
}

// As Chain of the CPU, for rows [first, first + n).
template <class T>
void chain(Context& context, const std::vector<ContractionLayer<T>>& layers, T scale, double* penalty, T* scratch, std::int64_t first, std::int64_t n) {
    const cudaStream_t stream = use(context).stream;
    const std::size_t top = layers.size() - 1;
    const std::int64_t width = layers[top].weights.cols, across = n * width;
    std::int64_t tallest = 0;
    std::vector<Matrix<T>> products, scaled;
    for (const auto& layer : layers) {
        products.push_back({scratch, layer.weights.rows, across}), scratch += layer.weights.rows * across;
        scaled.push_back({scratch, layer.weights.cols, across}), scratch += layer.weights.cols * across;
        tallest = std::max({tallest, layer.weights.rows, layer.weights.cols});
    }
    const auto output = [&](std::size_t l) { return layers[l].output.rows_from(first, n); };
    const auto over = [&](auto kernel, std::int64_t rows, std::int64_t cols, const auto&... arguments) {
        const Cover c = cover(rows, cols);
        launch(stream, kernel, c.grid, c.block, 0, arguments...);
    };
    over(top_kernel<T>, products[top].rows, across, layers[top].activation, layers[top].weights, output(top), products[top]);
    for (std::size_t l = top; l-- > 0;) {
        over(scale_kernel<T>, scaled[l].rows, across, layers[l].activation, Matrix<const T>(products[l + 1]), output(l), width, scaled[l]);
        cuda::gemm<T>(context, T(1), layers[l].weights, false, scaled[l], false, T(0), products[l]);
    }
    launch(stream, norms_kernel<T>, static_cast<unsigned>(n), 128, 0, Matrix<const T>(products[0]), width, penalty + first);
    if (!layers[0].delta) return;
    Matrix<T> by_product = products[0];
    T alpha = 2 * scale;  // by the products themselves, once
    for (std::size_t l = 0; l < top; ++l, alpha = T(1)) {
        const Matrix<T> by_scaled(scratch + tallest * across, layers[l].weights.cols, across);
        cuda::gemm<T>(context, alpha, by_product, false, scaled[l], true, T(1), layers[l].gradient);
        cuda::gemm<T>(context, alpha, layers[l].weights, true, by_product, false, T(0), by_scaled);
        launch(stream, lower_delta_kernel<T>, blocks_for(n * layers[l].delta.cols, 8), 256, 0, layers[l].activation, Matrix<const T>(by_scaled),
               Matrix<const T>(products[l + 1]), width, output(l), layers[l].delta.rows_from(first, n));
        by_product = Matrix<T>(scratch, layers[l].weights.cols, across);
        over(scale_kernel<T>, by_product.rows, across, layers[l].activation, Matrix<const T>(by_scaled), output(l), width, by_product);
    }
    launch(stream, top_delta_kernel<T>, blocks_for(across, 32, 0x7FFFFFFF), dim3(32, rows_down), 0, layers[top].activation, Matrix<const T>(by_product),
           layers[top].weights, output(top), layers[top].delta.rows_from(first, n));
    over(top_gradient_kernel<T>, layers[top].gradient.rows, width, layers[top].activation, Matrix<const T>(by_product), output(top), layers[top].gradient);
}

}  // namespace

template <class T>
void contraction(Context& context, const std::vector<ContractionLayer<T>>& layers, T scale, double* penalty, T* scratch, std::int64_t rows_at_once) {
    const std::int64_t rows = layers[0].output.rows;
    if (rows == 0 || layers[0].weights.rows == 0 || layers.back().weights.cols == 0) return;
    if (layers.size() == 1) return one_layer(context, layers[0], scale, penalty, scratch);
    for (std::int64_t first = 0; first < rows; first += rows_at_once) {
        chain(context, layers, scale, penalty, scratch, first, std::min(rows_at_once, rows - first));
    }
}
template <class T>
std::int64_t contraction_room(const std::vector<ContractionLayer<T>>& layers, std::int64_t rows_at_once) {
    if (layers.size() == 1) return 2 * layers[0].weights.cols;
    std::int64_t height = 0, tallest = 0;
    for (const auto& layer : layers) {
        height += layer.weights.rows + layer.weights.cols;
        tallest = std::max({tallest, layer.weights.rows, layer.weights.cols});
    }
    return (height + 2 * tallest) * rows_at_once * layers.back().weights.cols;
}

#define HARMONIUM_INSTANTIATE(T)                                                                                            \
    template void contraction(Context&, const std::vector<ContractionLayer<T>>&, T, double*, T*, std::int64_t);            \
    template std::int64_t contraction_room(const std::vector<ContractionLayer<T>>&, std::int64_t);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
