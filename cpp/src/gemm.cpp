#include "harmonium/gemm.hpp"

#include "blas.hpp"
#include "cuda/gemm.cuh"
#include "cuda_state.hpp"
#include "even_blocks.hpp"
#include "harmonium/error.hpp"

// Declared here rather than included: any CBLAS does, and the prefix is the build's choice.
#define HARMONIUM_CONCAT_(a, b) a##b
#define HARMONIUM_CONCAT(a, b) HARMONIUM_CONCAT_(a, b)
#define HARMONIUM_CBLAS(name) HARMONIUM_CONCAT(HARMONIUM_BLAS_PREFIX, name)
extern "C" {
void HARMONIUM_CBLAS(cblas_sgemm)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                                  float*, int);
void HARMONIUM_CBLAS(cblas_dgemm)(int, int, int, int, int, int, double, const double*, int, const double*, int, double,
                                  double*, int);
#if HARMONIUM_HAS_OPENBLAS
char* HARMONIUM_CBLAS(openblas_get_corename)();
#endif
}

namespace harmonium {

namespace {
constexpr int row_major = 101, no_transpose = 111, transpose = 112;  // values fixed by the CBLAS standard
constexpr std::int64_t most = 256;
}  // namespace

void blas_gemm(float alpha, Matrix<const float> a, bool transpose_a, Matrix<const float> b, bool transpose_b, float beta,
               Matrix<float> c) {
    HARMONIUM_CBLAS(cblas_sgemm)
    (row_major, transpose_a ? transpose : no_transpose, transpose_b ? transpose : no_transpose, static_cast<int>(c.rows),
     static_cast<int>(c.cols), static_cast<int>(transpose_a ? a.rows : a.cols), alpha, a.data, static_cast<int>(a.stride),
     b.data, static_cast<int>(b.stride), beta, c.data, static_cast<int>(c.stride));
}

void blas_gemm(double alpha, Matrix<const double> a, bool transpose_a, Matrix<const double> b, bool transpose_b,
               double beta, Matrix<double> c) {
    HARMONIUM_CBLAS(cblas_dgemm)
    (row_major, transpose_a ? transpose : no_transpose, transpose_b ? transpose : no_transpose, static_cast<int>(c.rows),
     static_cast<int>(c.cols), static_cast<int>(transpose_a ? a.rows : a.cols), alpha, a.data, static_cast<int>(a.stride),
     b.data, static_cast<int>(b.stride), beta, c.data, static_cast<int>(c.stride));
}

const char* blas_core() {
#if HARMONIUM_HAS_OPENBLAS
    return HARMONIUM_CBLAS(openblas_get_corename)();
#else
    return "";
#endif
}

template <class T>
void gemm(Context& context, T alpha, Matrix<const T> a, bool transpose_a, Matrix<const T> b, bool transpose_b, T beta,
          Matrix<T> c) {
    const std::int64_t m = transpose_a ? a.cols : a.rows, k = transpose_a ? a.rows : a.cols;
    const std::int64_t k_b = transpose_b ? b.cols : b.rows, n = transpose_b ? b.rows : b.cols;
    require(k == k_b && c.rows == m && c.cols == n, "gemm: op(A) is ", m, " x ", k, ", op(B) ", k_b, " x ", n, ", C ",
            c.rows, " x ", c.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::gemm(context, alpha, a, transpose_a, b, transpose_b, beta, c);
    }
    if (m == 0 || n == 0) return;
    const bool by_columns = n >= m;
    const std::int64_t length = by_columns ? n : m;
    const EvenBlocks blocks(length, most);
    context.parallel_for(blocks.count, [&](std::int64_t task, int) {
        const std::int64_t first = blocks.first(task), count = blocks.size(task);
        if (by_columns) {
            const Matrix<const T> part = transpose_b
                                             ? b.rows_from(first, count)
                                             : Matrix<const T>(b.data + first, b.rows, count, b.stride);
            blas_gemm(alpha, a, transpose_a, part, transpose_b, beta, Matrix<T>(c.data + first, m, count, c.stride));
        } else {
            const Matrix<const T> part = transpose_a ? Matrix<const T>(a.data + first, a.rows, count, a.stride)
                                                     : a.rows_from(first, count);
            blas_gemm(alpha, part, transpose_a, b, transpose_b, beta, c.rows_from(first, count));
        }
    });
}
template void gemm(Context&, float, Matrix<const float>, bool, Matrix<const float>, bool, float, Matrix<float>);
template void gemm(Context&, double, Matrix<const double>, bool, Matrix<const double>, bool, double, Matrix<double>);

}  // namespace harmonium
