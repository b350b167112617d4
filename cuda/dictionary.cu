#include "dictionary.cuh"

#include "cover.cuh"
#include "dense.cuh"
#include "harmonium/math.hpp"
#include "reduce.cuh"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

constexpr std::int64_t atoms_at_a_time = 32;

// Atoms first, ..., one after another by one block; u: their rows of B - A D as D was before the first. A thread keeps to its
// features, so that norms are all that threads tell each other.
__global__ void group_kernel(Matrix<const double> a, std::int64_t first, bool positive, Matrix<double> u, Matrix<double> d) {
    __shared__ double gram[atoms_at_a_time][atoms_at_a_time];
    for (std::int64_t at = threadIdx.x; at < u.rows * u.rows; at += blockDim.x) {
        gram[at / u.rows][at % u.rows] = a.row(first + at / u.rows)[first + at % u.rows];
    }
    __syncthreads();
    for (std::int64_t k = 0; k < u.rows; ++k) {
        const double own = gram[k][k];
        if (!(own > 0)) continue;
        double *to = u.row(k), *atom = d.row(first + k);
        const auto value = [&](std::int64_t f) { return positive && to[f] < 0 ? 0.0 : to[f]; };
        double squares = 0, most = 0;
        for (std::int64_t f = threadIdx.x; f < d.cols; f += blockDim.x) {
            to[f] = detail::multiply_add(own, atom[f], to[f]);
            const double at = value(f), size = at < 0 ? -at : at;
            squares += at * at;
            most = size > most ? size : most;
        }
        const SumAndMost<double> all = block_sum_and_most(squares, most);
        if (!(all.most > 0)) continue;
        double norm = std::sqrt(all.sum);
        if (!(all.sum > 1e-280 && all.sum < 1e300)) {  // squares are beyond what a double holds
            squares = 0;
            for (std::int64_t f = threadIdx.x; f < d.cols; f += blockDim.x) squares += value(f) / all.most * (value(f) / all.most);
            norm = all.most * std::sqrt(block_sum_and_most(squares, 0.0).sum);
        }
        for (std::int64_t f = threadIdx.x; f < d.cols; f += blockDim.x) {
            const double now = value(f) / norm, moved = now - atom[f];
            atom[f] = now;
#pragma unroll 4
            for (std::int64_t j = k + 1; j < u.rows; ++j) u.row(j)[f] = detail::multiply_add(-gram[j][k], moved, u.row(j)[f]);
        }
    }
}

template <class From, class To>
__global__ void convert_kernel(Matrix<const From> from, Matrix<To> out) {
    const std::int64_t j = own_x();
    if (j >= out.cols) return;
    for (std::int64_t i = own_y(); i < out.rows; i += stride_y()) out.row(i)[j] = static_cast<To>(from.row(i)[j]);
}

template <class T>
__global__ void count_uses_kernel(Matrix<const T> codes, std::int64_t rows, double* nonzeros, double* idle) {
    const std::int64_t k = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
    const bool valid = k < codes.cols;
    double all = 0, since = valid ? idle[k] : 0;
    for (std::int64_t first = 0; first < codes.rows; first += rows) {
        const std::int64_t count = codes.rows - first < rows ? codes.rows - first : rows;
        const int used = sum_down<int>(count, valid, [&](std::int64_t i) { return codes.row(first + i)[k] != T(0) ? 1 : 0; });
        __syncthreads();  // the sums share memory
        all += used;
        since = used ? 0 : since + static_cast<double>(count);
    }
    if (threadIdx.y == 0 && valid) nonzeros[k] = all, idle[k] = since;
}

// A block takes an atom.
__global__ void replace_kernel(const std::int32_t* which, const double* rows, Matrix<double> d, Matrix<double> a, Matrix<double> b, double* idle) {
    const std::int64_t k = which[blockIdx.x];
    for (std::int64_t f = threadIdx.x; f < d.cols; f += blockDim.x) {
        d.row(k)[f] = rows[blockIdx.x * d.cols + f];
        b.row(k)[f] = 0;
    }
    for (std::int64_t j = threadIdx.x; j < a.cols; j += blockDim.x) a.row(k)[j] = a.row(j)[k] = 0;
    if (threadIdx.x == 0) idle[k] = 0;
}

}  // namespace

void dictionary_update(Context& context, Matrix<const double> a, Matrix<const double> b, bool positive, Matrix<double> scratch,
                       Matrix<double> d) {
    State& state = use(context);
    const std::int64_t atoms = d.rows, features = d.cols;
    if (features == 0) return;
    const unsigned threads = features > 512 ? 1024 : static_cast<unsigned>((features + 31) / 32 * 32);
    for (std::int64_t first = 0; first < atoms; first += atoms_at_a_time) {
        const std::int64_t count = atoms - first < atoms_at_a_time ? atoms - first : atoms_at_a_time;
        const Matrix<double> u = scratch.rows_from(0, count);
        CUDA_CHECK(cudaMemcpy2DAsync(u.data, static_cast<std::size_t>(u.stride) * 8, b.row(first), static_cast<std::size_t>(b.stride) * 8,
                                     static_cast<std::size_t>(features) * 8, static_cast<std::size_t>(count), cudaMemcpyDeviceToDevice, state.stream));
        multiply(state, Product::f64, count, features, atoms, -1, {a.row(first), a.stride, false}, {d.data, d.stride, false}, 1, u.data, u.stride);
        launch(state.stream, group_kernel, 1, threads, 0, a, first, positive, u, d);
    }
}

void code_statistics(State& state, Matrix<const double> h, Matrix<const double> x, double keep, double share, Matrix<double> a,
                     Matrix<double> b) {
    multiply(state, Product::f64, h.cols, h.cols, h.rows, share, {h.data, h.stride, true}, {h.data, h.stride, false}, keep, a.data, a.stride);
    multiply(state, Product::f64, h.cols, x.cols, h.rows, share, {h.data, h.stride, true}, {x.data, x.stride, false}, keep, b.data, b.stride);
}

template <class T>
void code_statistics(Context& context, const SparseRows<T>& h, Matrix<const T> x, double keep, double share, Matrix<double> a,
                     Matrix<double> b) {
    State& state = use(context);
    double* room = state.scratch<double>(Scratch::first, h.rows * (h.cols + x.cols));
    const Matrix<double> codes(room, h.rows, h.cols), rows(room + h.rows * h.cols, x.rows, x.cols);
    convert(state, write_out<T>(context, States<T>(h)), codes);
    convert(state, x, rows);
    code_statistics(state, Matrix<const double>(codes), Matrix<const double>(rows), keep, share, a, b);
}

template <class From, class To>
void convert(State& state, Matrix<const From> from, Matrix<To> out) {
    const Cover all = cover(out.rows, out.cols);
    launch(state.stream, convert_kernel<From, To>, all.grid, all.block, 0, from, out);
}
template void convert(State&, Matrix<const float>, Matrix<double>);

template <class T>
void count_uses(State& state, Matrix<const T> codes, std::int64_t rows, double* nonzeros, double* idle) {
    launch(state.stream, count_uses_kernel<T>, blocks_for(codes.cols, 32, 0x7FFFFFFF), dim3(32, rows_down), 0, codes, rows, nonzeros, idle);
}

void replace_atoms(State& state, std::int64_t n, const std::int32_t* which, const double* rows, Matrix<double> d, Matrix<double> a,
                   Matrix<double> b, double* idle) {
    launch(state.stream, replace_kernel, static_cast<unsigned>(n), 128, 0, which, rows, d, a, b, idle);
}

#define HARMONIUM_INSTANTIATE(T)                                      \
    template void convert(State&, Matrix<const double>, Matrix<T>);   \
    template void code_statistics(Context&, const SparseRows<T>&, Matrix<const T>, double, double, Matrix<double>, Matrix<double>); \
    template void count_uses(State&, Matrix<const T>, std::int64_t, double*, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
