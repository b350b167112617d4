// In place of cuda/device.cpp where the library is built without CUDA.
#include <stdexcept>

#include "cuda_state.hpp"
#include "harmonium/device.hpp"
#include "harmonium/device_memory.hpp"

namespace harmonium {

bool cuda_available() { return false; }
std::string cuda_status() { return "off: built without CUDA (HARMONIUM_CUDA=OFF)"; }
void set_cublas_path(const std::string&) {}

namespace {
[[noreturn]] void refuse() { throw std::runtime_error("device=\"cuda\": built without CUDA (HARMONIUM_CUDA=OFF)"); }
}  // namespace

int gpu_of(const void*) { return -1; }
void wait_for_stream(int, std::uintptr_t) { refuse(); }
DeviceMemory::DeviceMemory(int, std::size_t) { refuse(); }
DeviceMemory::~DeviceMemory() = default;
void DeviceMemory::copy_from_host(const void*) { refuse(); }
void DeviceMemory::copy_to_host(void*) const { refuse(); }

namespace cuda {
State* open_state(int) { refuse(); }
void close_state(State*) {}
void synchronize(State&) {}
}  // namespace cuda

}  // namespace harmonium
