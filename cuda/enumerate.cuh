// The states of a layer of bernoulli and categorical units, numbered as set_units of enumeration.hpp does.
#pragma once

#include "operand.cuh"
#include "unit_layer.cuh"

namespace harmonium::cuda {

// States first, first + 1, ... in the rows of out, as numbers or as products by tensor cores read them.
template <class T>
void enumerate_states(State& state, const LayerView& layer, std::int64_t first, Matrix<T> out);
template <class T>
void enumerate_states(State& state, const LayerView& layer, std::int64_t first, const Parts<T>& out);
// States which[0], which[1], ..., these numbers being on the device.
template <class T>
void chosen_states(State& state, const LayerView& layer, const std::int64_t* which, Matrix<T> out);

}  // namespace harmonium::cuda
