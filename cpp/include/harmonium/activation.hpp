// What units of a network do with their input z: a = f(z). Derivatives are functions of a, so that z need not be kept.
#pragma once

#include "harmonium/math.hpp"

namespace harmonium {

enum class Activation { identity, sigmoid, tanh, relu, softplus };

template <Activation f, class T>
HARMONIUM_HOST_DEVICE inline T activate(T z) {
    if constexpr (f == Activation::sigmoid) return sigmoid(z);
    else if constexpr (f == Activation::tanh) return tanh(z);
    else if constexpr (f == Activation::relu) return z > T(0) ? z : T(0);
    else if constexpr (f == Activation::softplus) return softplus(z);
    else return z;
}

// f'(z). Of softplus it is 1 - exp(-a), which cancels where a is small: there its series.
template <Activation f, class T>
HARMONIUM_HOST_DEVICE inline T slope(T a) {
    if constexpr (f == Activation::sigmoid) return a * (T(1) - a);
    else if constexpr (f == Activation::tanh) return T(1) - a * a;
    else if constexpr (f == Activation::relu) return a > T(0) ? T(1) : T(0);
    else if constexpr (f == Activation::softplus) {
        const T series = a * (T(1) - a * (T(1.0 / 2) - a * (T(1.0 / 6) - a * T(1.0 / 24))));
        const T far = T(1) - exp(-a);
        return a < T(sizeof(T) == 4 ? 0.02 : 5e-4) ? series : far;
    } else return T(1);
}

// f''(z).
template <Activation f, class T>
HARMONIUM_HOST_DEVICE inline T curvature(T a) {
    const T s = slope<f>(a);
    if constexpr (f == Activation::sigmoid) return s * (T(1) - a - a);
    else if constexpr (f == Activation::tanh) return T(-2) * a * s;
    else if constexpr (f == Activation::softplus) return s * (T(1) - s);
    else return T(0);
}

}  // namespace harmonium
