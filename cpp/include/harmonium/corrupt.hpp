// What a denoising autoencoder sees in place of its input (Vincent, Larochelle, Lajoie, Bengio, Manzagol 2010, sec. 4.1).
#pragma once

#include "harmonium/likelihood_loss.hpp"
#include "harmonium/philox.hpp"

namespace harmonium {

// masking: 0 where uniform(draw, i, j) < level. gaussian: plus level times a standard normal, the quantile of that uniform.
// salt_and_pepper: low[j] where it is below level / 2, high[j] from there to level.
// A categorical group has one draw, its first column's: masked whole, or replaced by any one of its choices; gaussian as others.
enum class Corruption { none, masking, gaussian, salt_and_pepper };

// X in place. Row i of X draws as row first_row + i of draw. low, high: m values, read by salt_and_pepper alone.
//   Allocates scratch in the context once. Throws std::invalid_argument.
template <class T>
void corrupt(Context& context, Corruption kind, T level, const Draw& draw, std::uint32_t first_row, const T* low, const T* high,
             const OutputGroup* groups, std::int64_t n_groups, Matrix<T> x);

}  // namespace harmonium
