// Vectors that start on a cache line: a load of 64 bytes from elsewhere touches two lines and costs double.
#pragma once

#include <cstdint>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace harmonium {

template <class T>
struct AlignedAllocator {
    using value_type = T;
    AlignedAllocator() = default;
    template <class U>
    AlignedAllocator(const AlignedAllocator<U>&) {}
    T* allocate(std::size_t n) {
        std::size_t bytes = n * sizeof(T);
        if (bytes >= huge) bytes = (bytes + page - 1) / page * page;  // the last page too
        void* p = ::operator new(bytes, alignment(bytes));
#if defined(__linux__)
        // In pages of 2 MB: thousands of small ones cost milliseconds at first touch. Where that is refused, nothing is lost.
        if (bytes >= huge) madvise(p, bytes, MADV_HUGEPAGE);
#endif
        return static_cast<T*>(p);
    }
    void deallocate(T* p, std::size_t n) { ::operator delete(p, alignment(n * sizeof(T))); }
    template <class U>
    bool operator==(const AlignedAllocator<U>&) const { return true; }
    template <class U>
    bool operator!=(const AlignedAllocator<U>&) const { return false; }

private:
    static constexpr std::size_t page = std::size_t(2) << 20, huge = 2 * page;
    static std::align_val_t alignment(std::size_t bytes) { return std::align_val_t{bytes >= huge ? page : 64}; }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

// From one row to the next of a matrix that products read. At a multiple of 1 KB a few rows would fill their sets of the first
// cache, and drive each other out: 4 to 9 % of a product.
template <class T>
std::int64_t row_stride(std::int64_t cols) {
    constexpr std::int64_t line = 64 / sizeof(T);
    return cols % (16 * line) == 0 ? cols + line : cols;
}

}  // namespace harmonium
