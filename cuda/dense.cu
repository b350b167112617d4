#include "dense.cuh"

#include "activation.cuh"
#include "cover.cuh"
#include "gemm.cuh"
#include "reduce.cuh"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

// out(i, j) = value(i, j, drop), where drop(x) is what dropout leaves of x there. A thread takes the columns of a counter.
template <class T, class Value>
__device__ void write_dropped(T rate, const StepDraw& draw, std::uint32_t first_row, Matrix<T> out, const Value& value) {
    const std::int64_t counter = own_x(), first = first_column(counter);
    if (first >= out.cols) return;
    const Draw now = draw.now();
    for (std::int64_t i = own_y(); i < out.rows; i += stride_y()) {
        Philox4 words{};
        if (rate > T(0)) words = philox_counter(now, first_row + static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(counter));
        for (int w = 0; w < 4; ++w) {
            const std::int64_t j = first + 16 * w;
            if (j >= out.cols) break;
            out.row(i)[j] = value(i, j, [&](T x) {
                return rate > T(0) ? x * (unit_interval<T>(words.word[w]) < rate ? T(0) : T(1) / (T(1) - rate)) : x;
            });
        }
    }
}

template <class T>
__global__ void forward_kernel(Activation f, const T* bias, T rate, StepDraw draw, std::uint32_t first_row, Matrix<T> out) {
    write_dropped(rate, draw, first_row, out, [&](std::int64_t i, std::int64_t j, const auto& drop) {
        return drop(activate(f, bias ? out.row(i)[j] + bias[j] : out.row(i)[j]));
    });
}

template <class T>
__global__ void backward_kernel(Activation f, Matrix<const T> a, T a_scale, T rate, StepDraw draw, std::uint32_t first_row,
                                Matrix<const T> more, Matrix<T> out) {
    write_dropped(rate, draw, first_row, out, [&](std::int64_t i, std::int64_t j, const auto& drop) {
        const T delta = drop(out.row(i)[j] * slope(f, a.row(i)[j] * a_scale));
        return more ? delta + more.row(i)[j] : delta;
    });
}

template <class T>
__global__ void column_sums_kernel(Matrix<const T> m, bool accumulate, T* out) {
    const std::int64_t j = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
    const T sum = sum_down<T>(m.rows, j < m.cols, [&](std::int64_t i) { return m.row(i)[j]; });
    if (threadIdx.y == 0 && j < m.cols) out[j] = accumulate ? out[j] + sum : sum;
}

// A block writes a row: zeros first, then its entries.
template <class T>
__global__ void write_out_kernel(SparseRows<T> x, Matrix<T> out) {
    for (std::int64_t i = blockIdx.x; i < x.rows; i += gridDim.x) {
        for (std::int64_t j = threadIdx.x; j < x.cols; j += blockDim.x) out.row(i)[j] = T(0);
        __syncthreads();
        for (std::int64_t k = x.indptr[i] + threadIdx.x; k < x.indptr[i + 1]; k += blockDim.x) {
            out.row(i)[x.indices[k]] = x.values ? x.values[k] : T(1);
        }
    }
}

}  // namespace

template <class T>
void finish_forward(Context& context, Activation f, const T* bias, T rate, const StepDraw& draw, std::uint32_t first_row, Matrix<T> out) {
    State& state = use(context);
    if (out.rows == 0 || out.cols == 0) return;
    const Cover c = cover_counters(out.rows, out.cols);
    launch(state.stream, forward_kernel<T>, c.grid, c.block, 0, f, bias, rate, draw, first_row, out);
}

template <class T>
void finish_backward(Context& context, Activation f, Matrix<const T> a, T a_scale, T rate, const StepDraw& draw,
                     std::uint32_t first_row, Matrix<const T> more, Matrix<T> out) {
    State& state = use(context);
    if (out.rows == 0 || out.cols == 0) return;
    const Cover c = cover_counters(out.rows, out.cols);
    launch(state.stream, backward_kernel<T>, c.grid, c.block, 0, f, a, a_scale, rate, draw, first_row, more, out);
}

template <class T>
void dense_forward(Context& context, const States<T>& x, Matrix<const T> w, bool transpose_w, const T* bias, Activation f,
                   Matrix<T> out) {
    gemm<T>(context, T(1), write_out(context, x), false, w, transpose_w, T(0), out);
    finish_forward<T>(context, f, bias, T(0), Draw(), 0, out);
}

template <class T>
void dense_backward(Context& context, Matrix<const T> delta, Matrix<const T> w, bool transpose_w, Activation f,
                    Matrix<const T> a, T a_scale, Matrix<T> out) {
    gemm<T>(context, T(1), delta, false, w, !transpose_w, T(0), out);
    if (f != Activation::identity) finish_backward<T>(context, f, a, a_scale, T(0), Draw(), 0, Matrix<const T>(), out);
}

template <class T>
void column_sums(Context& context, Matrix<const T> m, bool accumulate, T* out) {
    State& state = use(context);
    if (m.cols == 0) return;
    launch(state.stream, column_sums_kernel<T>, blocks_for(m.cols, 32, 0x7FFFFFFF), dim3(32, rows_down), 0, m, accumulate, out);
}

template <class T>
void dropout(Context& context, T rate, const Draw& draw, std::uint32_t first_row, Matrix<T> m) {
    if (rate > T(0)) finish_forward<T>(context, Activation::identity, nullptr, rate, draw, first_row, m);
}

template <class T>
Matrix<const T> write_out(Context& context, const States<T>& x, Matrix<T> room) {
    if (!x.is_sparse()) return x.dense;
    State& state = use(context);
    if (x.rows() > 0 && x.cols() > 0) launch(state.stream, write_out_kernel<T>, blocks_for(x.rows(), 1), 128, 0, x.sparse, room);
    return room;
}
template <class T>
Matrix<const T> write_out(Context& context, const States<T>& x) {
    if (!x.is_sparse()) return x.dense;
    return write_out(context, x, Matrix<T>(use(context).template scratch<T>(Scratch::second, x.rows() * x.cols()), x.rows(), x.cols()));
}

#define HARMONIUM_INSTANTIATE(T)                                                                                                \
    template void dense_forward(Context&, const States<T>&, Matrix<const T>, bool, const T*, Activation, Matrix<T>);           \
    template void dense_backward(Context&, Matrix<const T>, Matrix<const T>, bool, Activation, Matrix<const T>, T, Matrix<T>);  \
    template void column_sums(Context&, Matrix<const T>, bool, T*);                                                            \
    template void dropout(Context&, T, const Draw&, std::uint32_t, Matrix<T>);                                                 \
    template void finish_forward(Context&, Activation, const T*, T, const StepDraw&, std::uint32_t, Matrix<T>);                \
    template void finish_backward(Context&, Activation, Matrix<const T>, T, T, const StepDraw&, std::uint32_t, Matrix<const T>, Matrix<T>); \
    template Matrix<const T> write_out(Context&, const States<T>&, Matrix<T>);                                                 \
    template Matrix<const T> write_out(Context&, const States<T>&);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
