#include "unit_rows.cuh"

#include "cover.cuh"
#include "harmonium/math.hpp"
#include "launch.cuh"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

template <class T>
__global__ void numbers_kernel(LayerRows<T> rows, Matrix<T> out) {
    for (std::int64_t i = own_y(); i < out.rows; i += stride_y()) {
        if (const std::int64_t j = own_x(); j < out.cols) out.row(i)[j] = rows.value(i, j);
    }
}

// A block takes a row.
template <class T>
__global__ void terms_kernel(RowTerms<T> t) {
    const double share = t.share ? *t.share : 1.0;
    for (std::int64_t i = blockIdx.x; i < t.rows; i += gridDim.x) {
        double sum = 0;
        for (std::int64_t j = threadIdx.x; j < t.units; j += blockDim.x) {
            const auto x = static_cast<double>(t.x.value(i, j));
            sum += x * (t.slope[j] - (t.curve ? t.curve[j] * x : 0.0));
        }
        sum = block_sum(sum);
        if (threadIdx.x > 0) continue;
        sum = share * sum + (t.plus ? t.plus[i] : 0.0) - (t.minus ? t.minus[i] : 0.0);
        t.out[i] = t.add ? t.out[i] + sum : sum;
    }
}

template <class T>
__global__ void likes_kernel(Tempered<T> t) {
    for (std::int64_t i = blockIdx.x; i < t.temperatures * t.chains; i += gridDim.x) {
        double sum = 0;
        for (std::int64_t k = threadIdx.x; k < t.visible.cols; k += blockDim.x) sum += static_cast<double>(t.visible.row(i)[k]) * t.slope[k];
        for (std::int64_t j = threadIdx.x; j < t.hidden.cols; j += blockDim.x) {
            if (t.hidden.row(i)[j] != T(0)) sum += static_cast<double>(t.activation.row(i)[j]) + static_cast<double>(t.hidden_bias[j]);
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) t.likes[i] = sum;
    }
}

// A block takes a pair of chains, the one at a temperature first, first + 2, ...; no chain is in two pairs.
template <class T>
__global__ void swap_kernel(Tempered<T> t, std::int64_t first, std::int64_t pairs) {
    const double gap = 1 / static_cast<double>(t.temperatures - 1);
    const Draw draw = t.draw.now();
    for (std::int64_t pair = blockIdx.x; pair < pairs * t.chains; pair += gridDim.x) {
        const std::int64_t cold = first + 2 * (pair / t.chains), i = pair % t.chains, at = cold * t.chains + i, other = at + t.chains;
        const double before = t.likes[at], change = gap * (t.likes[other] - before);
        const double u = uniform<double>(draw, t.first_row + static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(cold));
        __syncthreads();  // all have read what one of them changes
        if (u >= exp(change < 0 ? change : 0.0)) continue;
        for (std::int64_t j = threadIdx.x; j < t.hidden.cols; j += blockDim.x) {
            const T kept = t.hidden.row(at)[j];
            t.hidden.row(at)[j] = t.hidden.row(other)[j];
            t.hidden.row(other)[j] = kept;
        }
        if (threadIdx.x > 0) continue;
        t.likes[at] = t.likes[other];
        t.likes[other] = before;
        atomicAdd(t.accepted + cold, 1ull);
    }
}

}  // namespace

template <class T>
void numbers_of(State& state, const LayerRows<T>& rows, Matrix<T> out) {
    const Cover over = cover(out.rows, out.cols);
    if (out.rows && out.cols) launch(state.stream, numbers_kernel<T>, over.grid, over.block, 0, rows, out);
}
template <class T>
void row_terms(State& state, const RowTerms<T>& terms) {
    if (terms.rows) launch(state.stream, terms_kernel<T>, blocks_for(terms.rows, 1), 128, 0, terms);
}
template <class T>
void swap_tempered(State& state, const Tempered<T>& tempered) {
    const std::int64_t rows = tempered.temperatures * tempered.chains;
    if (rows == 0) return;
    launch(state.stream, likes_kernel<T>, blocks_for(rows, 1), 128, 0, tempered);
    for (std::int64_t first = 0; first < 2; ++first) {
        const std::int64_t pairs = (tempered.temperatures - first) / 2;
        if (pairs) launch(state.stream, swap_kernel<T>, blocks_for(pairs * tempered.chains, 1), 128, 0, tempered, first, pairs);
    }
}

#define HARMONIUM_INSTANTIATE(T)                                            \
    template void numbers_of(State&, const LayerRows<T>&, Matrix<T>);       \
    template void row_terms(State&, const RowTerms<T>&);                    \
    template void swap_tempered(State&, const Tempered<T>&);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
