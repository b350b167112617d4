#pragma once

#include "harmonium/update.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct UpdateKernels {
    // u and s are the parts of `kept`, null where the rule has none.
    void (*update)(const Update& options, std::int64_t n, const T* gradient, T* u, T* s, T* theta);
    // gradient += decay theta, unless it is null; returns the sum of squares of theta.
    double (*decay)(T decay, std::int64_t n, const T* theta, T* gradient);
};

HARMONIUM_DECLARE_KERNELS(UpdateKernels, update_kernels)

}  // namespace harmonium
