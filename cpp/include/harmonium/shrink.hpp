#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium {

// out = argmin over h of 0.5 |h - x|^2 + a |h|_1 = sign(x) max(|x| - a, 0), or max(x - a, 0) with positive: the proximal
// operator of the l1 norm (Daubechies, Defrise, De Mol, Comm. Pure Appl. Math. 57, 2004, eq. 2.6), exact zeros within.
//   x, out: m x n, float or double, out may be x; a: n values, one for each column, not negative.
//   Error: |x| - a rounded once. Throws std::invalid_argument where shapes differ or a threshold is negative or NaN.
template <class T>
void shrink(Context& context, Matrix<const T> x, const T* a, bool positive, Matrix<T> out);

}  // namespace harmonium
