#include "harmonium/math.hpp"
#include "shrink_kernels.hpp"

namespace harmonium {
namespace {

template <class T>
void any(const T* x, const T* a, std::int64_t n, T* out) {
    for (std::int64_t j = 0; j < n; ++j) out[j] = shrink(x[j], a[j]);
}
template <class T>
void positive(const T* x, const T* a, std::int64_t n, T* out) {
    for (std::int64_t j = 0; j < n; ++j) out[j] = shrink_positive(x[j], a[j]);
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
ShrinkKernels<T> shrink_kernels() {
    return {any<T>, positive<T>};
}
template ShrinkKernels<float> shrink_kernels<float>();
template ShrinkKernels<double> shrink_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
