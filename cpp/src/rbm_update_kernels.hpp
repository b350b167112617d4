// Kernel of one block of the weights: rows of visible units by one panel of hidden units.
#pragma once

#include "harmonium/rbm_update.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct UpdateBlock {
    Matrix<T> gradient;       // rows x cols, the uncentred product
    Matrix<T> weights;        // rows x cols
    Matrix<T> velocity;       // rows x cols, or no data
    std::int64_t valid = 0;   // columns that exist
    // Of this block's rows and columns:
    const T* visible_difference = nullptr;
    const T* hidden_difference = nullptr;
    const T* visible_offset = nullptr;  // null: not centred
    const T* hidden_offset = nullptr;
    T learning_rate = 0, momentum = 0, weight_decay = 0;
    double* g_lambda = nullptr;  // rows: receives g_W lambda
    double* mu_g = nullptr;      // cols: receives mu^T g_W
};

template <class T>
struct RbmUpdateKernels {
    void (*update)(const UpdateBlock<T>&);
    // out[j] = sum over rows of x(i, j), x with cols a multiple of 16
    void (*column_sums)(Matrix<const T> x, T* out);
};

HARMONIUM_DECLARE_KERNELS(RbmUpdateKernels, rbm_update_kernels)

}  // namespace harmonium
