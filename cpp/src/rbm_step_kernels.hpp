// Kernels of one panel of hidden units.
#pragma once

#include "harmonium/matrix.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct UpdateBlock {
    Matrix<T> gradient;  // rows x cols, the uncentred product; changed
    Matrix<T> weights;   // rows x cols
    Matrix<T> velocity;  // rows x cols, or no data
    T learning_rate = 0, momentum = 0, weight_decay = 0, l1 = 0;
    bool centred = false;
    const T* visible_difference = nullptr;  // rows
    const T* visible_offset = nullptr;      // rows
    const T* hidden_difference = nullptr;   // cols, zero in the padding
    const T* hidden_offset = nullptr;       // cols, zero in the padding
    double* g_lambda = nullptr;             // rows: receives g_W lambda
    T* mu_g = nullptr;                      // cols: mu^T g_W is added
};

template <class T>
struct RbmStepKernels {
    void (*update)(const UpdateBlock<T>&);
};

HARMONIUM_DECLARE_KERNELS(RbmStepKernels, rbm_step_kernels)

}  // namespace harmonium
