#include "panel_product.hpp"

#include <algorithm>

#include "binary_gemm_kernels.hpp"
#include "blas.hpp"

namespace harmonium {

template <class T>
Matrix<const T> Factor<T>::panel(std::int64_t p, T* scratch) const {
    const std::int64_t first = p * 64, cols = panel_cols(p);
    if (!transposed) {
        if (panels) return panels.panel(p);
        if (first + cols <= rows.cols) return {rows.data + first, rows.rows, cols, rows.stride};
        for (std::int64_t i = 0; i < rows.rows; ++i) {
            T* out = std::copy(rows.row(i) + first, rows.row(i) + rows.cols, scratch + i * cols);
            std::fill(out, scratch + (i + 1) * cols, T(0));
        }
        return {scratch, rows.rows, cols};
    }
    const std::int64_t count = std::min<std::int64_t>(64, outer() - first);
    for (std::int64_t j = 0; j < inner(); j += 64) {
        const Matrix<const T> from =
            panels ? panels.panel(j / 64).rows_from(first, count)
                   : Matrix<const T>(rows.row(first) + j, count, std::min<std::int64_t>(64, inner() - j), rows.stride);
        binary_gemm_kernels<T>().transpose(from, {scratch + j * cols, (from.cols + 15) / 16 * 16, cols});
    }
    return {scratch, inner(), cols};
}

template <class T>
std::int64_t panel_product_scratch(const Factor<T>& b) {
    return b.scratch_size() + multiply_scratch<T>();
}

template <class T>
void panel_product(const States<T>& a, const Factor<T>& b, std::int64_t p, bool accumulate, Matrix<T> acc, T* scratch) {
    const Matrix<const T> panel = b.panel(p, scratch);
    if (a.dense) {
        blas_gemm(T(1), a.dense, false, panel, false, T(accumulate), acc);
        return;
    }
    if (a.is_bits()) {
        binary_gemm_kernels<T>().multiply(a.bits, panel, accumulate, acc, scratch + b.scratch_size());
        return;
    }
    for (std::int64_t i = 0; !accumulate && i < acc.rows; ++i) std::fill(acc.row(i), acc.row(i) + acc.cols, T(0));
    binary_gemm_kernels<T>().multiply_sparse(a.sparse, panel, acc);
}

template struct Factor<float>;
template struct Factor<double>;
template std::int64_t panel_product_scratch(const Factor<float>&);
template std::int64_t panel_product_scratch(const Factor<double>&);
template void panel_product(const States<float>&, const Factor<float>&, std::int64_t, bool, Matrix<float>, float*);
template void panel_product(const States<double>&, const Factor<double>&, std::int64_t, bool, Matrix<double>, double*);

}  // namespace harmonium
