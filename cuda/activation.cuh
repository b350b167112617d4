// Activations chosen at run time: a branch that all threads take alike costs nothing beside memory, and kernels stay few.
#pragma once

#include <cuda_runtime.h>

#include "harmonium/activation.hpp"

namespace harmonium::cuda {

#define HARMONIUM_BY_ACTIVATION(name)                                                  \
    template <class T>                                                                 \
    __device__ T name(Activation f, T x) {                                             \
        switch (f) {                                                                   \
            case Activation::sigmoid: return harmonium::name<Activation::sigmoid>(x);   \
            case Activation::tanh: return harmonium::name<Activation::tanh>(x);         \
            case Activation::relu: return harmonium::name<Activation::relu>(x);         \
            case Activation::softplus: return harmonium::name<Activation::softplus>(x); \
            default: return harmonium::name<Activation::identity>(x);                   \
        }                                                                              \
    }
HARMONIUM_BY_ACTIVATION(activate)
HARMONIUM_BY_ACTIVATION(slope)
HARMONIUM_BY_ACTIVATION(curvature)
#undef HARMONIUM_BY_ACTIVATION

}  // namespace harmonium::cuda
