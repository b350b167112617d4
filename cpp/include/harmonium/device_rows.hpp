// Rows that lie in a GPU's memory, looked at and copied there. The same header whether the library is built with CUDA or not;
// the context's device must be the one that they are on, everything here refuses a CPU's.
#pragma once

#include <vector>

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium {

// Of each column, in double: the least and the greatest value, both NaN where there is a NaN, and the mean. Always the same
// bits. binary: whether all values are 0 or 1.
struct ColumnSummary {
    std::vector<double> least, greatest, mean;
    bool binary = true;
};
// T: uint8_t, float, double.
template <class T>
ColumnSummary summarise_columns(Context& context, Matrix<const T> x);

// out bit (i, j) = x(i, j) != 0, out: of the same memory. T: uint8_t, float, double.
template <class T>
void pack_rows(Context& context, Matrix<const T> x, BitMatrix out);

// out (i, j) = bit (i, j) as 0 or 1, of the same memory. T: float.
template <class T>
void unpack_rows(Context& context, ConstBitMatrix bits, Matrix<T> out);

// out row i = row order[i] of x, or row i without order; returns when it is there. order: of the host's memory, out: of the
// host's or the device's. T: uint64_t (words of bits), float, double.
template <class T>
void take_rows(Context& context, Matrix<const T> x, const std::int64_t* order, Matrix<T> out);

}  // namespace harmonium
