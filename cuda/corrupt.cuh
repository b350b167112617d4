#pragma once

#include "harmonium/corrupt.hpp"
#include "step_draw.cuh"

namespace harmonium::cuda {

// corrupt of corrupt.hpp on the context's device; low and high are of the device, groups of the host.
template <class T>
void corrupt(Context& context, Corruption kind, T level, const StepDraw& draw, std::uint32_t first_row, const T* low, const T* high,
             const OutputGroup* groups, std::int64_t n_groups, Matrix<T> x);

}  // namespace harmonium::cuda
