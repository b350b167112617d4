// From an activation known at run time to one known at compile time. Included by *_cpu.cpp only.
#pragma once

#include <type_traits>

#include "harmonium/activation.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

// Calls use(std::integral_constant<Activation, f>()).
template <class Use>
HARMONIUM_INLINE void with_activation(Activation f, const Use& use) {
    switch (f) {
        case Activation::sigmoid: use(std::integral_constant<Activation, Activation::sigmoid>()); break;
        case Activation::tanh: use(std::integral_constant<Activation, Activation::tanh>()); break;
        case Activation::relu: use(std::integral_constant<Activation, Activation::relu>()); break;
        case Activation::softplus: use(std::integral_constant<Activation, Activation::softplus>()); break;
        default: use(std::integral_constant<Activation, Activation::identity>());
    }
}

}  // namespace
}  // namespace harmonium
