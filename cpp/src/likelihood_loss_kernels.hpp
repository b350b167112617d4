#pragma once

#include "harmonium/likelihood_loss.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct LikelihoodLossKernels {
    // One row: returns the loss; z becomes scale times its derivative if that is wanted.
    double (*loss)(const OutputGroup* groups, std::int64_t n_groups, const T* x, bool derivatives, T scale, T* z);
    void (*mean)(const OutputGroup* groups, std::int64_t n_groups, T* z);
};

HARMONIUM_DECLARE_KERNELS(LikelihoodLossKernels, likelihood_loss_kernels)

}  // namespace harmonium
