#pragma once

#include "harmonium/contraction.hpp"

namespace harmonium::cuda {

// contraction of contraction.hpp on the context's device, of one layer; penalty and scratch are of the device.
template <class T>
void contraction(Context& context, const ContractionLayer<T>& layer, T scale, double* penalty, T* scratch);

}  // namespace harmonium::cuda
