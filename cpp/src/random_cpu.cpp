#include "philox_simd.hpp"
#include "random_kernels.hpp"

namespace harmonium {
namespace {

template <class T>
void uniform_block(const Draw& draw, std::uint32_t row, std::int64_t block, T* out) {
    for_uniforms<T>(draw, row, block, [&](int j, typename Simd<T>::Vector u) { Simd<T>::store(out + j, u); });
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
RandomKernels<T> random_kernels() {
    return {uniform_block<T>};
}
template RandomKernels<float> random_kernels<float>();
template RandomKernels<double> random_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
