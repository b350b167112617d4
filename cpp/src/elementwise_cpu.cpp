#include "elementwise_kernels.hpp"
#include "harmonium/math.hpp"

namespace harmonium {
namespace {

template <class T>
void exp_all(const T* x, std::int64_t n, T* out) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = exp(x[i]);
}
template <class T>
void sigmoid_all(const T* x, std::int64_t n, T* out) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = sigmoid(x[i]);
}
template <class T>
void softplus_all(const T* x, std::int64_t n, T* out) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = softplus(x[i]);
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
ElementwiseKernels<T> elementwise_kernels() {
    return {exp_all<T>, sigmoid_all<T>, softplus_all<T>};
}
template ElementwiseKernels<float> elementwise_kernels<float>();
template ElementwiseKernels<double> elementwise_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
