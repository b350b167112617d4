// What functions are marked with that run on the host and, compiled by nvcc, on the device.
#pragma once

#if defined(__CUDACC__)
#define HARMONIUM_HOST_DEVICE __host__ __device__
#else
// Always inlined: a copy of its own, compiled for one SIMD level, could be linked to the code of another.
#define HARMONIUM_HOST_DEVICE __attribute__((always_inline))
#endif
