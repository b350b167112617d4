#include "unit_rows.cuh"

#include "cover.cuh"
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

#define HARMONIUM_INSTANTIATE(T)                                            \
    template void numbers_of(State&, const LayerRows<T>&, Matrix<T>);       \
    template void row_terms(State&, const RowTerms<T>&);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
