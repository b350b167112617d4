#include <cmath>

#include "dictionary_kernels.hpp"
#include "harmonium/math.hpp"

namespace harmonium {
namespace {

void add_multiple(double factor, const double* x, std::int64_t n, double* y) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = detail::multiply_add(factor, x[i], y[i]);
}

template <class T>
void statistics(const SparseRows<T>& h, Matrix<const T> x, double share, std::int64_t first, std::int64_t last,
                Matrix<double> a, Matrix<double> b) {
    for (std::int64_t i = 0; i < h.rows; ++i) {
        const T* row = x.row(i);
        for (std::int64_t k = h.indptr[i]; k < h.indptr[i + 1]; ++k) {
            const std::int64_t atom = h.indices[k];
            if (atom < first || atom >= last) continue;
            const double value = share * static_cast<double>(h.values[k]);
            double* gram = a.row(atom);
            for (std::int64_t other = h.indptr[i]; other < h.indptr[i + 1]; ++other) {
                gram[h.indices[other]] += value * static_cast<double>(h.values[other]);
            }
            double* sum = b.row(atom);
            for (std::int64_t f = 0; f < x.cols; ++f) sum[f] = detail::multiply_add(value, static_cast<double>(row[f]), sum[f]);
        }
    }
}

bool normalise(const double* u, std::int64_t n, bool positive, double* d) {
    double largest = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const double size = positive ? u[i] : std::fabs(u[i]);
        largest = size > largest ? size : largest;
    }
    if (!(largest > 0)) return false;
    double squares = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const double value = (positive && u[i] < 0 ? 0 : u[i]) / largest;
        squares += value * value;
    }
    const double norm = largest * std::sqrt(squares);
    for (std::int64_t i = 0; i < n; ++i) d[i] = (positive && u[i] < 0 ? 0 : u[i]) / norm;
    return true;
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
DictionaryKernels<T> dictionary_kernels() {
    return {statistics<T>, add_multiple, normalise};
}
template DictionaryKernels<float> dictionary_kernels<float>();
template DictionaryKernels<double> dictionary_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
