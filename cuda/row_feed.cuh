// The rows of X for a loop on the device, which stay there if they fit, or come block after block while others are worked on.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "buffer.cuh"
#include "graph.cuh"
#include "harmonium/states.hpp"
#include "state.cuh"

namespace harmonium::cuda {

// Rows on the device, of bits, numbers or sparse ones, and the order in which they are taken; null: as they stand.
template <class T>
struct RowBlock {
    ConstBitMatrix bits;
    Matrix<const T> dense;
    SparseRows<T> sparse;
    const std::int64_t* order = nullptr;
    std::int64_t rows = 0;

    HARMONIUM_HOST_DEVICE std::int64_t row(std::int64_t at) const { return order ? order[at] : at; }
    // Of a row that row() gave; 0 in a sparse one, whose entries follow by for_entries.
    HARMONIUM_HOST_DEVICE T value(std::int64_t row, std::int64_t j) const {
        return bits ? T(bits.bit(row, j)) : dense ? dense.row(row)[j] : T(0);
    }
    // Calls body(column, value) for every step-th entry of a sparse row, from its first-th on.
    template <class Body>
    HARMONIUM_HOST_DEVICE void for_entries(std::int64_t row, std::int64_t first, std::int64_t step, const Body& body) const {
        for (std::int64_t k = sparse.indptr[row] + first; k < sparse.indptr[row + 1]; k += step) {
            body(sparse.indices[k], sparse.values ? sparse.values[k] : T(1));
        }
    }
};

// Whether this is memory of the device.
bool on_device(const void* pointer);
// Rows stay on the device if they take at most this share of what is free there when the feed is made.
constexpr double resident_share = 0.5;

template <class T>
class RowFeed {
public:
    // x: rows in any form, of the host or of the device, where they stay. Blocks hold whole batches, so large.
    // Without stay the host's rows come block by block in any case: they are wanted once.
    RowFeed(Context& context, const States<T>& x, std::int64_t batch_size, bool stay = true);

    bool resident() const { return blocks_.empty(); }

    // Calls use(block, its first row) for rows order[0], ..., order[n - 1], or 0, ..., n - 1 without order, block by block. What
    // it queues on the state's stream sees the block's rows until it returns; the host may be far ahead of it.
    template <class Use>
    void over(const std::int64_t* order, std::int64_t n, const Use& use) {
        if (n == 0) return;
        if (resident()) return use(in_order(order, n), std::int64_t(0));
        reserve(order, n);
        fill(order, 0, std::min(block_rows_, n));
        for (std::int64_t first = 0; first < n; first += block_rows_) {
            const std::int64_t next = first + block_rows_;
            Block& block = *blocks_[static_cast<std::size_t>(first / block_rows_ % 2)];
            block.copied.hold(state_.stream);
            use(block.view, first);
            block.used.record(state_.stream);
            // Gathered and copied while what `use` has queued is worked on.
            if (next < n) fill(order, next, std::min(block_rows_, n - next));
        }
    }

private:
    template <template <class> class Memory>
    struct Rows {
        Memory<std::uint64_t> words;
        Memory<T> values;
        Memory<std::int64_t> indptr;
        Memory<std::int32_t> indices;
    };
    template <class U>
    using OnHost = HostBuffer<U>;
    template <class U>
    using OnDevice = DeviceBuffer<U>;
    struct Block {
        Rows<OnHost> host;
        Rows<OnDevice> device;
        Event copied, used;
        RowBlock<T> view;
    };

    RowBlock<T> in_order(const std::int64_t* order, std::int64_t n);
    void keep();
    void reserve(const std::int64_t* order, std::int64_t n);
    void fill(const std::int64_t* order, std::int64_t first, std::int64_t n);
    std::int64_t stride() const;  // of values

    State& state_;
    States<T> x_;
    std::int64_t block_rows_ = 0;
    RowBlock<T> all_;
    Rows<OnDevice> kept_;
    DeviceBuffer<std::int64_t> order_;
    std::vector<std::unique_ptr<Block>> blocks_;  // two where rows are streamed
    std::unique_ptr<CopyStream> copies_;
};

// What a step of training takes, on the device: a captured graph finds there where it stands.
template <class T>
struct Place {
    RowBlock<T> block;
    std::int64_t batch = 0;   // of the block
    std::int64_t done = 0;    // batches of the epoch
    std::uint64_t step = 0;   // of training
};
template <class T>
void set_place(State& state, Place<T>* place, const Place<T>& value);

// Rows of batch place->batch, which has n of batch_size rows, written out; a second time where `again` has data.
template <class T>
void gather(State& state, const Place<T>* place, std::int64_t batch_size, Matrix<T> out, Matrix<T> again);
// The last of a step: sums[place->done] = the sum of first, plus factor times that of second, n values each; second may be
// null. Then the place goes on to the next batch.
template <class T>
void finish_step(State& state, Place<T>* place, std::int64_t n, const double* first, double factor, const double* second, double* sums);

}  // namespace harmonium::cuda
