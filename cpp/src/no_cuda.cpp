// In place of cuda/device.cpp where the library is built without CUDA.
#include <stdexcept>

#include "cuda_state.hpp"
#include "harmonium/device.hpp"

namespace harmonium {

bool cuda_available() { return false; }
std::string cuda_status() { return "off: built without CUDA (HARMONIUM_CUDA=OFF)"; }
void set_cublas_path(const std::string&) {}

namespace cuda {
State* open_state(int) { throw std::runtime_error("device=\"cuda\": built without CUDA (HARMONIUM_CUDA=OFF)"); }
void close_state(State*) {}
void synchronize(State&) {}
}  // namespace cuda

}  // namespace harmonium
