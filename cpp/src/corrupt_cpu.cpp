#include "corrupt_kernels.hpp"
#include "philox_simd.hpp"

namespace harmonium {
namespace {

template <class T>
void uniforms_of_row(const Draw& draw, std::uint32_t row, std::int64_t n, T* u) {
    for (std::int64_t first = 0; first < n; first += 64) {
        for_uniforms<T>(draw, row, first / 64, [&](int j, typename Simd<T>::Vector v) { Simd<T>::store(u + first + j, v); });
    }
}

template <class T>
void corrupt_row(Corruption kind, T level, const T* __restrict u, const T* low, const T* high, std::int64_t n, T* __restrict x) {
    if (kind == Corruption::masking) {
        for (std::int64_t j = 0; j < n; ++j) x[j] = u[j] < level ? T(0) : x[j];
    } else if (kind == Corruption::gaussian) {
        for (std::int64_t j = 0; j < n; ++j) x[j] += level * static_cast<T>(normal_quantile(inside(u[j])));
    } else {
        const T half = level / 2;
        for (std::int64_t j = 0; j < n; ++j) {
            const T other = u[j] < half ? low[j] : high[j];
            x[j] = u[j] < level ? other : x[j];
        }
    }
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
CorruptKernels<T> corrupt_kernels() {
    return {uniforms_of_row<T>, corrupt_row<T>};
}
template CorruptKernels<float> corrupt_kernels<float>();
template CorruptKernels<double> corrupt_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
