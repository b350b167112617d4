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

// Rows on the device, and the order in which they are taken; null: as they stand.
template <class T>
struct RowBlock {
    Matrix<const T> dense;
    SparseRows<T> sparse;
    const std::int64_t* order = nullptr;
    std::int64_t rows = 0;
};

// Whether this is memory of the device.
bool on_device(const void* pointer);
// Rows stay on the device if they take at most this share of what is free there when the feed is made.
constexpr double resident_share = 0.5;

template <class T>
class RowFeed {
public:
    // x: dense or sparse rows, of the host or of the device. Blocks hold whole batches, so large.
    RowFeed(Context& context, const States<T>& x, std::int64_t batch_size);

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
    struct Block {
        HostBuffer<T> host_values;
        HostBuffer<std::int64_t> host_indptr;
        HostBuffer<std::int32_t> host_indices;
        DeviceBuffer<T> values;
        DeviceBuffer<std::int64_t> indptr;
        DeviceBuffer<std::int32_t> indices;
        Event copied, used;
        RowBlock<T> view;
    };

    RowBlock<T> in_order(const std::int64_t* order, std::int64_t n);
    void keep();
    void reserve(const std::int64_t* order, std::int64_t n);
    void fill(const std::int64_t* order, std::int64_t first, std::int64_t n);

    State& state_;
    States<T> x_;
    std::int64_t block_rows_ = 0;
    RowBlock<T> all_;
    DeviceBuffer<T> values_;
    DeviceBuffer<std::int64_t> indptr_, order_;
    DeviceBuffer<std::int32_t> indices_;
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
