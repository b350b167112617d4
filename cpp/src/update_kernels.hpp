#pragma once

#include "harmonium/update.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct UpdateKernels {
    // options are prepared; u and s are the parts of `kept`, null where the rule has none.
    void (*update)(const Update& options, std::int64_t n, const T* gradient, T* u, T* s, T* theta);
    // The same for a block: rows of n values, from one to the next so many in the gradient, and in the other three.
    void (*update_block)(const Update& options, std::int64_t rows, std::int64_t n, const T* gradient, std::int64_t gradient_stride,
                         T* u, T* s, T* theta, std::int64_t stride);
    // gradient += decay theta, unless it is null; returns the sum of squares of theta.
    double (*decay)(T decay, std::int64_t n, const T* theta, T* gradient);
};

HARMONIUM_DECLARE_KERNELS(UpdateKernels, update_kernels)

}  // namespace harmonium
