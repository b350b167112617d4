#pragma once

#include "harmonium/activation.hpp"
#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct ContractionKernels {
    // out[j] = sum_i m(i, j)^2.
    void (*column_squares)(Matrix<const T> m, T* out);
    // A row of one layer: returns sum_j f'^2 norms[j]; delta[j] = factor f' f'' norms[j], if not null.
    double (*row)(Activation f, const T* a, const T* norms, T factor, std::int64_t n, T* delta);
    // out[j] = factor sum_i f'(i, j)^2.
    void (*slope_squares)(Activation f, Matrix<const T> a, T factor, T* out);
    void (*slopes)(Activation f, const T* a, std::int64_t n, T* out);
    // x[j] *= f''.
    void (*times_curvatures)(Activation f, const T* a, std::int64_t n, T* x);
    // out = m diag(s), added to out on request; out = diag(s) m.
    void (*scale_columns)(Matrix<const T> m, const T* s, bool accumulate, Matrix<T> out);
    void (*scale_rows)(Matrix<const T> m, const T* s, Matrix<T> out);
    // The sums of a(i, j) b(i, j) along rows, along columns.
    void (*row_dots)(Matrix<const T> a, Matrix<const T> b, T* out);
    void (*column_dots)(Matrix<const T> a, Matrix<const T> b, T* out);
    // The sum of all a(i, j) b(i, j).
    double (*dot)(Matrix<const T> a, Matrix<const T> b);
};

HARMONIUM_DECLARE_KERNELS(ContractionKernels, contraction_kernels)

}  // namespace harmonium
