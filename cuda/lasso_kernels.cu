#include "lasso_kernels.cuh"

#include "cover.cuh"
#include "harmonium/math.hpp"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

// h1, h2, h1 side by side.
__device__ void write_parts(float value, Bfloat16* row, std::int64_t step) {
    Bfloat16 part[2];
    split(value, 2, part);
    row[0] = part[0];
    row[step] = part[1];
    row[2 * step] = part[0];
}

__device__ double penalty_of(const LassoPenalty& alpha, std::int64_t row, std::int64_t j) {
    return alpha.data[row * alpha.row_stride + j * alpha.col_stride];
}

// sum_j alpha_j |h_j|, and the largest |g_j| / alpha_j: of g_j / alpha_j where codes may not be negative.
template <class R>
__device__ SumAndMost<double> reach(const LassoBlock& block, std::int64_t row, const R* codes, const R* correlation, bool positive) {
    double penalty = 0, most = 0;
    for (std::int64_t j = threadIdx.x; j < block.atoms; j += blockDim.x) {
        const double alpha = penalty_of(block.alpha, row, j);
        const R h = codes[j], g = correlation[j];
        if (h != R(0)) penalty += alpha * static_cast<double>(h < 0 ? -h : h);
        const double ratio = static_cast<double>((positive || g > 0 ? g : -g) / static_cast<R>(alpha));
        most = ratio > most ? ratio : most;
    }
    return block_sum_and_most(penalty, most);
}

// As gap_of in lasso_row.hpp.
__device__ double gap_of(double objective, double residual_squared, double residual_x, double ratio) {
    const double s = ratio > 1 ? 1 / ratio : 1.0, gap = objective - s * residual_x + 0.5 * s * s * residual_squared;
    return gap > 0 ? gap : 0;
}

template <class R, class T>
__global__ void start_kernel(LassoBlock block, LassoWork<R> work, Matrix<const T> codes) {
    const std::int64_t j = own_x();
    if (j >= block.atom_stride) return;
    for (std::int64_t i = own_y(); i < block.rows; i += stride_y()) {
        R value = 0;
        if (j < block.atoms && penalty_of(block.alpha, i, j) <= 1.7976931348623157e308) value = static_cast<R>(codes.row(i)[j]);
        work.codes[i * block.atom_stride + j] = value;
        if (sizeof(R) == 4) write_parts(static_cast<float>(value), work.code_parts + i * 3 * block.atom_stride + j, block.atom_stride);
        if (j == 0) work.slots[i] = {0, 0, 1, 0, 0, static_cast<std::int32_t>(i), block.n_iter[i], 0, true, true};
    }
}

// r = x - h D, 0 where an entry is missing; a warp takes a row.
template <class R>
__global__ void residual_kernel(LassoBlock block, LassoWork<R> work, std::int64_t slots) {
    const std::int64_t slot = own_y();
    if (slot >= slots) return;  // with its whole warp
    LassoSlot& own = work.slots[slot];
    R* residual = work.residual + slot * block.feature_stride;
    const double* x = block.x.row(own.row);
    double squares = 0, with_x = 0;
    for (std::int64_t f = threadIdx.x; f < block.feature_stride; f += 32) {
        double r = 0;
        if (f < block.features && (!block.observed.data || block.observed.row(own.row)[f])) {
            r = x[f] - static_cast<double>(residual[f]);
            squares += r * r;
            with_x += r * x[f];
        }
        if (sizeof(R) == 4) write_parts(static_cast<float>(r), work.residual_parts + slot * 3 * block.feature_stride + f, block.feature_stride);
        else residual[f] = static_cast<R>(r);
    }
    squares = warp_sum(squares);
    with_x = warp_sum(with_x);
    if (threadIdx.x == 0) own.residual_squared = squares, own.residual_x = with_x;
}

// A block takes a row. Momentum is dropped as on the CPU, by a sign that the errors of bfloat16 products do not decide. A row
// goes on in double at a gap that they do not resolve, or that no longer falls.
constexpr int most_idle = 25;
constexpr double least_resolved = 0x1p-15;  // of the objective; on patches and random data errors begin at a third of it
template <class R, class T>
__global__ void step_kernel(LassoBlock block, LassoWork<R> work, double tol, std::int64_t max_iter, bool fista, bool positive,
                            Matrix<T> out) {
    const LassoSlot own = work.slots[blockIdx.x];
    if (!own.working) return;
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * block.atom_stride;
    R *codes = work.codes + first, *before = work.before + first, *correlation_before = work.correlation_before + first;
    const R* correlation = work.correlation + first;
    const SumAndMost<double> all = reach(block, own.row, codes, correlation, positive);
    const double objective = 0.5 * own.residual_squared + all.sum;
    const bool finite = objective <= 1.7976931348623157e308;
    const double gap = gap_of(objective, own.residual_squared, own.residual_x, all.most);
    const bool done = finite && gap <= tol * objective, falls = own.fresh || gap < 0.7 * own.least_gap;
    const bool unresolved = sizeof(R) == 4 && (own.idle >= most_idle || gap <= least_resolved * objective);
    const std::int32_t n_iter = own.n_iter + !own.fresh;
    const bool ends = done || !finite || unresolved || n_iter >= max_iter;
    LassoSlot next = own;
    next.n_iter = n_iter;
    next.fresh = false;
    next.working = !ends;
    next.least_gap = falls ? gap : own.least_gap;
    next.idle = falls ? 0 : own.idle + 1;
    R momentum = 0;
    if (fista && !own.fresh) {
        const double t = own.uphill > 0 ? 1 : own.t;
        next.t = (1 + std::sqrt(1 + 4 * t * t)) / 2;
        momentum = static_cast<R>((t - 1) / next.t);
    }
    if (ends) {
        if (threadIdx.x == 0) {
            work.slots[blockIdx.x] = next;
            block.n_iter[own.row] = n_iter, block.converged[own.row] = done;
        }
        if (!finite && own.fresh) return;  // beyond R's range: the codes stay those to start from
        const R* from = finite ? codes : before;
        for (std::int64_t j = threadIdx.x; j < block.atoms; j += blockDim.x) out.row(own.row)[j] = static_cast<T>(from[j]) + T(0);
        return;
    }
    const R step = static_cast<R>(*block.step);
    double uphill = 0;
    for (std::int64_t j = threadIdx.x; j < block.atoms; j += blockDim.x) {
        const R last = codes[j], g = correlation[j];
        R point = last, at_point = g;
        if (momentum != R(0)) {
            point += momentum * (last - before[j]);
            at_point += momentum * (g - correlation_before[j]);
        }
        before[j] = last;
        correlation_before[j] = g;
        const R moved = detail::multiply_add(step, at_point, point), a = step * static_cast<R>(penalty_of(block.alpha, own.row, j));
        const R h = positive ? harmonium::shrink_positive(moved, a) : harmonium::shrink(moved, a);
        codes[j] = h;
        uphill += static_cast<double>(point - h) * static_cast<double>(h - last);
        if (sizeof(R) == 4) {
            write_parts(static_cast<float>(h), work.code_parts + static_cast<std::int64_t>(blockIdx.x) * 3 * block.atom_stride + j,
                        block.atom_stride);
        }
    }
    next.uphill = block_sum(uphill);
    if (threadIdx.x == 0) work.slots[blockIdx.x] = next;
}

__global__ void gap_kernel(LassoBlock block, LassoWork<double> work, bool positive) {
    const LassoSlot& own = work.slots[blockIdx.x];
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * block.atom_stride;
    const SumAndMost<double> all = reach(block, own.row, work.codes + first, work.correlation + first, positive);
    if (threadIdx.x > 0) return;
    const double objective = 0.5 * own.residual_squared + all.sum;
    block.objectives[own.row] = objective;
    block.gaps[own.row] = gap_of(objective, own.residual_squared, own.residual_x, all.most);
}

__global__ void count_kernel(const LassoSlot* slots, std::int64_t n, int* count) {
    int working = 0;
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) working += slots[i].working;
    working = block_sum(working);
    if (threadIdx.x == 0) *count = working;
}

// moves: how many, then slots before `count` that are free, and from n + 1 on the slots behind that are at work, both in order.
__global__ void find_moves_kernel(const LassoSlot* slots, std::int64_t n, std::int64_t count, int* moves) {
    __shared__ int begin[2][257];
    const std::int64_t share = (n + blockDim.x - 1) / blockDim.x, first = threadIdx.x * share;
    const std::int64_t last = first + share < n ? first + share : n;
    const auto wanted = [&](std::int64_t i) { return slots[i].working == (i >= count); };
    int found[2] = {0, 0};
    for (std::int64_t i = first; i < last; ++i) found[i >= count] += wanted(i);
    begin[0][threadIdx.x + 1] = found[0];
    begin[1][threadIdx.x + 1] = found[1];
    __syncthreads();
    if (threadIdx.x < 2) {
        int* sums = begin[threadIdx.x];
        sums[0] = 0;
        for (unsigned t = 0; t < blockDim.x; ++t) sums[t + 1] += sums[t];
        if (threadIdx.x == 0) moves[0] = sums[blockDim.x];
    }
    __syncthreads();
    int at[2] = {begin[0][threadIdx.x], begin[1][threadIdx.x]};
    for (std::int64_t i = first; i < last; ++i) {
        const int side = i >= count;
        if (wanted(i)) moves[1 + side * n + at[side]++] = static_cast<int>(i);
    }
}

template <class R>
__global__ void move_kernel(LassoBlock block, LassoWork<R> work, std::int64_t n, const int* moves) {
    if (static_cast<int>(blockIdx.x) >= moves[0]) return;
    const std::int64_t to = moves[1 + blockIdx.x], from = moves[1 + n + blockIdx.x];
    for (std::int64_t j = threadIdx.x; j < block.atoms; j += blockDim.x) {
        for (R* values : {work.codes, work.before, work.correlation_before}) {
            values[to * block.atom_stride + j] = values[from * block.atom_stride + j];
        }
        if (sizeof(R) == 4) {
            for (int part = 0; part < 3; ++part) {
                work.code_parts[(to * 3 + part) * block.atom_stride + j] = work.code_parts[(from * 3 + part) * block.atom_stride + j];
            }
        }
    }
    if (threadIdx.x == 0) {
        work.slots[to] = work.slots[from];
        work.slots[from].working = false;
    }
}

template <class T>
__global__ void dictionary_kernel(Matrix<const T> dictionary, std::int64_t atom_stride, std::int64_t feature_stride, double* wide,
                                  Bfloat16* below, Bfloat16* beside) {
    const std::int64_t f = own_x();
    if (f >= feature_stride) return;
    for (std::int64_t k = own_y(); k < atom_stride; k += stride_y()) {
        const double value = k < dictionary.rows && f < dictionary.cols ? static_cast<double>(dictionary.row(k)[f]) : 0.0;
        wide[k * feature_stride + f] = value;
        if (!below) continue;
        Bfloat16 part[2];
        split(static_cast<float>(value), 2, part);
        for (int p = 0; p < 3; ++p) {
            below[(p * atom_stride + k) * feature_stride + f] = part[p / 2];  // D1, D1, D2
            beside[(k * 3 + p) * feature_stride + f] = part[p / 2];
        }
    }
}

template <class T>
__global__ void rows_kernel(Matrix<const T> x, Matrix<const std::uint8_t> observed, Matrix<double> out) {
    const std::int64_t f = own_x();
    if (f >= x.cols) return;
    for (std::int64_t i = own_y(); i < x.rows; i += stride_y()) {
        out.row(i)[f] = !observed.data || observed.row(i)[f] ? static_cast<double>(x.row(i)[f]) : 0.0;
    }
}

__global__ void refused_kernel(LassoPenalty alpha, std::int64_t rows, std::int64_t atoms, unsigned long long* first) {
    const std::int64_t j = own_x();
    if (j >= atoms) return;
    for (std::int64_t i = own_y(); i < rows; i += stride_y()) {
        if (!(penalty_of(alpha, i, j) > 0)) atomicMin(first, static_cast<unsigned long long>(i * atoms + j));
    }
}

// sums: norm, log of the bound, whether a norm was 0.
__global__ void norm_kernel(const double* power, std::int64_t n, double share, double* sums) {
    double squares = 0;
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) squares += power[i] * power[i];
    squares = block_sum(squares);
    if (threadIdx.x != 0) return;
    const bool first = share == 1, none = squares == 0;
    sums[0] = none ? 1.0 : std::sqrt(squares);
    sums[1] = (first ? 0 : sums[1]) + share * harmonium::log(sums[0]);
    sums[2] = (first ? 0 : sums[2]) + none;
}
__global__ void divide_kernel(double* power, std::int64_t n, const double* sums) {
    for (std::int64_t i = own_x(); i < n; i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) power[i] /= sums[0];
}
__global__ void bound_kernel(const double* sums, double* bound) {
    const double found = sums[2] > 0 ? 0.0 : harmonium::exp(sums[1]) * (1 + 1e-12);
    bound[0] = found;
    bound[1] = found > 0 ? 1 / found : 1.0;  // any step leads codes on atoms of zeros to zero
}

unsigned threads_for(std::int64_t atoms) { return atoms > 512 ? 256 : atoms > 64 ? 128 : 32; }

}  // namespace

template <class R, class T>
void lasso_start(State& state, const LassoBlock& block, const LassoWork<R>& work, Matrix<const T> codes) {
    const Cover all = cover(block.rows, block.atom_stride);
    launch(state.stream, start_kernel<R, T>, all.grid, all.block, 0, block, work, codes);
}

template <class R>
void lasso_correlations(State& state, const LassoBlock& block, const LassoWork<R>& work, std::int64_t slots) {
    const std::int64_t K = block.atom_stride, d = block.feature_stride;
    if constexpr (sizeof(R) == 4) {
        multiply(state, Product::bf16, slots, d, 3 * K, 1, {work.code_parts, 3 * K, false}, {block.below, d, false}, 0, work.residual, d);
    } else {
        multiply(state, Product::f64, slots, d, K, 1, {work.codes, K, false}, {block.dictionary, d, false}, 0, work.residual, d);
    }
    launch(state.stream, residual_kernel<R>, dim3(1, blocks_for(slots, 8, 0x7FFFFFFF)), dim3(32, 8), 0, block, work, slots);
    if constexpr (sizeof(R) == 4) {
        multiply(state, Product::bf16, slots, K, 3 * d, 1, {work.residual_parts, 3 * d, false}, {block.beside, 3 * d, true}, 0,
                 work.correlation, K);
    } else {
        multiply(state, Product::f64, slots, K, d, 1, {work.residual, d, false}, {block.dictionary, d, true}, 0, work.correlation, K);
    }
}

template <class R, class T>
void lasso_step(State& state, const LassoBlock& block, const LassoWork<R>& work, const LassoOptions& options, std::int64_t slots,
                Matrix<T> codes) {
    launch(state.stream, step_kernel<R, T>, static_cast<unsigned>(slots), threads_for(block.atoms), 0, block, work, options.tol,
           options.max_iter, options.algorithm == LassoAlgorithm::fista, options.positive, codes);
}

void lasso_count(State& state, const LassoSlot* slots, std::int64_t n, int* count) {
    launch(state.stream, count_kernel, 1, 256, 0, slots, n, count);
}

template <class R>
void lasso_compact(State& state, const LassoBlock& block, const LassoWork<R>& work, std::int64_t n, std::int64_t count, int* moves) {
    launch(state.stream, find_moves_kernel, 1, 256, 0, work.slots, n, count, moves);
    const std::int64_t most = count < n - count ? count : n - count;
    launch(state.stream, move_kernel<R>, static_cast<unsigned>(most > 0 ? most : 1), threads_for(block.atoms), 0, block, work, n, moves);
}

void lasso_gaps(State& state, const LassoBlock& block, const LassoWork<double>& work, bool positive) {
    launch(state.stream, gap_kernel, static_cast<unsigned>(block.rows), threads_for(block.atoms), 0, block, work, positive);
}

template <class T>
void lasso_dictionary(State& state, Matrix<const T> dictionary, std::int64_t atom_stride, std::int64_t feature_stride, double* wide,
                      Bfloat16* below, Bfloat16* beside) {
    const Cover all = cover(atom_stride, feature_stride);
    launch(state.stream, dictionary_kernel<T>, all.grid, all.block, 0, dictionary, atom_stride, feature_stride, wide, below, beside);
}

template <class T>
void lasso_rows(State& state, Matrix<const T> x, Matrix<const std::uint8_t> observed, Matrix<double> out) {
    const Cover all = cover(x.rows, x.cols);
    launch(state.stream, rows_kernel<T>, all.grid, all.block, 0, x, observed, out);
}

void lasso_refused(State& state, LassoPenalty alpha, std::int64_t rows, std::int64_t atoms, unsigned long long* first) {
    const Cover all = cover(rows, atoms);
    launch(state.stream, refused_kernel, all.grid, all.block, 0, alpha, rows, atoms, first);
}

void trace_bound(Context& context, Matrix<const double> d, double* power, double* square, double* bound) {
    State& state = use(context);
    const bool by_rows = d.rows <= d.cols;
    const std::int64_t n = by_rows ? d.rows : d.cols, inner = by_rows ? d.cols : d.rows;
    double* sums = state.scratch<double>(Scratch::first, 3);
    multiply(state, Product::f64, n, n, inner, 1, {d.data, d.stride, !by_rows}, {d.data, d.stride, by_rows}, 0, power, n);
    double share = 1;
    for (int squaring = 0;; ++squaring, share /= 2) {
        launch(state.stream, norm_kernel, 1, 1024, 0, power, n * n, share, sums);
        if (squaring == 7) break;
        launch(state.stream, divide_kernel, blocks_for(n * n, 256, 1024), 256, 0, power, n * n, sums);
        multiply(state, Product::f64, n, n, n, 1, {power, n, false}, {power, n, false}, 0, square, n);
        std::swap(power, square);
    }
    launch(state.stream, bound_kernel, 1, 1, 0, sums, bound);
}

#define HARMONIUM_INSTANTIATE(T)                                                                                             \
    template void lasso_start(State&, const LassoBlock&, const LassoWork<float>&, Matrix<const T>);                          \
    template void lasso_start(State&, const LassoBlock&, const LassoWork<double>&, Matrix<const T>);                         \
    template void lasso_step(State&, const LassoBlock&, const LassoWork<float>&, const LassoOptions&, std::int64_t, Matrix<T>);  \
    template void lasso_step(State&, const LassoBlock&, const LassoWork<double>&, const LassoOptions&, std::int64_t, Matrix<T>); \
    template void lasso_correlations(State&, const LassoBlock&, const LassoWork<T>&, std::int64_t);                          \
    template void lasso_compact(State&, const LassoBlock&, const LassoWork<T>&, std::int64_t, std::int64_t, int*);           \
    template void lasso_dictionary(State&, Matrix<const T>, std::int64_t, std::int64_t, double*, Bfloat16*, Bfloat16*);      \
    template void lasso_rows(State&, Matrix<const T>, Matrix<const std::uint8_t>, Matrix<double>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
