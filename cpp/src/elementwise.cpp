#include "harmonium/elementwise.hpp"

#include "elementwise_kernels.hpp"

namespace harmonium {

template <class T>
void exp_of(const T* x, std::int64_t n, T* out) {
    elementwise_kernels<T>().exp(x, n, out);
}
template <class T>
void sigmoid_of(const T* x, std::int64_t n, T* out) {
    elementwise_kernels<T>().sigmoid(x, n, out);
}
template <class T>
void softplus_of(const T* x, std::int64_t n, T* out) {
    elementwise_kernels<T>().softplus(x, n, out);
}

#define HARMONIUM_INSTANTIATE(T)                              \
    template void exp_of(const T*, std::int64_t, T*);         \
    template void sigmoid_of(const T*, std::int64_t, T*);     \
    template void softplus_of(const T*, std::int64_t, T*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
