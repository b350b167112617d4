// How an emulated kernel runs: its threads' indices, barriers, warp operations and dynamic shared memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cuda_runtime_api.h"

namespace harmonium_emulate {

struct Indices {
    struct { unsigned x, y, z; } thread, block;
    struct { unsigned x, y, z; } block_size, grid_size;
};
extern __thread Indices indices;

struct Place {
    const char* file;
    int line;
};

struct Launch {
    const void* kernel;
    dim3 grid, block;
    std::size_t shared_bytes;
    std::vector<std::pair<const void*, std::size_t>> arguments;  // where each lies, and its size
};
// What a launch is refused for at once; the rest shows when it runs.
cudaError_t check_launch(const Launch& launch);
// Runs every thread of every block, and says what went wrong.
cudaError_t run(const Launch& launch, const std::function<void()>& thread);
void* dynamic_shared();

void block_barrier(Place place);
bool block_or(Place place, bool value);

// Waits for all lanes of the mask at the same place; returns what each of the warp's 32 lanes brought.
const std::uint64_t* warp_exchange(Place place, unsigned mask, std::uint64_t value);
constexpr unsigned mask_of(unsigned mask = 0xFFFFFFFFu) { return mask; }
int lane();
// Ends the kernel with an error unless the lane is one of the mask's.
void require_in_mask(Place place, unsigned mask, int source);

inline unsigned ballot(Place place, unsigned mask, bool predicate) {
    const std::uint64_t* brought = warp_exchange(place, mask, predicate);
    unsigned bits = 0;
    for (unsigned i = 0; i < 32; ++i) bits |= (mask >> i & 1) && brought[i] ? 1u << i : 0u;
    return bits;
}

// The lane that a lane reads from, in its segment of `width` lanes; itself where that lies outside.
inline int from_lane(int self, int source, int width) { return (self & ~(width - 1)) | (source & (width - 1)); }
inline int from_xor(int self, int distance, int width) {
    return ((self ^ distance) & ~(width - 1)) <= (self & ~(width - 1)) ? self ^ distance : self;
}
inline int from_below(int self, int distance, int width) {
    return (self & (width - 1)) + distance < width ? self + distance : self;
}
inline int from_above(int self, int distance, int width) { return (self & (width - 1)) >= distance ? self - distance : self; }

template <class T>
T shuffle(Place place, unsigned mask, T value, int (*source_of)(int, int, int), int argument, int width = 32) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "warp shuffles move 4 or 8 bytes");
    std::uint64_t word = 0;
    std::memcpy(&word, &value, sizeof value);
    const std::uint64_t* brought = warp_exchange(place, mask, word);
    const int source = source_of(lane(), argument, width);
    require_in_mask(place, mask, source);
    std::memcpy(&value, brought + source, sizeof value);
    return value;
}

}  // namespace harmonium_emulate
