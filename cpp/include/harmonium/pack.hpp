#pragma once

#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium {

// What a matrix of states holds: only zeros and ones, or also values between.
enum class Content { binary, unit_interval };

// out bit (i, j) = x(i, j) != 0, out: rows x cols; says what x holds (any strides, in elements). T: uint8_t, float, double.
// Throws std::invalid_argument with row (counted from first_row) and column of the first value that is NaN or infinite,
// or, with check_range, outside [0, 1] by more than rounding; `who`, such as "RBM.fit: X", begins the message.
template <class T>
Content pack_states(const char* who, const T* x, std::int64_t row_stride, std::int64_t col_stride, bool check_range,
                    std::int64_t first_row, BitMatrix out);

// The same of rows that have been checked.
template <class T>
void pack_bits(const SparseRows<T>& x, BitMatrix out);

// out (i, j) = bit (i, j), as 0 or 1.
template <class T>
void unpack_bits(ConstBitMatrix bits, Matrix<T> out);

// out = bits^T; bits: n x k, out: k x n. Blocks of 64 x 64 (Warren, Hacker's Delight, section 7-3).
void transpose_bits(Context& context, ConstBitMatrix bits, BitMatrix out);

// Of each row: the ones in the columns that mask (one row of words) selects, and in the others. rows values each.
void count_bits(ConstBitMatrix bits, const std::uint64_t* mask, std::int64_t* selected, std::int64_t* others);

// Between rows and panels; the panels' padding is set to zero.
template <class T>
void to_panels(Matrix<const T> from, Panels<T> to);
template <class T>
void from_panels(Panels<const T> from, Matrix<T> to);

}  // namespace harmonium
