#pragma once

#include <functional>

#include "harmonium/lasso.hpp"

namespace harmonium {

struct SparseCodingOptions {
    double alpha = 1;
    LassoOptions lasso;
    std::int64_t batch_size = 256;   // rows between updates of the dictionary; 0: all rows
    double forgetting = 8;           // batch t has a weight that grows as t^forgetting; none with batch_size = 0
    std::int64_t sweeps = 1;         // of block coordinate descent an update
    bool positive_dictionary = false;
    bool shuffle = true;
    std::uint64_t seed = 0;
    std::int64_t redraw_after = 1000;     // rows that have not used an atom, before it is redrawn
    std::int64_t max_no_improvement = 0;  // stop after so many updates without a new least smoothed objective; 0: never
    std::int64_t smoothing = 0;           // rows that it is smoothed over; it counts once so many have been seen
};

// What is learned and what learning needs to go on; the caller's memory.
template <class T>
struct SparseCodingState {
    Matrix<T> dictionary;         // K x d, rows of norm 1
    Matrix<double> covariance;    // A of code_statistics, K x K
    Matrix<double> projections;   // B, K x d
    double* idle = nullptr;       // K: rows coded since the atom was used last
    std::uint64_t steps = 0;      // updates done
    std::uint64_t epochs = 0;
    double smoothed = 0;          // objective of a row
    double least = 0;             // of smoothed
    std::int64_t no_improvement = 0;
};

struct SparseCodingEpoch {
    double objective = 0;   // mean over the pass's rows of 0.5 |x - h D|^2 + alpha |h|_1, each with the dictionary it met
    double density = 0;     // share of codes that are not zero
    double redrawn = 0;     // atoms redrawn from the data
    bool converged = false; // by max_no_improvement
};

// Learns a dictionary: minimises over D with rows of norm 1 the mean over rows of min over h of 0.5 |x - h D|^2 +
// alpha |h|_1, for so many passes over x (n x d), by codes (lasso), code_statistics and dictionary_update batch after batch.
// Atoms that no code has used for a while become rows of the batch that are not zero, drawn from (seed, stream data, step).
// The state changes at the end of a pass, all of it together; then on_epoch is called, and true stops.
// The same bits whatever the number of threads. Throws std::invalid_argument, Interrupted; DivergenceError where an objective
// is not finite. On a GPU, by ista or fista, all memory may be of either kind; X stays there if it fits, else it is streamed.
template <class T>
void sparse_coding_train(Context& context, Matrix<const T> x, const SparseCodingOptions& options, std::int64_t n_epochs,
                         SparseCodingState<T>& state, const std::function<bool(const SparseCodingEpoch&)>& on_epoch);

}  // namespace harmonium
