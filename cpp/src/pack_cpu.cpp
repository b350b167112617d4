#include <algorithm>
#include <cstring>

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

// 64 values to one word; sets bad where one of them is neither 0 nor 1.
template <class T>
HARMONIUM_INLINE std::uint64_t pack_word(const T* x, bool& bad) {
    std::uint64_t word = 0;
    if constexpr (sizeof(T) == 1) {
        std::uint64_t others = 0;
        for (int k = 0; k < 8; ++k) {
            std::uint64_t bytes;
            std::memcpy(&bytes, x + 8 * k, 8);
            others |= bytes & ~std::uint64_t(0x0101010101010101u);
            // Byte i, 0 or 1, goes to bit 56 + i; no two terms of the product share a bit.
            word |= bytes * 0x0102040810204080u >> 56 << (8 * k);
        }
        bad |= others != 0;
    } else {
        using S = Simd<T>;
        const typename S::Vector zero{}, one = zero + T(1);
        decltype(zero < one) fine = zero == zero;
        for (int j = 0; j < 64; j += S::lanes) {
            const auto value = S::load(x + j);
            fine &= (value == zero) | (value == one);
            word |= less(zero, value) << j;
        }
        for (int lane = 0; lane < S::lanes; ++lane) bad |= !fine[lane];
    }
    return word;
}

template <class T>
bool pack_row(const T* x, std::int64_t cols, std::uint64_t* words) {
    bool bad = false;
    std::int64_t j = 0;
    for (; j + 64 <= cols; j += 64) *words++ = pack_word(x + j, bad);
    if (j < cols) {
        T rest[64] = {};
        std::copy(x + j, x + cols, rest);
        *words = pack_word(rest, bad);
    }
    return !bad;
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
InputKernels<T> input_kernels() {
    return {pack_row<T>};
}
template InputKernels<std::uint8_t> input_kernels<std::uint8_t>();
template InputKernels<float> input_kernels<float>();
template InputKernels<double> input_kernels<double>();
template <class T>
PackKernels<T> pack_kernels() {
    return {transpose_block, count};
}
template PackKernels<std::uint64_t> pack_kernels<std::uint64_t>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
