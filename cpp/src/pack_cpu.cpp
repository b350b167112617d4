#include "pack_kernels.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

// Swaps ever smaller off-diagonal blocks; pairs of rows that are `half` apart stand next to each other in runs of half.
template <int half>
HARMONIUM_INLINE void swap_blocks(std::uint64_t* a, std::uint64_t mask) {
    for (int run = 0; run < 64; run += 2 * half) {
        for (int i = run; i < run + half; ++i) {
            const std::uint64_t swap = (a[i] >> half ^ a[i + half]) & mask;
            a[i] ^= swap << half;
            a[i + half] ^= swap;
        }
    }
}

void transpose_block(std::uint64_t* a) {
    swap_blocks<32>(a, 0x00000000FFFFFFFFu);
    swap_blocks<16>(a, 0x0000FFFF0000FFFFu);
    swap_blocks<8>(a, 0x00FF00FF00FF00FFu);
    swap_blocks<4>(a, 0x0F0F0F0F0F0F0F0Fu);
    swap_blocks<2>(a, 0x3333333333333333u);
    swap_blocks<1>(a, 0x5555555555555555u);
}

void count(ConstBitMatrix bits, const std::uint64_t* mask, std::int64_t* selected, std::int64_t* others) {
    for (std::int64_t i = 0; i < bits.rows; ++i) {
        const std::uint64_t* words = bits.row(i);
        std::int64_t in = 0, out = 0;
        for (std::int64_t w = 0; w < bits.words(); ++w) {
            in += __builtin_popcountll(words[w] & mask[w]);
            out += __builtin_popcountll(words[w] & ~mask[w]);
        }
        selected[i] = in;
        others[i] = out;
    }
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
PackKernels<T> pack_kernels() {
    return {transpose_block, count};
}
template PackKernels<std::uint64_t> pack_kernels<std::uint64_t>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
