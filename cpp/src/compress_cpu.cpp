#include "compress_kernels.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

template <class T>
std::int64_t count(const T* x, std::int64_t n) {
    std::int64_t total = 0;
    for (std::int64_t first = 0; first < n; first += 4096) {
        const std::int64_t end = first + 4096 < n ? first + 4096 : n;
        std::int32_t found = 0;
        for (std::int64_t j = first; j < end; ++j) found += x[j] != T(0);
        total += found;
    }
    return total;
}

// Without branches: which entries are 0 cannot be foretold.
template <class T>
std::int64_t compress_row(const T* x, std::int64_t n, std::int32_t* indices, T* values) {
    std::int64_t k = 0;
    for (std::int64_t j = 0; j < n; ++j) {
        indices[k] = static_cast<std::int32_t>(j);
        values[k] = x[j];
        k += x[j] != T(0);
    }
    return k;
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
CompressKernels<T> compress_kernels() {
    return {count<T>, compress_row<T>};
}
template CompressKernels<float> compress_kernels<float>();
template CompressKernels<double> compress_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
