#include "harmonium/device.hpp"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include "cuda_state.hpp"
#include "harmonium/device_memory.hpp"
#include "harmonium/error.hpp"
#include "state.cuh"

namespace harmonium {

namespace {

constexpr int least_major = 8;  // the PTX in the library is for 8.0

// Why there is no device, or "" and how many there are.
std::string why_none(int& count) {
#if !defined(HARMONIUM_EMULATE)
    // The runtime says "insufficient driver" both where there is none and where it is too old.
    static const bool driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != nullptr;
    if (!driver) return "no NVIDIA driver (libcuda.so.1 not found)";
#endif
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) return cudaGetLastError(), "the driver finds no GPU";
    if (error != cudaSuccess) return message("the driver says: ", cudaGetErrorString((cudaGetLastError(), error)));
    return "";
}

// Why this device cannot be used, or "" and its properties.
std::string why_not(int index, cudaDeviceProp& properties) {
    int count = 0;
    const std::string none = why_none(count);
    if (!none.empty()) return none;
    if (index < 0 || index >= count) return message("there is no GPU ", index, ", the machine has ", count);
    CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
    if (properties.major < least_major) {
        return message(properties.name, " has compute capability ", properties.major, ".", properties.minor, ", ", least_major,
                       ".0 or later is needed");
    }
    return cuda::cublas_missing();
}

cudaDeviceProp usable(int index) {
    cudaDeviceProp properties;
    const std::string why = why_not(index, properties);
    if (!why.empty()) throw std::runtime_error("device=\"cuda\": " + why);
    return properties;
}

}  // namespace

bool cuda_available() {
    cudaDeviceProp properties;
    return why_not(0, properties).empty();
}

std::string cuda_status() {
    cudaDeviceProp properties;
    const std::string why = why_not(0, properties);
    if (!why.empty()) return "off: " + why;
    return message(properties.name, ", ", properties.totalGlobalMem >> 20, " MiB, compute capability ", properties.major, ".",
                   properties.minor);
}

int gpu_of(const void* pointer) {
    int count = 0;  // and nothing else of it: every array of every call is asked for
    if (!pointer || !why_none(count).empty()) return -1;
    cudaPointerAttributes attributes;
    CUDA_CHECK(cudaPointerGetAttributes(&attributes, pointer));
    return attributes.type == cudaMemoryTypeDevice ? attributes.device : -1;
}

void wait_for_stream(int gpu, std::uintptr_t stream) {
    CUDA_CHECK(cudaSetDevice(gpu));
    if (stream) CUDA_CHECK(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(stream)));
    else CUDA_CHECK(cudaDeviceSynchronize());
}

DeviceMemory::DeviceMemory(int gpu, std::size_t bytes) : bytes_(bytes), gpu_(gpu) {
    usable(gpu);
    CUDA_CHECK(cudaSetDevice(gpu));
    if (bytes) data_ = cuda::allocate_device(bytes);
}
DeviceMemory::~DeviceMemory() {
    if (data_) cuda::free_device(data_);
}
void DeviceMemory::copy_from_host(const void* from) {
    if (bytes_ == 0) return;
    CUDA_CHECK(cudaSetDevice(gpu_));
    CUDA_CHECK(cudaMemcpyAsync(data_, from, bytes_, cudaMemcpyHostToDevice, nullptr));
    CUDA_CHECK(cudaStreamSynchronize(nullptr));
}
void DeviceMemory::copy_to_host(void* to) const {
    if (bytes_ == 0) return;
    CUDA_CHECK(cudaSetDevice(gpu_));
    CUDA_CHECK(cudaMemcpyAsync(to, data_, bytes_, cudaMemcpyDeviceToHost, nullptr));
    CUDA_CHECK(cudaStreamSynchronize(nullptr));
}

namespace cuda {

void throw_cuda_error(cudaError_t error, const char* call, const char* file, int line) {
    cudaGetLastError();  // an error that is not the device's end must not surface again elsewhere
    throw std::runtime_error(message(file, ":", line, ": ", call, ": ", cudaGetErrorString(error)));
}

void throw_out_of_memory(std::size_t bytes) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    CUDA_CHECK(cudaMemGetInfo(&free, &total));
    throw OutOfDeviceMemory(message("the GPU has ", free >> 20, " MiB free of ", total >> 20, ", ", bytes, " bytes more were asked for; "
                                    "give X as a NumPy array, which is streamed in batches, or take a smaller batch_size"));
}

void* allocate_device(std::size_t bytes) {
    void* pointer = nullptr;
    const cudaError_t error = cudaMalloc(&pointer, bytes);
    if (error == cudaErrorMemoryAllocation) throw_out_of_memory(bytes);
    if (error != cudaSuccess) throw_cuda_error(error, "cudaMalloc", __FILE__, __LINE__);
    return pointer;
}
void free_device(void* pointer) { CUDA_IGNORE(cudaFree(pointer)); }

void* allocate_pinned(std::size_t bytes) {
    void* pointer = nullptr;
    CUDA_CHECK(cudaHostAlloc(&pointer, bytes, cudaHostAllocDefault));
    return pointer;
}
void free_pinned(void* pointer) { CUDA_IGNORE(cudaFreeHost(pointer)); }

State::State(int device) : index(device) {
    multiprocessors = usable(device).multiProcessorCount;
    CUDA_CHECK(cudaSetDevice(device));
    CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
}

State::~State() {
    CUDA_IGNORE(cudaSetDevice(index));
    if (stream) CUDA_IGNORE(cudaStreamDestroy(stream));
}

State& use(Context& context) {
    State* state = context.cuda();
    require(state != nullptr, "a CUDA operation with a context of the CPU");
    CUDA_CHECK(cudaSetDevice(state->index));
    return *state;
}

State* open_state(int device) { return new State(device); }
void close_state(State* state) { delete state; }
void synchronize(State& state) {
    CUDA_CHECK(cudaSetDevice(state.index));
    CUDA_CHECK(cudaStreamSynchronize(state.stream));
}

}  // namespace cuda
}  // namespace harmonium
