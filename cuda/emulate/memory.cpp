#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <sstream>

#include "kernel_run.hpp"
#include "state.hpp"

using namespace harmonium_emulate;

namespace harmonium_emulate {

namespace {

const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));

struct sigaction before;

// Says which kind of mistake an access was, then lets it end the process.
void on_fault(int signal, siginfo_t* info, void* context) {
    State& s = state();
    for (const auto& [start, memory] : s.device) {
        const char* at = static_cast<char*>(info->si_addr);
        if (at < memory.mapping || at >= memory.mapping + memory.mapped) continue;
        if (at >= start && at < start + memory.bytes) {
            std::fprintf(stderr, "emulated GPU: host code touched device memory, byte %td of %zu\n", at - start, memory.bytes);
        } else {
            std::fprintf(stderr, "emulated GPU: byte %td of an allocation of %zu bytes, in block (%u, %u, %u), thread (%u, %u, %u)\n",
                         at - start, memory.bytes, indices.block.x, indices.block.y, indices.block.z, indices.thread.x,
                         indices.thread.y, indices.thread.z);
        }
    }
    sigaction(SIGSEGV, &before, nullptr);
    (void)signal, (void)context;
}

void watch_faults() {
    static const bool once = [] {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGSEGV, &action, &before);
        return true;
    }();
    (void)once;
}

void protect_all(int protection) {
    for (const auto& [start, memory] : state().device) mprotect(memory.mapping + page, memory.mapped - 2 * page, protection);
}

// Ends where a page ends, and no access goes beyond: an index past the end faults, up to the alignment of 16 bytes.
Memory map_guarded(std::size_t bytes, char*& start) {
    const std::size_t aligned = (bytes + 15) / 16 * 16, inner = (aligned + page - 1) / page * page;
    Memory memory{bytes, inner + 2 * page, nullptr};
    memory.mapping = static_cast<char*>(mmap(nullptr, memory.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory.mapping == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory.mapping + page, inner, PROT_READ | PROT_WRITE);
    start = memory.mapping + page + inner - aligned;
    std::memset(start, 0xFF, bytes);  // NaN: memory begins undefined
    return memory;
}

bool mapped(const void* address) {
    unsigned char resident;
    return mincore(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(address) / page * page), 1, &resident) == 0;
}

}  // namespace

DeviceOpen::DeviceOpen() {
    if (state().open++ == 0) protect_all(PROT_READ | PROT_WRITE);
}
DeviceOpen::~DeviceOpen() {
    if (--state().open == 0) protect_all(PROT_NONE);
}

const Memory* find(const std::map<char*, Memory>& in, const void* address) {
    auto* at = const_cast<char*>(static_cast<const char*>(address));
    auto next = in.upper_bound(at);
    if (next == in.begin()) return nullptr;
    const auto& [start, memory] = *std::prev(next);
    return at < start + memory.bytes ? &memory : nullptr;
}

cudaError_t check_launch(const Launch& launch) {
    const std::uint64_t threads = std::uint64_t(launch.block.x) * launch.block.y * launch.block.z;
    std::ostringstream why;
    const auto allowed = state().dynamic_shared_limit.find(launch.kernel);
    const std::size_t limit = allowed == state().dynamic_shared_limit.end() ? 48 << 10 : allowed->second;
    if (threads == 0 || threads > 1024) why << "a block of " << threads << " threads";
    else if (!launch.grid.x || !launch.grid.y || !launch.grid.z || launch.grid.x > 0x7FFFFFFFu || launch.grid.y > 65535 || launch.grid.z > 65535)
        why << "a grid of " << launch.grid.x << " x " << launch.grid.y << " x " << launch.grid.z << " blocks";
    else if (launch.shared_bytes > limit) why << launch.shared_bytes << " bytes of shared memory, the limit is " << limit;
    if (!why.str().empty()) return fail(cudaErrorInvalidConfiguration, why.str());
    // Where an argument's word is the address of something of the host's, the kernel would fault on a real device.
    for (const auto& [at, bytes] : launch.arguments) {
        if (bytes != 8 && bytes != 32) continue;  // pointers and views; larger structs have bytes between members, never set
        for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
            void* word;
            std::memcpy(&word, static_cast<const char*>(at) + i, 8);
            const auto value = reinterpret_cast<std::uintptr_t>(word);
            // A small number in the lower half: an int or an enumeration, and what happens to stand beside it in a struct.
            if (value < std::uintptr_t(1) << 40 || value >> 47 || (value & 0xFFFFFFFF) < 4096) continue;
            if (find(state().device, word) || find(state().pinned, word)) continue;
            if (mapped(word)) {
                std::ostringstream what;
                what << "a kernel is given host memory, or a part of the device's that is free: " << word << " in byte " << i
                     << " of an argument of " << bytes;
                return fail(cudaErrorIllegalAddress, what.str());
            }
        }
    }
    return cudaSuccess;
}

cudaError_t raise_dynamic_shared_limit(const void* kernel, std::size_t bytes) {
    const Call call("cudaFuncSetAttribute", true);
    if (call.error) return call.error;
    if (bytes > std::size_t(227) << 10) return fail(cudaErrorInvalidValue, "a block has at most 227 KB of shared memory");
    state().dynamic_shared_limit[kernel] = bytes;
    return cudaSuccess;
}

void set_memory_limit(std::size_t bytes) { state().limit = bytes; }
std::size_t memory_in_use() { return state().in_use; }

}  // namespace harmonium_emulate

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
    *pointer = nullptr;
    const Call call("cudaMalloc");
    if (call.error) return call.error;
    State& s = state();
    if (bytes > s.limit || s.in_use > s.limit - bytes) return fail(cudaErrorMemoryAllocation, "");
    if (bytes == 0) return cudaSuccess;
    watch_faults();
    char* start;
    const Memory memory = map_guarded(bytes, start);
    if (!s.open) mprotect(memory.mapping + page, memory.mapped - 2 * page, PROT_NONE);
    s.device.emplace(start, memory);
    s.in_use += bytes;
    *pointer = start;
    return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
    if (!pointer) return cudaSuccess;
    const Call call("cudaFree");
    if (call.error && call.error != state().sticky) return call.error;
    const cudaError_t error = call.error ? call.error : drain_all();
    const auto found = state().device.find(static_cast<char*>(pointer));
    if (found == state().device.end()) return fail(cudaErrorInvalidValue, "cudaFree of what is not allocated");
    munmap(found->second.mapping, found->second.mapped);
    state().in_use -= found->second.bytes;
    state().device.erase(found);
    return error;
}
cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned) {
    *pointer = nullptr;
    const Call call("cudaHostAlloc");
    if (call.error || !bytes) return call.error;
    char* start;
    const Memory memory = map_guarded(bytes, start);
    state().pinned.emplace(start, memory);
    *pointer = start;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
    if (!pointer) return cudaSuccess;
    const Call call("cudaFreeHost");
    const cudaError_t error = call.error ? call.error : drain_all();
    const auto found = state().pinned.find(static_cast<char*>(pointer));
    if (found == state().pinned.end()) return fail(cudaErrorInvalidValue, "cudaFreeHost of what is not allocated");
    munmap(found->second.mapping, found->second.mapped);
    state().pinned.erase(found);
    return error;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    const Call call("cudaMemGetInfo");
    *total = state().limit;
    *free = state().limit - std::min(state().limit, state().in_use);
    return call.error;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* pointer) {
    const Call call("cudaPointerGetAttributes", true);
    *a = cudaPointerAttributes{};
    a->type = find(state().device, pointer)   ? cudaMemoryTypeDevice
              : find(state().pinned, pointer) ? cudaMemoryTypeHost
                                              : cudaMemoryTypeUnregistered;
    return call.error;
}

namespace {

// Whether [pointer, pointer + bytes) lies where a copy of this kind expects it.
bool fits(const void* pointer, std::size_t bytes, bool on_device) {
    if (bytes == 0) return true;
    const auto* last = static_cast<const char*>(pointer) + bytes - 1;
    const Memory* first_in = find(state().device, pointer);
    return on_device ? first_in && first_in == find(state().device, last) : pointer && !first_in;
}

cudaError_t copy(const char* name, void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                 std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    {
        const Call call(name, true);
        if (call.error) return call.error;
        if (!width || !height) return cudaSuccess;
        const bool to_device = kind == cudaMemcpyDefault ? find(state().device, to) != nullptr
                                                         : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
        const bool from_device = kind == cudaMemcpyDefault ? find(state().device, from) != nullptr
                                                           : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
        if (width > to_pitch || width > from_pitch || !fits(to, (height - 1) * to_pitch + width, to_device) ||
            !fits(from, (height - 1) * from_pitch + width, from_device)) {
            return fail(cudaErrorInvalidValue, "a copy from or to memory that is not there, or of another kind");
        }
    }
    const cudaError_t error = submit(name, stream, [=] {
        for (std::size_t i = 0; i < height; ++i) {
            std::memmove(static_cast<char*>(to) + i * to_pitch, static_cast<const char*>(from) + i * from_pitch, width);
        }
        return cudaSuccess;
    });
    // Only copies of pinned memory go on after the call.
    const bool later = (find(state().device, to) || find(state().pinned, to)) && (find(state().device, from) || find(state().pinned, from));
    return error || later || (stream && stream->recording) ? error : cudaStreamSynchronize(stream);
}

}  // namespace

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    return copy("cudaMemcpyAsync", to, bytes, from, bytes, bytes, 1, kind, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                              std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    return copy("cudaMemcpy2DAsync", to, to_pitch, from, from_pitch, width, height, kind, stream);
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
    {
        const Call call("cudaMemsetAsync", true);
        if (call.error) return call.error;
        if (!fits(to, bytes, true)) return fail(cudaErrorInvalidValue, "cudaMemsetAsync of memory that is not there");
    }
    return submit("cudaMemsetAsync", stream, [=] { return std::memset(to, value, bytes), cudaSuccess; });
}
