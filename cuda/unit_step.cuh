// The kernels of a training step of an RBM with units of any type beside its products and draws, and beside those that it shares
// with rbm_step.cuh: the parameters' step is the same.
#pragma once

#include "rbm_step.cuh"
#include "unit_layer.cuh"

namespace harmonium::cuda {

template <class T>
struct UnitStep {
    StepView<T> step;            // whose states and probabilities are not used
    LayerView visible;
    bool draw_data = false, learn_variance = false;
    bool enumerated = false;     // the model's rows are all states of a layer: see weigh_states of unit_exact.cuh
    Matrix<T> states;            // n + m x D: the data's, then the model's
    Matrix<T> probability;       // n + m x H: the hidden means given them

    // Of the epoch's rows and steps, see UnitEpochPlan; null: 1, the data's in the place of the chains'.
    const T *weights = nullptr, *words = nullptr, *masses = nullptr, *model_factors = nullptr, *sizes = nullptr;
    T share = 0;                 // of a row of weight 1 in the batch's sums
    // Of the n + m rows: the weight, what states and hidden means count in the gradient and in the means, the number of words.
    T *weight = nullptr, *factor = nullptr, *mean_factor = nullptr, *exposure = nullptr;

    T* scale = nullptr;          // D: what data are divided by, or null
    const char* scale_moves = nullptr;
    T sparsity_cost = 0, sparsity_target = 0;
    T* sparsity_move = nullptr;  // H
};

// In this order, the products and draws in between.
template <class T>
void take_rows(State& state, const UnitStep<T>& s);  // the batch's states, and what each row counts, but for enumerated ones
template <class T>
void move_scale(State& state, const UnitStep<T>& s, Matrix<const T> activation);  // W h of the data's hidden means
template <class T>
void unit_means(State& state, const UnitStep<T>& s);  // and the offsets
template <class T>
void weigh_rows(State& state, const UnitStep<T>& s);  // hidden means as the gradient counts them

// Fast weights: seen = slow + fast, for size numbers; fast = 19/20 fast + rate slope.
template <class T>
void add_fast(State& state, std::int64_t size, const T* slow, const T* fast, T* seen);
template <class T>
void move_fast(State& state, std::int64_t size, double rate, const T* slope, T* fast);

// W times 0.98 / |W| where its largest singular value |W| is beyond, by power iteration from v (H), which is left where it ends;
// u: D, state: 3 numbers. Then the mean over steps, which update_weights has left out.
template <class T>
void keep_proper(State& state, const StepView<T>& s, double* v, double* u, double* numbers);

}  // namespace harmonium::cuda
