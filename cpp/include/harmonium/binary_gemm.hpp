#pragma once

#include "harmonium/context.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

// out = A op(B), or out += A op(B), for A in {0,1} as bits or sparse rows (dense rows go to gemm's kernel).
//   A: n x k, op(B): k x m with B in rows or panels, out: n x m in B's form; out may not overlap B.
//   Without multiplications: sums of B's rows at A's set bits, 64 inputs at a time by whichever is cheaper, look-up in
//   tables of subset sums ("four Russians": Arlazarov, Dinic, Kronrod, Faradzev 1970) or adding rows.
//   Error: at most k eps |A| |B|, as any summation (Higham 2002, eq. 4.4). Allocates scratch in the context once.
//   Throws std::invalid_argument on shapes that do not fit.
template <class T>
void binary_gemm(Context& context, const States<T>& a, Matrix<const T> b, bool transpose_b, bool accumulate, Matrix<T> out);
template <class T>
void binary_gemm(Context& context, const States<T>& a, Panels<const T> b, bool transpose_b, bool accumulate, Panels<T> out);

// The gradient form, contracting over the batch: out (k x m) = A^T B for A: n x k bits, B: n x m.
//   bits_scratch: k x n, receives A^T.
template <class T>
void binary_gemm_tn(Context& context, ConstBitMatrix a, Matrix<const T> b, bool accumulate, Matrix<T> out,
                    BitMatrix bits_scratch);

}  // namespace harmonium
