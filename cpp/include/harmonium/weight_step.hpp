// The gradient by a matrix of weights from all layers that it serves, block by block, and what is done with each block
// while it is in cache: a step of an update rule, or storing it.
#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"
#include "harmonium/update.hpp"

namespace harmonium {

// One layer's share of the gradient: A^T B for A n x k and B n x m dense, or A as its columns, sparse rows k x n.
template <class T>
struct GradientTerm {
    Matrix<const T> a;
    SparseRows<T> a_columns;  // in place of a where its indptr is set
    Matrix<const T> b;
};

template <class T>
struct WeightStep {
    const GradientTerm<T>* terms = nullptr;  // one, or two where weights are tied; dense ones are added up first
    int n_terms = 0;
    Matrix<T> gradient;      // k x m: receives the sum; no data: it is not stored
    bool accumulate = false;  // gradient holds something to begin with, which is part of the sum
    Matrix<T> weights;       // k x m: changed by `update`; no data: they are not
    T* first = nullptr;      // what the rule keeps, laid out as the weights: u, and s
    T* second = nullptr;
    Update update;           // prepared
    T decay = 0;             // decay times the weights is added to the gradient before the update
};

// Errors of the gradient as gemm's. Allocates scratch in the context once. Throws std::invalid_argument.
template <class T>
void weight_step(Context& context, const WeightStep<T>& step);

}  // namespace harmonium
