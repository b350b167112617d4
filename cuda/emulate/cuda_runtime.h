// What a .cu file sees beyond the runtime's functions: qualifiers, vectors, built-in variables and intrinsics. A block's
// threads are fibers of one CPU thread and change places only at barriers and in warp operations.
#pragma once

#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

#include "cuda_runtime_api.h"
#include "kernel_run.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
// One block at a time runs on a CPU thread, so its memory can be static.
#define __shared__ static thread_local
#define __align__(bytes) alignas(bytes)

#define threadIdx (harmonium_emulate::indices.thread)
#define blockIdx (harmonium_emulate::indices.block)
#define blockDim (harmonium_emulate::indices.block_size)
#define gridDim (harmonium_emulate::indices.grid_size)
constexpr int warpSize = 32;

#define HARMONIUM_EMULATE_VECTORS(type, name)                                  \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; };                   \
    struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name##4 { type x, y, z, w; }; \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }           \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
HARMONIUM_EMULATE_VECTORS(float, float)
HARMONIUM_EMULATE_VECTORS(double, double)
HARMONIUM_EMULATE_VECTORS(int, int)
HARMONIUM_EMULATE_VECTORS(unsigned, uint)
HARMONIUM_EMULATE_VECTORS(unsigned short, ushort)
HARMONIUM_EMULATE_VECTORS(unsigned long long, ulonglong)
#undef HARMONIUM_EMULATE_VECTORS

// -- barriers and warp operations -------------------------------------------------------------------------------------
// Macros, so that a barrier knows where it stands: threads that meet at different places have diverged.
#define HARMONIUM_EMULATE_HERE (harmonium_emulate::Place{__FILE__, __LINE__})
#define __syncthreads() harmonium_emulate::block_barrier(HARMONIUM_EMULATE_HERE)
#define __syncthreads_or(p) harmonium_emulate::block_or(HARMONIUM_EMULATE_HERE, (p) != 0)
#define __syncthreads_and(p) (!harmonium_emulate::block_or(HARMONIUM_EMULATE_HERE, (p) == 0))
#define HARMONIUM_EMULATE_FIRST(mask, ...) mask
#define __syncwarp(...) harmonium_emulate::warp_exchange(HARMONIUM_EMULATE_HERE, harmonium_emulate::mask_of(__VA_ARGS__), 0)
#define __shfl_sync(mask, value, ...) harmonium_emulate::shuffle(HARMONIUM_EMULATE_HERE, mask, value, harmonium_emulate::from_lane, __VA_ARGS__)
#define __shfl_xor_sync(mask, value, ...) harmonium_emulate::shuffle(HARMONIUM_EMULATE_HERE, mask, value, harmonium_emulate::from_xor, __VA_ARGS__)
#define __shfl_down_sync(mask, value, ...) harmonium_emulate::shuffle(HARMONIUM_EMULATE_HERE, mask, value, harmonium_emulate::from_below, __VA_ARGS__)
#define __shfl_up_sync(mask, value, ...) harmonium_emulate::shuffle(HARMONIUM_EMULATE_HERE, mask, value, harmonium_emulate::from_above, __VA_ARGS__)
#define __ballot_sync(mask, predicate) harmonium_emulate::ballot(HARMONIUM_EMULATE_HERE, mask, (predicate) != 0)
#define __any_sync(mask, predicate) (harmonium_emulate::ballot(HARMONIUM_EMULATE_HERE, mask, (predicate) != 0) != 0)
#define __all_sync(mask, predicate) (harmonium_emulate::ballot(HARMONIUM_EMULATE_HERE, mask, (predicate) == 0) == 0)
inline void __threadfence() {}
inline void __threadfence_block() {}

// -- atomics: one thread runs at a time -------------------------------------------------------------------------------
#define HARMONIUM_EMULATE_ATOMIC(name, expression)    \
    template <class T>                                \
    inline T name(T* at, std::common_type_t<T> value) { \
        const T old = *at;                            \
        *at = (expression);                           \
        return old;                                   \
    }
HARMONIUM_EMULATE_ATOMIC(atomicAdd, old + value)
HARMONIUM_EMULATE_ATOMIC(atomicSub, old - value)
HARMONIUM_EMULATE_ATOMIC(atomicExch, value)
HARMONIUM_EMULATE_ATOMIC(atomicMax, old < value ? value : old)
HARMONIUM_EMULATE_ATOMIC(atomicMin, value < old ? value : old)
HARMONIUM_EMULATE_ATOMIC(atomicOr, old | value)
HARMONIUM_EMULATE_ATOMIC(atomicAnd, old & value)
HARMONIUM_EMULATE_ATOMIC(atomicXor, old ^ value)
#undef HARMONIUM_EMULATE_ATOMIC
template <class T>
inline T atomicCAS(T* at, std::common_type_t<T> expected, std::common_type_t<T> value) {
    const T old = *at;
    if (old == expected) *at = value;
    return old;
}

// -- arithmetic ---------------------------------------------------------------------------------------------------------
template <class T>
inline T __ldg(const T* at) { return *at; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<std::uint64_t>(a) * b >> 32); }
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __uint_as_float(unsigned x) { float y; std::memcpy(&y, &x, 4); return y; }
inline unsigned __float_as_uint(float x) { unsigned y; std::memcpy(&y, &x, 4); return y; }
inline int __float_as_int(float x) { int y; std::memcpy(&y, &x, 4); return y; }
inline float __int_as_float(int x) { float y; std::memcpy(&y, &x, 4); return y; }
inline long long __double_as_longlong(double x) { long long y; std::memcpy(&y, &x, 8); return y; }
inline double __longlong_as_double(long long x) { double y; std::memcpy(&y, &x, 8); return y; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
template <class T>
inline T min(T a, T b) { return b < a ? b : a; }
template <class T>
inline T max(T a, T b) { return a < b ? b : a; }

// -- launching ----------------------------------------------------------------------------------------------------------
namespace harmonium_emulate {

template <class... P, std::size_t... i>
cudaError_t keep_and_run(void (*kernel)(P...), dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes,
                         cudaStream_t stream, std::index_sequence<i...>) {
    // Copied now, as the driver does: a graph runs later.
    const auto values = std::make_shared<std::tuple<std::decay_t<P>...>>(*static_cast<std::decay_t<P>*>(arguments[i])...);
    const Launch launch{reinterpret_cast<const void*>(kernel), grid, block, shared_bytes,
                        {std::pair<const void*, std::size_t>(&std::get<i>(*values), sizeof(std::get<i>(*values)))...}};
    if (const cudaError_t error = check_launch(launch)) return error;
    return submit("cudaLaunchKernel", stream, [=] {
        return run(launch, [=] { std::apply(kernel, *values); });
    });
}

}  // namespace harmonium_emulate

template <class... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void** arguments, std::size_t shared_bytes = 0,
                             cudaStream_t stream = nullptr) {
    return harmonium_emulate::keep_and_run(kernel, grid, block, arguments, shared_bytes, stream,
                                           std::index_sequence_for<P...>());
}

template <class... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute, int bytes) {
    return harmonium_emulate::raise_dynamic_shared_limit(reinterpret_cast<const void*>(kernel), static_cast<std::size_t>(bytes));
}
