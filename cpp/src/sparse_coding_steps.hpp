// Steps of sparse_coding_train on the CPU or a GPU, as its loop calls them: the loop decides on order, weights and the end.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "harmonium/philox.hpp"
#include "harmonium/sparse_coding.hpp"

namespace harmonium {

struct SparseCodingBatch {
    double objective = 0, nonzeros = 0;  // sums over its rows
    std::int64_t redrawn = 0;
};

template <class T>
class SparseCodingSteps {
public:
    virtual ~SparseCodingSteps() = default;
    // A pass over rows in this order, or as they stand where it is empty: body(first, rows) for one batch after another,
    // until it returns false. Within body, take() may be called for the batch.
    virtual void over(const std::vector<std::int64_t>& order, const std::function<bool(std::int64_t, std::int64_t)>& body) = 0;
    // Codes of a batch, of weight `share` in the statistics; atoms redrawn, and the dictionary moved. step: of training;
    // done: of poll.
    virtual SparseCodingBatch take(std::int64_t first, std::int64_t rows, double share, std::uint64_t step, double done) = 0;
    // The dictionary, statistics and idle counts, all of them together.
    virtual void commit(SparseCodingState<T>& state) = 0;
};

// Rows whose codes count together for what is idle; the last such rows of a batch are those that atoms are redrawn from.
constexpr std::int64_t sparse_coding_block = 256;

// Atoms left idle become rows of x, from a drawn one on, each row once: become(k, the row at norm 1). room: as many numbers
// as a row has. Returns how many did.
template <class T, class Become>
std::int64_t redraw_idle(const SparseCodingOptions& options, std::uint64_t step, double* idle, std::int64_t atoms, Matrix<const T> x,
                         double* room, const Become& become) {
    std::int64_t tried = 0, redrawn = 0, start = -1;
    const auto unit_row = [&](const T* row) {
        double squares = 0;
        for (std::int64_t f = 0; f < x.cols; ++f) {
            room[f] = options.positive_dictionary ? std::max(static_cast<double>(row[f]), 0.0) : static_cast<double>(row[f]);
            squares += room[f] * room[f];
        }
        for (std::int64_t f = 0; f < x.cols; ++f) room[f] /= std::sqrt(squares);
        return squares > 0;
    };
    for (std::int64_t k = 0; k < atoms; ++k) {
        if (idle[k] < static_cast<double>(options.redraw_after)) continue;
        if (start < 0) {
            const double u = uniform<double>(Draw(options.seed, Stream::data, step), 0, 0);
            start = static_cast<std::int64_t>(u * static_cast<double>(x.rows));
        }
        while (tried < x.rows && !unit_row(x.row((start + tried) % x.rows))) ++tried;
        if (tried++ >= x.rows) break;
        become(k, room);
        idle[k] = 0;
        ++redrawn;
    }
    return redrawn;
}

namespace cuda {
// From the state. x and options must live as long. Throws OutOfDeviceMemory.
template <class T>
std::unique_ptr<SparseCodingSteps<T>> open_sparse_coding_steps(Context& context, Matrix<const T> x, const SparseCodingOptions& options,
                                                               const SparseCodingState<T>& state);
}  // namespace cuda

}  // namespace harmonium
