#include <algorithm>

#include "activation_switch.hpp"
#include "contraction_kernels.hpp"

namespace harmonium {
namespace {

// out[j] = factor times the sum over rows of term(i, j).
template <class T, class Term>
HARMONIUM_INLINE void sum_columns(std::int64_t rows, std::int64_t cols, T factor, T* out, const Term& term) {
    for (std::int64_t c = 0; c < cols; c += 64) {
        const std::int64_t count = std::min<std::int64_t>(64, cols - c);
        T sum[64] = {};
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < count; ++j) sum[j] += term(i, c + j);
        }
        for (std::int64_t j = 0; j < count; ++j) out[c + j] = factor * sum[j];
    }
}

template <class T>
void column_squares(Matrix<const T> m, T* out) {
    sum_columns(m.rows, m.cols, T(1), out, [&](std::int64_t i, std::int64_t j) { return m.row(i)[j] * m.row(i)[j]; });
}

template <class T>
double layer_row(Activation f, const T* a, const T* norms, T factor, std::int64_t n, T* delta) {
    double sum = 0;
    with_activation(f, [&](auto constant) {
        constexpr Activation of = decltype(constant)::value;
        T partial[16] = {};  // as many whatever the level
        std::int64_t j = 0;
        for (; j + 16 <= n; j += 16) {
            for (int k = 0; k < 16; ++k) {
                const T s = slope<of>(a[j + k]);
                partial[k] += s * s * norms[j + k];
            }
        }
        for (int k = 0; j + k < n; ++k) {
            const T s = slope<of>(a[j + k]);
            partial[k] += s * s * norms[j + k];
        }
        for (int k = 0; k < 16; ++k) sum += static_cast<double>(partial[k]);
        for (j = 0; delta && j < n; ++j) delta[j] = factor * slope<of>(a[j]) * curvature<of>(a[j]) * norms[j];
    });
    return sum;
}

template <class T>
void slope_squares(Activation f, Matrix<const T> a, T factor, T* out) {
    with_activation(f, [&](auto constant) {
        sum_columns(a.rows, a.cols, factor, out, [&](std::int64_t i, std::int64_t j) {
            const T s = slope<decltype(constant)::value>(a.row(i)[j]);
            return s * s;
        });
    });
}

template <class T>
void slopes(Activation f, const T* a, std::int64_t n, T* out) {
    with_activation(f, [&](auto constant) {
        for (std::int64_t j = 0; j < n; ++j) out[j] = slope<decltype(constant)::value>(a[j]);
    });
}

template <class T>
void times_curvatures(Activation f, const T* a, std::int64_t n, T* x) {
    with_activation(f, [&](auto constant) {
        for (std::int64_t j = 0; j < n; ++j) x[j] *= curvature<decltype(constant)::value>(a[j]);
    });
}

template <class T>
void scale_columns(Matrix<const T> m, const T* s, bool accumulate, Matrix<T> out) {
    for (std::int64_t i = 0; i < m.rows; ++i) {
        const T* from = m.row(i);
        T* to = out.row(i);
        if (accumulate) {
            for (std::int64_t j = 0; j < m.cols; ++j) to[j] += from[j] * s[j];
        } else {
            for (std::int64_t j = 0; j < m.cols; ++j) to[j] = from[j] * s[j];
        }
    }
}

template <class T>
void scale_rows(Matrix<const T> m, const T* s, Matrix<T> out) {
    for (std::int64_t i = 0; i < m.rows; ++i) {
        for (std::int64_t j = 0; j < m.cols; ++j) out.row(i)[j] = m.row(i)[j] * s[i];
    }
}

template <class T>
HARMONIUM_INLINE T dot(const T* a, const T* b, std::int64_t n) {
    T partial[16] = {};  // as many whatever the level
    std::int64_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (int k = 0; k < 16; ++k) partial[k] += a[j + k] * b[j + k];
    }
    for (int k = 0; j + k < n; ++k) partial[k] += a[j + k] * b[j + k];
    T sum = 0;
    for (const T value : partial) sum += value;
    return sum;
}

template <class T>
void row_dots(Matrix<const T> a, Matrix<const T> b, T* out) {
    for (std::int64_t i = 0; i < a.rows; ++i) out[i] = dot(a.row(i), b.row(i), a.cols);
}

template <class T>
double dot(Matrix<const T> a, Matrix<const T> b) {
    double sum = 0;
    for (std::int64_t i = 0; i < a.rows; ++i) sum += static_cast<double>(dot(a.row(i), b.row(i), a.cols));
    return sum;
}

template <class T>
void column_dots(Matrix<const T> a, Matrix<const T> b, T* out) {
    sum_columns(a.rows, a.cols, T(1), out, [&](std::int64_t i, std::int64_t j) { return a.row(i)[j] * b.row(i)[j]; });
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
ContractionKernels<T> contraction_kernels() {
    return {column_squares<T>, layer_row<T>, slope_squares<T>, slopes<T>, times_curvatures<T>,
            scale_columns<T>,  scale_rows<T>, row_dots<T>,      column_dots<T>, dot<T>};
}
template ContractionKernels<float> contraction_kernels<float>();
template ContractionKernels<double> contraction_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
