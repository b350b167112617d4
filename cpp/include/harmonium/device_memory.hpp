// Memory of a GPU for callers who do without CUDA's own headers. The same header whether the library is built with CUDA
// or not; without it, and where there is no GPU, everything here but gpu_of throws std::runtime_error that says why.
#pragma once

#include <cstddef>
#include <cstdint>

namespace harmonium {

// The GPU in whose memory this address is; -1: in none's.
int gpu_of(const void* pointer);

// Returns when all that is queued on this stream of that GPU is done (a cudaStream_t; 0: on all of its streams).
void wait_for_stream(int gpu, std::uintptr_t stream);

// Its copies return when they are done. Contents begin undefined. Throws OutOfDeviceMemory.
class DeviceMemory {
public:
    DeviceMemory(int gpu, std::size_t bytes);
    ~DeviceMemory();
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;

    void* data() const { return data_; }
    std::size_t bytes() const { return bytes_; }
    int gpu() const { return gpu_; }
    void copy_from_host(const void* from);
    void copy_to_host(void* to) const;

private:
    void* data_ = nullptr;
    std::size_t bytes_;
    int gpu_;
};

}  // namespace harmonium
