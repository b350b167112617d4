// Sums over all states of one layer of an RBM, as a product of matrices comes by its entries. A state's activations of the other
// layer's m units are those that its high units cause plus those of its low ones; where a product adds, factors 1 + exp(a) are
// multiplied up. In double.
#pragma once

#include "likelihood_kernels.hpp"
#include "state.cuh"

namespace harmonium::cuda {

// The activations that states first, first + 1, ... of some units cause, or where `odds` their exps; in the last row, as they are,
// these units' own terms.
struct CausedBy {
    Matrix<const double> weights;   // units x m
    const double* bias = nullptr;   // units
    const double* start = nullptr;  // m, added to activations; null: 0
    bool odds = false;
    std::int64_t first = 0;
    Matrix<double> out;             // (m + 1) x states
};
void caused_activations(State& state, const CausedBy& cause);

// log sum over pairs of a high and a low state of exp(own_high + own_low) prod_j (1 + exp(a_j)), one LogSum for each block of pairs.
struct StateSums {
    Matrix<const double> high, low;  // (m + 1) x states, as above
    bool odds = false;
    int factors = 1;                 // so many of them, and 2, multiply to less than the largest double
    LogSum* parts = nullptr;         // blocks

    static constexpr std::int64_t tile = 64;  // states of a block on either side
    static std::int64_t tiles(std::int64_t states) { return (states + tile - 1) / tile; }
    std::int64_t blocks() const { return tiles(high.cols) * tiles(low.cols); }
};
void sum_states(State& state, const StateSums& sums);

}  // namespace harmonium::cuda
