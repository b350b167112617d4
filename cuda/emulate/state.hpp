// The emulated device: what it has allocated, what is queued, what has gone wrong.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "control.hpp"
#include "cuda_runtime_api.h"

namespace harmonium_emulate {

using Work = std::function<cudaError_t()>;
using Recording = std::shared_ptr<std::vector<Work>>;

struct Memory {
    std::size_t bytes, mapped;
    char* mapping;
};

struct State {
    std::recursive_mutex mutex;
    std::map<char*, Memory> device, pinned;
    std::size_t in_use = 0, limit = std::size_t(2) << 30;
    int device_count = 1, major = 9;
    std::uint64_t calls = 0, fail_at = 0;
    cudaError_t fail_with = cudaSuccess;
    cudaError_t sticky = cudaSuccess, last = cudaSuccess;
    std::string detail;
    std::set<cudaStream_t> streams;
    int captures = 0, open = 0;
    bool last_block_first = false;
    std::map<const void*, std::size_t> dynamic_shared_limit;
};
State& state();

// Remembers an error and its detail, which cudaGetErrorString tells.
cudaError_t fail(cudaError_t error, const std::string& detail);

// Every function of the API begins with one: it holds the lock, and has an error where one is due.
class Call {
public:
    explicit Call(const char* name, bool allowed_in_capture = false);
    cudaError_t error = cudaSuccess;

private:
    std::lock_guard<std::recursive_mutex> lock_;
};

// Device memory can be touched only while one of these lives: host code that does faults, and is told.
class DeviceOpen {
public:
    DeviceOpen();
    ~DeviceOpen();
};

// The allocation that holds an address, or nullptr.
const Memory* find(const std::map<char*, Memory>& in, const void* address);

cudaError_t drain_all();

}  // namespace harmonium_emulate

struct CUstream_st {
    std::vector<harmonium_emulate::Work> queue;
    std::size_t done = 0;  // of the queue
    std::uint64_t dropped = 0;  // done and no longer in the queue
    harmonium_emulate::Recording recording;
};
