#pragma once

#include <cstdint>

namespace harmonium {

// out[i] = f(x[i]) for f of math.hpp, with the errors stated there; x may be out. T: float, double.
template <class T>
void exp_of(const T* x, std::int64_t n, T* out);
template <class T>
void sigmoid_of(const T* x, std::int64_t n, T* out);
template <class T>
void softplus_of(const T* x, std::int64_t n, T* out);

}  // namespace harmonium
