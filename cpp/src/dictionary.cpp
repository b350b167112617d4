#include "harmonium/dictionary.hpp"

#include <algorithm>

#include "cuda/dictionary.cuh"
#include "cuda_state.hpp"
#include "dictionary_kernels.hpp"
#include "harmonium/error.hpp"
#include "harmonium/gemm.hpp"

namespace harmonium {

namespace {
constexpr std::int64_t atoms_at_a_time = 32;
}

template <class T>
void code_statistics(Context& context, const SparseRows<T>& h, Matrix<const T> x, double keep, double share, Matrix<double> a,
                     Matrix<double> b) {
    const std::int64_t atoms = h.cols;
    require(h.values != nullptr, "code_statistics: codes without values");
    require(h.rows == x.rows, "code_statistics: ", h.rows, " rows of codes for ", x.rows, " rows of X");
    require(a.rows == atoms && a.cols == atoms && b.rows == atoms && b.cols == x.cols, "code_statistics: A is ", a.rows, " x ",
            a.cols, ", B ", b.rows, " x ", b.cols, " for ", atoms, " atoms of ", x.cols, " features");
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::code_statistics<T>(context, h, x, keep, share, a, b);
    }
    context.parallel_for((atoms + atoms_at_a_time - 1) / atoms_at_a_time, [&](std::int64_t task, int) {
        const std::int64_t first = task * atoms_at_a_time, last = std::min(atoms, first + atoms_at_a_time);
        for (std::int64_t k = first; k < last; ++k) {
            for (std::int64_t j = 0; j < atoms; ++j) a.row(k)[j] *= keep;
            for (std::int64_t f = 0; f < x.cols; ++f) b.row(k)[f] *= keep;
        }
        dictionary_kernels<T>().statistics(h, x, share, first, last, a, b);
    });
}
template void code_statistics(Context&, const SparseRows<float>&, Matrix<const float>, double, double, Matrix<double>, Matrix<double>);
template void code_statistics(Context&, const SparseRows<double>&, Matrix<const double>, double, double, Matrix<double>, Matrix<double>);

void dictionary_update(Context& context, Matrix<const double> a, Matrix<const double> b, bool positive, Matrix<double> scratch,
                       Matrix<double> d) {
    const std::int64_t atoms = d.rows, features = d.cols;
    require(a.rows == atoms && a.cols == atoms && b.rows == atoms && b.cols == features, "dictionary_update: A is ", a.rows,
            " x ", a.cols, ", B ", b.rows, " x ", b.cols, ", D ", atoms, " x ", features);
    require(scratch.rows >= std::min(atoms, atoms_at_a_time) && scratch.cols == features, "dictionary_update: scratch is ",
            scratch.rows, " x ", scratch.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::dictionary_update(context, a, b, positive, scratch, d);
    }
    const auto& kernels = dictionary_kernels<double>();
    // A D for some atoms at a time by one product, put right for those of them that have moved since.
    for (std::int64_t first = 0; first < atoms; first += atoms_at_a_time) {
        const std::int64_t count = std::min(atoms_at_a_time, atoms - first);
        const Matrix<double> u = scratch.rows_from(0, count);
        for (std::int64_t k = 0; k < count; ++k) std::copy(b.row(first + k), b.row(first + k) + features, u.row(k));
        gemm<double>(context, -1, a.rows_from(first, count), false, d, false, 1, u);
        for (std::int64_t k = 0; k < count; ++k) {
            double* atom = d.row(first + k);
            const double* gram = a.row(first + k);
            if (!(gram[first + k] > 0)) continue;
            kernels.add_multiple(gram[first + k], atom, features, u.row(k));
            for (std::int64_t j = k + 1; j < count; ++j) kernels.add_multiple(a.row(first + j)[first + k], atom, features, u.row(j));
            kernels.normalise(u.row(k), features, positive, atom);
            for (std::int64_t j = k + 1; j < count; ++j) kernels.add_multiple(-a.row(first + j)[first + k], atom, features, u.row(j));
        }
    }
}

}  // namespace harmonium
