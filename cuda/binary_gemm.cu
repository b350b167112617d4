#include "binary_gemm.cuh"

#include "gemm.cuh"
#include "launch.cuh"
#include "operand.cuh"

namespace harmonium::cuda {

namespace {

template <class T>
__global__ void states_kernel(ConstBitMatrix bits, Parts<T> out) {
    const auto j = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (j >= bits.cols) return;
    for (std::int64_t i = blockIdx.y; i < bits.rows; i += gridDim.y) out.set_state(i, j, bits.bit(i, j));
}

// A warp takes 64 columns: two ballots are a word.
template <class T>
__global__ void bits_kernel(Parts<T> states, BitMatrix out) {
    const auto thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const std::int64_t word = thread / 32, lane = thread % 32;
    for (std::int64_t i = blockIdx.y; i < out.rows; i += gridDim.y) {
        std::uint64_t bits = 0;
        for (int half = 0; half < 2; ++half) {
            const std::int64_t j = 64 * word + 32 * half + lane;
            const std::uint64_t these = __ballot_sync(0xFFFFFFFFu, j < out.cols && states.is_on(i, j));
            bits |= these << (32 * half);
        }
        if (lane == 0 && word < out.words()) out.row(i)[word] = bits;
    }
}

template <class T, class Out>
__global__ void split_kernel(Matrix<const T> x, Out out) {
    const auto j = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (j >= x.cols) return;
    for (std::int64_t i = blockIdx.y; i < x.rows; i += gridDim.y) out.set(i, j, x.row(i)[j]);
}

// A thread takes a column of a row: it adds up what the rows of B at the row's entries have there.
template <class T>
__global__ void sparse_kernel(SparseRows<T> a, Matrix<const T> b, bool accumulate, Matrix<T> out) {
    const auto j = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (j >= out.cols) return;
    for (std::int64_t i = blockIdx.y; i < out.rows; i += gridDim.y) {
        T sum = 0;
#pragma unroll 4
        for (std::int64_t k = a.indptr[i]; k < a.indptr[i + 1]; ++k) {
            const T x = b.row(a.indices[k])[j];
            sum += a.values ? a.values[k] * x : x;
        }
        T& to = out.row(i)[j];
        to = accumulate ? to + sum : sum;
    }
}

// A block turns squares of 32 x 32 numbers, which it reads and writes by rows.
template <class T>
__global__ void transpose_kernel(Matrix<const T> x, Matrix<T> out) {
    __shared__ T square[32][33];
    const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * 32;
    for (std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * 32; row < x.rows; row += static_cast<std::int64_t>(gridDim.y) * 32) {
        for (unsigned i = threadIdx.y; i < 32; i += blockDim.y) {
            if (row + i < x.rows && column + threadIdx.x < x.cols) square[i][threadIdx.x] = x.row(row + i)[column + threadIdx.x];
        }
        __syncthreads();
        for (unsigned i = threadIdx.y; i < 32; i += blockDim.y) {
            if (column + i < x.cols && row + threadIdx.x < x.rows) out.row(column + i)[row + threadIdx.x] = square[threadIdx.x][i];
        }
        __syncthreads();
    }
}

constexpr unsigned threads = 128;
dim3 grid_of(std::int64_t rows, std::int64_t cols) { return {blocks_for(cols, threads, 0x7FFFFFFF), blocks_for(rows, 1)}; }

template <class T>
void to_states(State& state, ConstBitMatrix bits, const Parts<T>& out) {
    if (bits.rows && bits.cols) launch(state.stream, states_kernel<T>, grid_of(bits.rows, bits.cols), threads, 0, bits, out);
}
template <class T>
void to_bits(State& state, const Parts<T>& states, BitMatrix out) {
    if (out.rows && out.cols) launch(state.stream, bits_kernel<T>, grid_of(out.rows, 32 * out.words()), threads, 0, states, out);
}

}  // namespace

void states_of_bits(State& state, ConstBitMatrix bits, const Parts<float>& out) { to_states(state, bits, out); }
void states_of_bits(State& state, ConstBitMatrix bits, const Parts<double>& out) { to_states(state, bits, out); }
void bits_of_states(State& state, const Parts<float>& states, BitMatrix out) { to_bits(state, states, out); }
void bits_of_states(State& state, const Parts<double>& states, BitMatrix out) { to_bits(state, states, out); }

template <class T>
void split_factor(State& state, Matrix<const T> w, const FactorParts<T>& out) {
    if (w.rows && w.cols) launch(state.stream, split_kernel<T, FactorParts<T>>, grid_of(w.rows, w.cols), threads, 0, w, out);
}
template <class T>
void split_rows(State& state, Matrix<const T> x, const Parts<T>& out) {
    if (x.rows && x.cols) launch(state.stream, split_kernel<T, Parts<T>>, grid_of(x.rows, x.cols), threads, 0, x, out);
}

template <class T>
void multiply_states(State& state, const Parts<T>& a, const FactorParts<T>& w, bool transposed, T beta, Matrix<T> out) {
    const std::int64_t inner = a.parts * a.padded, padded = w.beside.padded;
    const Operand factor = transposed ? Operand{w.beside.data, inner, true} : Operand{w.stacked ? w.stacked : w.beside.data, padded, false};
    // Where the factor has no rows for the states' padding, the product stops before it.
    const std::int64_t k = transposed || w.stacked ? inner : a.cols;
    multiply(state, ElementOf<T>::product, a.rows, out.cols, k, 1, {a.data, inner, false}, factor, static_cast<double>(beta), out.data, out.stride);
}
template <class T>
void multiply_gradient(State& state, const Parts<T>& a, const Parts<T>& b, T beta, Matrix<T> out) {
    multiply(state, ElementOf<T>::product, a.cols, b.cols, a.parts * a.rows, 1, {a.data, a.padded, true}, {b.data, b.padded, false},
             static_cast<double>(beta), out.data, out.stride);
}

template <class T>
void binary_gemm(Context& context, ConstBitMatrix a, Matrix<const T> b, bool transpose_b, bool accumulate, Matrix<T> out, int parts) {
    State& state = use(context);
    if (a.rows == 0 || out.cols == 0 || a.cols == 0) return gemm<T>(context, T(0), {b.data, out.rows, 0}, false, {b.data, 0, out.cols}, false, T(accumulate), out);
    if (sizeof(T) == 8) parts = 1;
    using Element = typename ElementOf<T>::type;
    const std::int64_t of_a = Parts<T>::size(a.rows, a.cols, parts);
    auto* memory = state.scratch<Element>(Scratch::first, of_a);
    CUDA_CHECK(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(of_a) * sizeof(Element), state.stream));
    const Parts<T> left(memory, a.rows, a.cols, parts);
    to_states(state, a, left);
    const std::int64_t of_b = transpose_b ? Parts<T>::size(b.rows, b.cols, parts) : FactorParts<T>::stacked_size(b.rows, b.cols, parts);
    auto* factor = state.scratch<Element>(Scratch::second, of_b);
    CUDA_CHECK(cudaMemsetAsync(factor, 0, static_cast<std::size_t>(of_b) * sizeof(Element), state.stream));
    const FactorParts<T> right{transpose_b ? nullptr : factor, {transpose_b ? factor : nullptr, b.rows, b.cols, parts}};
    split_factor(state, b, right);
    multiply_states(state, left, right, transpose_b, T(accumulate), out);
}

template <class T>
void binary_gemm(Context& context, const SparseRows<T>& a, Matrix<const T> b, bool transpose_b, bool accumulate, Matrix<T> out) {
    State& state = use(context);
    if (out.rows == 0 || out.cols == 0) return;
    if (transpose_b && b.cols) {
        const Matrix<T> turned(state.scratch<T>(Scratch::first, b.rows * b.cols), b.cols, b.rows);
        launch(state.stream, transpose_kernel<T>, dim3(blocks_for(b.cols, 32, 0x7FFFFFFF), blocks_for(b.rows, 32)), dim3(32, 8), 0, b, turned);
        b = turned;
    }
    launch(state.stream, sparse_kernel<T>, grid_of(out.rows, out.cols), threads, 0, a, b, accumulate, out);
}

template <class T>
void binary_gemm_tn(Context& context, ConstBitMatrix a, Matrix<const T> b, bool accumulate, Matrix<T> out, int parts) {
    State& state = use(context);
    if (a.rows == 0 || out.cols == 0 || a.cols == 0) return gemm<T>(context, T(0), {b.data, out.rows, 0}, false, {b.data, 0, out.cols}, false, T(accumulate), out);
    if (sizeof(T) == 8) parts = 1;
    using Element = typename ElementOf<T>::type;
    const Parts<T> left(state.scratch<Element>(Scratch::first, Parts<T>::size(a.rows, a.cols, parts)), a.rows, a.cols, parts);
    const Parts<T> right(state.scratch<Element>(Scratch::second, Parts<T>::size(b.rows, b.cols, parts)), b.rows, b.cols, parts);
    to_states(state, a, left);
    split_rows(state, b, right);
    multiply_gradient(state, left, right, T(accumulate), out);
}

#define HARMONIUM_INSTANTIATE(T)                                                                                             \
    template void split_factor(State&, Matrix<const T>, const FactorParts<T>&);                                              \
    template void split_rows(State&, Matrix<const T>, const Parts<T>&);                                                      \
    template void multiply_states(State&, const Parts<T>&, const FactorParts<T>&, bool, T, Matrix<T>);                       \
    template void multiply_gradient(State&, const Parts<T>&, const Parts<T>&, T, Matrix<T>);                                 \
    template void binary_gemm(Context&, ConstBitMatrix, Matrix<const T>, bool, bool, Matrix<T>, int);                        \
    template void binary_gemm(Context&, const SparseRows<T>&, Matrix<const T>, bool, bool, Matrix<T>);                       \
    template void binary_gemm_tn(Context&, ConstBitMatrix, Matrix<const T>, bool, Matrix<T>, int);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
