// What tests can do to the emulated device.
#pragma once

#include <cstddef>
#include <cstdint>

namespace harmonium_emulate {

void set_memory_limit(std::size_t bytes);
std::size_t memory_in_use();
// The n-th call of the API from now on (1: the next) fails with this error, one of cudaError_t's numbers; 0: none does.
void fail_call(std::uint64_t n, int error);
std::uint64_t calls();
// As if the machine had this many devices, of this compute capability.
void set_devices(int count, int major);
// Blocks of a kernel run from the last to the first.
void set_last_block_first(bool reversed);
// Forgets errors, as a new process would.
void reset();

}  // namespace harmonium_emulate
