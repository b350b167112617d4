// Where a Context computes, and whether there is a GPU. The same header whether the library is built with CUDA or not.
#pragma once

#include <string>

namespace harmonium {

struct Device {
    enum class Kind { cpu, cuda };
    Kind kind = Kind::cpu;
    int index = 0;
};

// Whether Device{Device::Kind::cuda, 0} can be used.
bool cuda_available();

// The GPU's name, memory and compute capability, or "off: " and why: built without CUDA, no driver, no GPU, a GPU of too
// low a compute capability, no cuBLAS.
std::string cuda_status();

// The file of cuBLASLt, such as libcublasLt.so.13 in the nvidia-cublas wheel. Without it the loader's own search. To be
// called before the first GPU context and the first question whether there is a GPU.
void set_cublas_path(const std::string& path);

}  // namespace harmonium
