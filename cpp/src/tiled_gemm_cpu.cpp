#include <algorithm>
#include <cstring>

#include "fused.hpp"
#include "tiled_gemm_kernels.hpp"

namespace harmonium {
namespace {

template <class T>
constexpr int vectors = strip_bytes / HARMONIUM_VECTOR_BYTES;

// Accumulators of a tile fill the registers but for the strip's row and one number of A: 12 x 2 of 32, 3 x 4 of 16.
constexpr int most_rows = HARMONIUM_VECTOR_BYTES == 64 ? 12 : 3;

template <std::int64_t Width, class T>
HARMONIUM_INLINE void prefetch(const T* row) {
    for (std::int64_t at = 0; at < Width; at += 64 / static_cast<std::int64_t>(sizeof(T))) __builtin_prefetch(row + at, 1);
}

template <class T>
void pack(Matrix<const T> b, bool transpose_b, std::int64_t first, T* strip) {
    using S = Simd<T>;
    constexpr std::int64_t width = strip_cols<T>();
    const std::int64_t k = transpose_b ? b.cols : b.rows, n = transpose_b ? b.rows : b.cols, valid = std::min(width, n - first);
    if (!transpose_b) {
        for (std::int64_t p = 0; p < k; ++p) {
            const T* from = b.row(p) + first;
            T* to = strip + p * width;
            // Rows lie far apart, often each on a page of its own: the processor does not foresee them.
            if (p + 12 < k && first / width % 2 == 0) prefetch<2 * width>(b.row(p + 12) + first);
            if (valid == width) {
                for (int v = 0; v < vectors<T>; ++v) S::store(to + v * S::lanes, S::load(from + v * S::lanes));
            } else {
                for (std::int64_t j = 0; j < width; ++j) to[j] = j < valid ? from[j] : T(0);
            }
        }
        return;
    }
    if (valid < width) std::memset(strip, 0, static_cast<std::size_t>(k * width) * sizeof(T));
    constexpr int side = S::lanes;
    std::int64_t p = 0;
    using Index = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    typename Simd<Index>::Vector low, high;
    for (int i = 0; i < side; ++i) {
        low[i] = i % 2 * side + i / 2;
        high[i] = low[i] + side / 2;
    }
    for (; p + side <= k; p += side) {
        std::int64_t j = 0;
        for (; j + side <= valid; j += side) {  // a square, by log2(side) rounds of interleaving
            typename S::Vector rows[side], next[side];
#pragma GCC unroll 16
            for (int i = 0; i < side; ++i) rows[i] = S::load(b.row(first + j + i) + p);
#pragma GCC unroll 4
            for (int step = 1; step < side; step *= 2) {
#pragma GCC unroll 8
                for (int i = 0; i < side / 2; ++i) {
                    next[2 * i] = __builtin_shuffle(rows[i], rows[i + side / 2], low);
                    next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + side / 2], high);
                }
#pragma GCC unroll 16
                for (int i = 0; i < side; ++i) rows[i] = next[i];
            }
#pragma GCC unroll 16
            for (int i = 0; i < side; ++i) S::store(strip + (p + i) * width + j, rows[i]);
        }
        for (; j < valid; ++j) {
            for (int i = 0; i < side; ++i) strip[(p + i) * width + j] = b.row(first + j)[p + i];
        }
    }
    for (; p < k; ++p) {
        for (std::int64_t j = 0; j < valid; ++j) strip[p * width + j] = b.row(first + j)[p];
    }
}

// Rows x strip_cols of c. a: element (i, p) of op(A) at a[i * of_row + p * of_inner].
template <class T, int Rows, bool Transposed>
__attribute__((noinline)) void tile(const T* a, std::int64_t stride, std::int64_t k, const T* strip, bool accumulate, T* c,
                                    std::int64_t c_stride) {
    using S = Simd<T>;
    constexpr int count = vectors<T>;
    typename S::Vector acc[Rows][count];
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
        for (int v = 0; v < count; ++v) acc[i][v] = accumulate ? S::load(c + i * c_stride + v * S::lanes) : typename S::Vector{};
    }
    for (std::int64_t p = 0; p < k; ++p) {
        typename S::Vector row[count];
#pragma GCC unroll 8
        for (int v = 0; v < count; ++v) row[v] = S::load(strip + p * count * S::lanes + v * S::lanes);
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i) {
            const auto number = all_lanes(Transposed ? a[p * stride + i] : a[i * stride + p]);
#pragma GCC unroll 8
            for (int v = 0; v < count; ++v) acc[i][v] = fused(number, row[v], acc[i][v]);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
        for (int v = 0; v < count; ++v) S::store(c + i * c_stride + v * S::lanes, acc[i][v]);
    }
}

// A tile whose columns end inside the strip goes through memory of its own.
template <class T, int Rows, bool Transposed>
void edge(const T* a, std::int64_t stride, std::int64_t k, const T* strip, bool accumulate, Matrix<T> c) {
    constexpr std::int64_t width = strip_cols<T>();
    alignas(64) T block[Rows * width] = {};
    for (int i = 0; accumulate && i < Rows; ++i) std::memcpy(block + i * width, c.row(i), static_cast<std::size_t>(c.cols) * sizeof(T));
    tile<T, Rows, Transposed>(a, stride, k, strip, accumulate, block, width);
    for (int i = 0; i < Rows; ++i) std::memcpy(c.row(i), block + i * width, static_cast<std::size_t>(c.cols) * sizeof(T));
}

template <class T, int Rows, bool Transposed>
void rows_of(Matrix<const T> a, const T* strip, bool accumulate, Matrix<T> c, std::int64_t& first) {
    const std::int64_t k = Transposed ? a.rows : a.cols;
    for (; first + Rows <= c.rows; first += Rows) {
        const T* from = Transposed ? a.data + first : a.row(first);
        for (std::int64_t i = first + Rows; i < std::min(first + 2 * Rows, c.rows); ++i) prefetch<strip_cols<T>()>(c.row(i));
        if (c.cols == strip_cols<T>()) tile<T, Rows, Transposed>(from, a.stride, k, strip, accumulate, c.row(first), c.stride);
        else edge<T, Rows, Transposed>(from, a.stride, k, strip, accumulate, c.rows_from(first, Rows));
    }
    if constexpr (Rows > 1) rows_of<T, (Rows > 8 ? 8 : Rows > 4 ? 4 : Rows / 2), Transposed>(a, strip, accumulate, c, first);
}

template <class T>
void multiply(Matrix<const T> a, bool transpose_a, const T* strip, bool accumulate, Matrix<T> c) {
    std::int64_t first = 0;
    if (transpose_a) rows_of<T, most_rows, true>(a, strip, accumulate, c, first);
    else rows_of<T, most_rows, false>(a, strip, accumulate, c, first);
}

template <class T>
void multiply_sparse(const SparseRows<T>& a, Matrix<const T> b, std::int64_t first, bool accumulate, Matrix<T> c, T* scratch) {
    using S = Simd<T>;
    constexpr int width = 64, count = width / S::lanes, at_once = count > 8 ? 8 : count;
    const std::int64_t valid = c.cols;
    T* tile = scratch;
    auto* places = reinterpret_cast<std::int64_t*>(scratch + sparse_tile * width);
    std::memcpy(places, a.indptr, static_cast<std::size_t>(a.rows) * sizeof(std::int64_t));
    const std::int64_t tiles = (b.rows + sparse_tile - 1) / sparse_tile, even = (b.rows + tiles - 1) / std::max<std::int64_t>(tiles, 1);
    for (std::int64_t low = 0; low < b.rows; low += even) {
        const std::int64_t height = std::min(even, b.rows - low), high = low + height;
        for (std::int64_t p = 0; p < height; ++p) {
            const T* from = b.row(low + p) + first;
            prefetch<width>(b.row(std::min(low + p + 12, b.rows - 1)) + first);
            if (valid == width) std::memcpy(tile + p * width, from, width * sizeof(T));
            else for (std::int64_t j = 0; j < width; ++j) tile[p * width + j] = j < valid ? from[j] : T(0);
        }
        const bool add = accumulate || low > 0;
        for (std::int64_t r = 0; r < a.rows; ++r) {
            const std::int64_t begin = places[r], last = a.indptr[r + 1];
            if (add && (begin == last || a.indices[begin] >= high)) continue;
            alignas(64) T edge[width];
            T* out = c.row(r);
            // Rows of c lie far apart: the processor does not foresee the next ones.
            prefetch<width>(c.row(std::min(r + 6, a.rows - 1)));
            if (valid < width) {
                if (add) std::memcpy(edge, out, static_cast<std::size_t>(valid) * sizeof(T));
                out = edge;
            }
            std::int64_t k = begin;
            for (int part = 0; part < count; part += at_once) {
                T* to = out + part * S::lanes;
                const T* rows = tile + part * S::lanes - low * width;
                typename S::Vector sum[at_once];
#pragma GCC unroll 8
                for (int v = 0; v < at_once; ++v) sum[v] = add ? S::load(to + v * S::lanes) : typename S::Vector{};
                for (k = begin; k < last && a.indices[k] < high; ++k) {
                    const T* row = rows + static_cast<std::int64_t>(a.indices[k]) * width;
                    const auto number = all_lanes(a.values ? a.values[k] : T(1));
#pragma GCC unroll 8
                    for (int v = 0; v < at_once; ++v) sum[v] = fused(number, S::load(row + v * S::lanes), sum[v]);
                }
#pragma GCC unroll 8
                for (int v = 0; v < at_once; ++v) S::store(to + v * S::lanes, sum[v]);
            }
            places[r] = k;
            if (valid < width) std::memcpy(c.row(r), edge, static_cast<std::size_t>(valid) * sizeof(T));
        }
    }
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
TiledGemmKernels<T> tiled_gemm_kernels() {
    return {pack<T>, multiply<T>, multiply_sparse<T>};
}
template TiledGemmKernels<float> tiled_gemm_kernels<float>();
template TiledGemmKernels<double> tiled_gemm_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
