// Memory that frees itself: on the device, and pinned on the host, from and to which copies overlap with kernels.
#pragma once

#include <utility>

#include "check.cuh"

namespace harmonium::cuda {

void* allocate_device(std::size_t bytes);  // throws OutOfDeviceMemory
void free_device(void* pointer);           // waits for what is queued on the device
void* allocate_pinned(std::size_t bytes);
void free_pinned(void* pointer);

template <class T, void* (*allocate)(std::size_t), void (*release)(void*)>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t size) : data_(size ? static_cast<T*>(allocate(size * sizeof(T))) : nullptr), size_(size) {}
    ~Buffer() {
        if (data_) release(data_);
    }
    Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }

    T* data() const { return data_; }
    std::size_t size() const { return size_; }
    // At least so large; contents are lost when it grows. The old memory is freed first: both together might not fit.
    void reserve(std::size_t size) {
        if (size <= size_) return;
        *this = Buffer();
        *this = Buffer(size);
    }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

template <class T>
using DeviceBuffer = Buffer<T, allocate_device, free_device>;
template <class T>
using HostBuffer = Buffer<T, allocate_pinned, free_pinned>;

}  // namespace harmonium::cuda
