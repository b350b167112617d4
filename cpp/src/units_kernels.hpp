// Kernels for rows of units of mixed types.
#pragma once

#include "harmonium/units.hpp"
#include "isa.hpp"

namespace harmonium {

template <class T>
struct UnitsRow {
    const UnitGroup* groups = nullptr;
    std::int64_t n_groups = 0;
    std::int64_t units = 0;
    const T* bias = nullptr;
    T scale = 1;
    T exposure = 1;
    Draw draw;
    std::uint32_t row = 0;
    T* activation = nullptr;            // receives the mean
    T* drawn = nullptr;                 // receives states; null: not wanted
    T* uniforms = nullptr;              // scratch, whole blocks of 64, where drawn is wanted
    std::int32_t* tokens = nullptr;     // receives exposure words in place of their numbers, where wanted
    double* log_normaliser = nullptr;   // null: not wanted
};

template <class T>
struct UnitsKernels {
    void (*units)(const UnitsRow<T>& row);
};

HARMONIUM_DECLARE_KERNELS(UnitsKernels, units_kernels)

}  // namespace harmonium
