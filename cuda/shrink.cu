#include "shrink.cuh"

#include "cover.cuh"
#include "harmonium/error.hpp"
#include "harmonium/math.hpp"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

template <class T>
__global__ void shrink_kernel(Matrix<const T> x, const T* a, bool positive, Matrix<T> out) {
    const std::int64_t j = own_x();
    if (j >= x.cols) return;
    for (std::int64_t i = own_y(); i < x.rows; i += stride_y()) {
        out.row(i)[j] = positive ? harmonium::shrink_positive(x.row(i)[j], a[j]) : harmonium::shrink(x.row(i)[j], a[j]);
    }
}

// first: the first threshold that is negative or NaN, else n.
template <class T>
__global__ void refuse_kernel(const T* a, int n, int* first) {
    for (int j = static_cast<int>(own_x()); j < n; j += static_cast<int>(gridDim.x * blockDim.x)) {
        if (!(a[j] >= T(0))) atomicMin(first, j);
    }
}

}  // namespace

template <class T>
void shrink(Context& context, Matrix<const T> x, const T* a, bool positive, Matrix<T> out) {
    State& state = use(context);
    if (x.cols == 0) return;
    const int n = static_cast<int>(x.cols);
    int* first = state.scratch<int>(Scratch::first, 1);
    int found = n;
    CUDA_CHECK(cudaMemcpyAsync(first, &found, sizeof found, cudaMemcpyHostToDevice, state.stream));
    launch(state.stream, refuse_kernel<T>, blocks_for(n, 256), 256, 0, a, n, first);
    CUDA_CHECK(cudaMemcpyAsync(&found, first, sizeof found, cudaMemcpyDeviceToHost, state.stream));
    context.synchronize();
    require(found == n, "shrink: threshold ", found, " is negative or NaN, it must not be");
    if (x.rows == 0) return;
    const Cover cover_x = cover(x.rows, x.cols);
    launch(state.stream, shrink_kernel<T>, cover_x.grid, cover_x.block, 0, x, a, positive, out);
}
template void shrink(Context&, Matrix<const float>, const float*, bool, Matrix<float>);
template void shrink(Context&, Matrix<const double>, const double*, bool, Matrix<double>);

}  // namespace harmonium::cuda
