#pragma once

#include "harmonium/units.hpp"

namespace harmonium::cuda {

// units of units.hpp on the context's device, which takes in the layer anew in every call: loops keep a DeviceLayer.
template <class T>
void units(Context& context, const Layer& layer, const T* bias, T scale, const T* exposure, const Draw& draw,
           std::uint32_t first_row, Matrix<T> activation, Matrix<T> drawn, double* log_normaliser);

}  // namespace harmonium::cuda
