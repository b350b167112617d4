// The data's rows for a GPU: on it as a whole where they are to stay and half of its free memory holds them, else in chunks of
// batches that the host gathers in order and copies while the device works on the chunk before.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "graph.cuh"
#include "harmonium/states.hpp"
#include "state.cuh"

namespace harmonium::cuda {

// Rows of words where every state is 0 or 1, else of numbers.
template <class T>
class RowSource {
public:
    RowSource(State& state, const States<T>& x, std::int64_t batch_size, bool stay)
        : state_(state), x_(x), words_(x.bits_only() ? BitMatrix::words_for(x.cols()) : 0),
          row_bytes_(words_ ? words_ * 8 : x.cols() * static_cast<std::int64_t>(sizeof(T))) {
        std::size_t free = 0, total = 0;
        CUDA_CHECK(cudaMemGetInfo(&free, &total));
        const std::int64_t bytes = x.rows() * row_bytes_, most = std::min(largest_chunk, static_cast<std::int64_t>(free / 8));
        const std::int64_t batches = std::max<std::int64_t>(1, most / std::max<std::int64_t>(1, batch_size * row_bytes_));
        chunk_rows_ = std::min(x.rows(), batches * batch_size);
        resident_ = stay && bytes <= static_cast<std::int64_t>(free / 2);
        if (!resident_) {
            for (Slot& slot : slots_) slot.allocate(chunk_rows_ * row_bytes_);
            return;
        }
        all_ = DeviceBuffer<char>(static_cast<std::size_t>(bytes));
        const HostBuffer<char> staging(static_cast<std::size_t>(chunk_rows_ * row_bytes_));
        for (std::int64_t first = 0; first < x.rows(); first += chunk_rows_) {
            const std::int64_t count = std::min(chunk_rows_, x.rows() - first);
            read({}, first, count, staging.data());
            CUDA_CHECK(cudaMemcpyAsync(all_.data() + first * row_bytes_, staging.data(), static_cast<std::size_t>(count * row_bytes_),
                                       cudaMemcpyHostToDevice, state.stream));
            CUDA_CHECK(cudaStreamSynchronize(state.stream));
        }
    }

    std::int64_t words() const { return words_; }  // 0: numbers
    bool resident() const { return resident_; }
    std::int64_t chunk_rows() const { return resident_ ? x_.rows() : chunk_rows_; }
    const void* all() const { return all_.data(); }

    // Queues the copy of these rows; kernels queued hereafter on the state's stream may read them at the address returned.
    const void* load(const std::vector<std::int64_t>& order, std::int64_t first, std::int64_t count) {
        Slot& slot = slots_[next_];
        slot.copied.wait();  // the host's buffer is free
        read(order, first, count, slot.host.data());
        slot.used.hold(copies_.stream);  // the device's buffer is free
        CUDA_CHECK(cudaMemcpyAsync(slot.device.data(), slot.host.data(), static_cast<std::size_t>(count * row_bytes_),
                                   cudaMemcpyHostToDevice, copies_.stream));
        slot.copied.record(copies_.stream);
        slot.copied.hold(state_.stream);
        return slot.device.data();
    }
    // All that reads the rows of the last load has been queued.
    void unload() {
        slots_[next_].used.record(state_.stream);
        next_ = 1 - next_;
    }

private:
    static constexpr std::int64_t largest_chunk = std::int64_t(32) << 20;

    struct Slot {
        HostBuffer<char> host;
        DeviceBuffer<char> device;
        Event copied, used;
        void allocate(std::int64_t bytes) {
            device = DeviceBuffer<char>(static_cast<std::size_t>(bytes));
            host = HostBuffer<char>(static_cast<std::size_t>(bytes));
        }
    };

    void read(const std::vector<std::int64_t>& order, std::int64_t first, std::int64_t count, char* to) const {
        for (std::int64_t i = first; i < first + count; ++i, to += row_bytes_) {
            const std::int64_t r = order.empty() ? i : order[static_cast<std::size_t>(i)];
            if (x_.is_bits()) {
                std::memcpy(to, x_.bits.row(r), static_cast<std::size_t>(row_bytes_));
            } else if (x_.dense) {
                std::memcpy(to, x_.dense.row(r), static_cast<std::size_t>(row_bytes_));
            } else {
                std::memset(to, 0, static_cast<std::size_t>(row_bytes_));
                for (std::int64_t k = x_.sparse.indptr[r]; k < x_.sparse.indptr[r + 1]; ++k) {
                    const std::int64_t j = x_.sparse.indices[k];
                    if (words_) reinterpret_cast<std::uint64_t*>(to)[j / 64] |= std::uint64_t(1) << (j % 64);
                    else reinterpret_cast<T*>(to)[j] = x_.sparse.values[k];
                }
            }
        }
    }

    State& state_;
    const States<T> x_;
    std::int64_t words_, row_bytes_, chunk_rows_ = 0;
    bool resident_ = false;
    int next_ = 0;
    DeviceBuffer<char> all_;
    Slot slots_[2];
    CopyStream copies_;  // goes first, when its copies are done
};

}  // namespace harmonium::cuda
