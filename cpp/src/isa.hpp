// SIMD levels: every *_cpu.cpp is compiled once per level, with HARMONIUM_LEVEL naming the level's namespace.
#pragma once

#include <string>
#include <type_traits>

#include "harmonium/isa.hpp"

#if defined(__x86_64__)
#define HARMONIUM_LEVELS(X) X(x86_64_v1) X(x86_64_v3) X(x86_64_v4)
#else
#define HARMONIUM_LEVELS(X) X(baseline)
#endif

// Declares, for every level, the table of an op's kernels, and a function that picks the running level's:
// HARMONIUM_DECLARE_KERNELS(BernoulliKernels, bernoulli_kernels) gives bernoulli_kernels<T>().
#define HARMONIUM_DECLARE_LEVEL(level, Table, name) \
    namespace level {                               \
    template <class T>                              \
    Table<T> name();                                \
    }
#if defined(__x86_64__)
#define HARMONIUM_DECLARE_KERNELS(Table, name)                 \
    HARMONIUM_DECLARE_LEVEL(x86_64_v1, Table, name)            \
    HARMONIUM_DECLARE_LEVEL(x86_64_v3, Table, name)            \
    HARMONIUM_DECLARE_LEVEL(x86_64_v4, Table, name)            \
    template <class T>                                         \
    const Table<T>& name() {                                   \
        static const Table<T> table = isa() == Isa::v4   ? x86_64_v4::name<T>() \
                                      : isa() == Isa::v3 ? x86_64_v3::name<T>() \
                                                         : x86_64_v1::name<T>(); \
        return table;                                          \
    }
#else
#define HARMONIUM_DECLARE_KERNELS(Table, name)     \
    HARMONIUM_DECLARE_LEVEL(baseline, Table, name) \
    template <class T>                             \
    const Table<T>& name() {                       \
        static const Table<T> table = baseline::name<T>(); \
        return table;                              \
    }
#endif
