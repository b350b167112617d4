#pragma once

#include "harmonium/contraction.hpp"

namespace harmonium::cuda {

// contraction of contraction.hpp on the context's device; penalty and scratch are of the device. Jacobians of several layers
// are formed for `rows_at_once` rows side by side; scratch: contraction_room(layers, rows_at_once) values, of one row at a time
// no more than contraction_scratch says.
template <class T>
void contraction(Context& context, const std::vector<ContractionLayer<T>>& layers, T scale, double* penalty, T* scratch,
                 std::int64_t rows_at_once = 1);
template <class T>
std::int64_t contraction_room(const std::vector<ContractionLayer<T>>& layers, std::int64_t rows_at_once);

}  // namespace harmonium::cuda
