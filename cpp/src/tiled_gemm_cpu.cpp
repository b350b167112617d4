#include <algorithm>
#include <cstring>

#include "fused.hpp"
#include "tiled_gemm_kernels.hpp"
#include "transpose_simd.hpp"

namespace harmonium {
namespace {

// Accumulators of a tile fill the registers but for the strip's row and one number of A: 12 x 2 of 32, 3 x 4 of 16.
constexpr int most_rows = HARMONIUM_VECTOR_BYTES == 64 ? 12 : 3;

template <std::int64_t Width, class T>
HARMONIUM_INLINE void prefetch(const T* row) {
    for (std::int64_t at = 0; at < Width; at += 64 / static_cast<std::int64_t>(sizeof(T))) __builtin_prefetch(row + at, 1);
}

// Where fetching ahead has come to.
struct Fetching {
    Ahead what;
    std::int64_t line = 0, at_once = 0;

    // For a product of so many steps in all, `steps_between` from one call of go_on to the next.
    Fetching(const Ahead& ahead, std::int64_t steps, std::int64_t steps_between) : what(ahead) {
        if (what.count == 0 || what.rows == 0) return;
        const std::int64_t lines = what.rows * (what.row_bytes / 64 + 1), calls = std::max<std::int64_t>(steps / steps_between, 1);
        at_once = (lines + calls - 1) / calls;
    }
    void go_on() {
        for (std::int64_t n = at_once; n > 0 && what.rows > 0; --n) {
            for (int i = 0; i < what.count; ++i) __builtin_prefetch(what.places[i] + line, 0, 2);
            line += 64;
            if (line < what.row_bytes + 63) continue;
            line = 0, --what.rows;
            for (int i = 0; i < what.count; ++i) what.places[i] += what.stride_bytes;
        }
    }
};
constexpr std::int64_t steps_between = 16;

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
                for (std::int64_t j = 0; j < width; j += S::lanes) S::store(to + j, S::load(from + j));
            } else {
                for (std::int64_t j = 0; j < width; ++j) to[j] = j < valid ? from[j] : T(0);
            }
        }
        return;
    }
    if (valid < width) std::memset(strip, 0, static_cast<std::size_t>(k * width) * sizeof(T));
    constexpr int side = S::lanes;
    std::int64_t p = 0;
    for (; p + side <= k; p += side) {
        std::int64_t j = 0;
        for (; j + side <= valid; j += side) transpose_square<T>(b.row(first + j) + p, b.stride, strip + p * width + j, width);
        for (; j < valid; ++j) {
            for (int i = 0; i < side; ++i) strip[(p + i) * width + j] = b.row(first + j)[p + i];
        }
    }
    for (; p < k; ++p) {
        for (std::int64_t j = 0; j < valid; ++j) strip[p * width + j] = b.row(first + j)[p];
    }
}

// The next row's place, reckoned when it is needed: a place for every row at once would not fit into the registers.
template <class T>
HARMONIUM_INLINE T* next_row(T* row, std::int64_t stride) {
    row += stride;
    asm("" : "+r"(row));
    return row;
}

// A row of c or of a strip in registers: so many bytes, in whole vectors and a half.
template <class T, int Bytes>
struct TileWidth {
    static constexpr int whole = Bytes / HARMONIUM_VECTOR_BYTES, lanes = Bytes / static_cast<int>(sizeof(T));
    static constexpr bool half = Bytes % HARMONIUM_VECTOR_BYTES != 0;
    static constexpr int half_at = whole * Simd<T>::lanes;
};

// Rows of c, Bytes of each; of every A, rows (columns if Transposed) from `first` on.
template <class T, int Rows, bool Transposed, int Bytes>
__attribute__((noinline)) void tile(const StripProduct<T>* products, int n, std::int64_t first, bool accumulate, T* c, std::int64_t c_stride,
                                    Fetching& fetching) {
    using S = Simd<T>;
    using H = HalfSimd<T>;
    using W = TileWidth<T, Bytes>;
    typename S::Vector acc[Rows][W::whole + 1];  // an array of none is not C++
    typename H::Vector half[Rows];
    if (accumulate) {
        T* row = c;
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
            for (int v = 0; v < W::whole; ++v) acc[i][v] = S::load(row + v * S::lanes);
            if constexpr (W::half) half[i] = H::load(row + W::half_at);
            row = next_row(row, c_stride);
        }
    } else {
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
            for (int v = 0; v < W::whole; ++v) acc[i][v] = typename S::Vector{};
            half[i] = typename H::Vector{};
        }
    }
    // Rows of A are reached from every third one: more addresses than that would leave the registers.
    constexpr int bases = Transposed ? 1 : (Rows + 2) / 3;
    for (const StripProduct<T>* product = products; product < products + n; ++product) {
        const std::int64_t stride = product->a.stride, strip_stride = product->strip.stride, k = product->strip.rows;
        const T* base[bases];
        base[0] = product->a.data + (Transposed ? first : first * stride);
#pragma GCC unroll 4
        for (int i = 1; i < bases; ++i) base[i] = base[0] + 3 * i * stride;
        const T* row_of_b = product->strip.data;
        for (std::int64_t p = 0; p < k; p += steps_between) {
            for (std::int64_t left = std::min(steps_between, k - p); left > 0; --left) {
                typename S::Vector row[W::whole + 1];
                typename H::Vector half_row{};
#pragma GCC unroll 8
                for (int v = 0; v < W::whole; ++v) row[v] = S::load(row_of_b + v * S::lanes);
                if constexpr (W::half) half_row = H::load(row_of_b + W::half_at);
                row_of_b += strip_stride;
#pragma GCC unroll 12
                for (int i = 0; i < Rows; ++i) {
                    const T number = Transposed ? base[0][i] : base[i / 3][i % 3 * stride];
                    const auto lanes = all_lanes(number);
#pragma GCC unroll 8
                    for (int v = 0; v < W::whole; ++v) acc[i][v] = fused(lanes, row[v], acc[i][v]);
                    if constexpr (W::half) half[i] = H::fused(number, half_row, half[i]);
                }
#pragma GCC unroll 4
                for (int i = 0; i < bases; ++i) {
                    base[i] += Transposed ? stride : 1;
                    asm("" : "+r"(base[i]));
                }
            }
            fetching.go_on();
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
        for (int v = 0; v < W::whole; ++v) S::store(c + v * S::lanes, acc[i][v]);
        if constexpr (W::half) H::store(c + W::half_at, half[i]);
        c = next_row(c, c_stride);
    }
}

// A tile whose columns end inside its width goes through memory of its own.
template <class T, int Rows, bool Transposed, int Bytes>
void edge(const StripProduct<T>* products, int n, std::int64_t first, bool accumulate, Matrix<T> c, Fetching& fetching) {
    constexpr std::int64_t width = TileWidth<T, Bytes>::lanes;
    alignas(64) T block[Rows * width] = {};
    for (int i = 0; accumulate && i < Rows; ++i) std::memcpy(block + i * width, c.row(i), static_cast<std::size_t>(c.cols) * sizeof(T));
    tile<T, Rows, Transposed, Bytes>(products, n, first, accumulate, block, width, fetching);
    for (int i = 0; i < Rows; ++i) std::memcpy(c.row(i), block + i * width, static_cast<std::size_t>(c.cols) * sizeof(T));
}

template <class T, int Rows, bool Transposed, int Bytes>
void rows_of(const StripProduct<T>* products, int n, bool accumulate, Matrix<T> c, std::int64_t& first, Fetching& fetching) {
    for (; first + Rows <= c.rows; first += Rows) {
        for (std::int64_t i = first + Rows; i < std::min(first + 2 * Rows, c.rows); ++i) prefetch<strip_cols<T>()>(c.row(i));
        if (c.cols == TileWidth<T, Bytes>::lanes) tile<T, Rows, Transposed, Bytes>(products, n, first, accumulate, c.row(first), c.stride, fetching);
        else edge<T, Rows, Transposed, Bytes>(products, n, first, accumulate, c.rows_from(first, Rows), fetching);
    }
    if constexpr (Rows > 1) rows_of<T, (Rows > 8 ? 8 : Rows > 4 ? 4 : Rows / 2), Transposed, Bytes>(products, n, accumulate, c, first, fetching);
}

template <class T>
void multiply(const StripProduct<T>* products, int n, bool transpose_a, bool accumulate, Matrix<T> c, const Ahead& ahead) {
    std::int64_t inner = 0, first = 0;
    for (int i = 0; i < n; ++i) inner += products[i].strip.rows;
    Fetching fetching(ahead, (c.rows + most_rows - 1) / most_rows * inner, steps_between);
    const auto with = [&](auto transposed, auto bytes) {
        rows_of<T, most_rows, decltype(transposed)::value, decltype(bytes)::value>(products, n, accumulate, c, first, fetching);
    };
    const auto of_width = [&](auto transposed) {
        switch (columns_read<T>(c.cols) * 4 / strip_cols<T>()) {
            case 1: return with(transposed, std::integral_constant<int, strip_bytes / 4>());
            case 2: return with(transposed, std::integral_constant<int, strip_bytes / 2>());
            case 3: return with(transposed, std::integral_constant<int, 3 * strip_bytes / 4>());
            default: return with(transposed, std::integral_constant<int, strip_bytes>());
        }
    };
    if (transpose_a) of_width(std::true_type());
    else of_width(std::false_type());
}

// out (Count vectors) = the sum of n rows at `rows`, each times its value, or added to it. On its own, so that sums stay in
// registers.
template <class T, int Count>
__attribute__((noinline)) void sum_rows(const std::int32_t* indices, const T* values, std::int64_t n, const T* rows, bool add, T* out) {
    using S = Simd<T>;
    typename S::Vector sum[Count];
#pragma GCC unroll 8
    for (int v = 0; v < Count; ++v) sum[v] = add ? S::load(out + v * S::lanes) : typename S::Vector{};
    for (std::int64_t k = 0; k < n; ++k) {
        const T* row = rows + static_cast<std::int64_t>(indices[k]) * (Count * S::lanes);
        const auto number = all_lanes(values ? values[k] : T(1));
#pragma GCC unroll 8
        for (int v = 0; v < Count; ++v) sum[v] = fused(number, S::load(row + v * S::lanes), sum[v]);
    }
#pragma GCC unroll 8
    for (int v = 0; v < Count; ++v) S::store(out + v * S::lanes, sum[v]);
}

// Count vectors of columns, from `first` on; the last of them may end beyond c's columns.
template <class T, int Count>
void sparse_columns(const SparseRows<T>& a, const std::int64_t* splits, Matrix<const T> b, std::int64_t first, bool accumulate,
                    Matrix<T> c, T* tile) {
    using S = Simd<T>;
    constexpr std::int64_t width = Count * S::lanes;
    const std::int64_t valid = c.cols, tiles = sparse_tiles(b.rows);
    for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t low = t * sparse_tile, height = std::min(sparse_tile, b.rows - low);
        for (std::int64_t p = 0; p < height; ++p) {
            const T* from = b.row(low + p) + first;
            prefetch<width>(b.row(std::min(low + p + 12, b.rows - 1)) + first);
            if (valid == width) {
#pragma GCC unroll 8
                for (int v = 0; v < Count; ++v) S::store(tile + p * width + v * S::lanes, S::load(from + v * S::lanes));
            } else {
                for (std::int64_t j = 0; j < width; ++j) tile[p * width + j] = j < valid ? from[j] : T(0);
            }
        }
        const std::int64_t* begins = t > 0 ? splits + t - 1 : a.indptr;
        const std::int64_t* ends = t + 1 < tiles ? splits + t : a.indptr + 1;
        const std::int64_t to_begin = t > 0 ? tiles - 1 : 1, to_end = t + 1 < tiles ? tiles - 1 : 1;
        const bool add = accumulate || t > 0;
        const T* rows = tile - low * width;
        // The next tile is fetched meanwhile: below this one, or at the top of the next columns.
        const std::int64_t top = t + 1 < tiles ? low + height : 0, left = t + 1 < tiles ? first : first + width;
        Ahead next;
        if (left < b.cols) next = Ahead(Matrix<const T>(b.row(top) + left, std::min(sparse_tile, b.rows - top), std::min(width, b.cols - left), b.stride));
        Fetching fetching(next, a.rows, 1);
        for (std::int64_t r = 0; r < a.rows; ++r) {
            fetching.go_on();
            const std::int64_t begin = begins[r * to_begin], end = ends[r * to_end];
            if (add && begin == end) continue;
            alignas(64) T edge[width];
            T* out = c.row(r);
            // Rows of c lie far apart: the processor does not foresee the next ones.
            prefetch<width>(c.row(std::min(r + 6, a.rows - 1)));
            if (valid < width) {
                for (std::int64_t j = 0; add && j < valid; ++j) edge[j] = out[j];
                out = edge;
            }
            sum_rows<T, Count>(a.indices + begin, a.values ? a.values + begin : nullptr, end - begin, rows, add, out);
            for (std::int64_t j = 0; valid < width && j < valid; ++j) c.row(r)[j] = edge[j];
        }
    }
}

template <class T>
void multiply_sparse(const SparseRows<T>& a, const std::int64_t* splits, Matrix<const T> b, std::int64_t first, bool accumulate,
                     Matrix<T> c, T* scratch) {
    constexpr std::int64_t lanes = Simd<T>::lanes, most = std::min<std::int64_t>(4 * lanes, sparse_bytes / static_cast<std::int64_t>(sizeof(T)));
    for (std::int64_t at = 0; at < c.cols; at += most) {
        const Matrix<T> part(c.data + at, c.rows, std::min(most, c.cols - at), c.stride);
        const auto with = [&](auto count) {
            sparse_columns<T, decltype(count)::value>(a, splits, b, first + at, accumulate, part, scratch);
        };
        if (part.cols > 2 * lanes) with(std::integral_constant<int, 4>());
        else if (part.cols > lanes) with(std::integral_constant<int, 2>());
        else with(std::integral_constant<int, 1>());
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
