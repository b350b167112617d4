#include <algorithm>
#include <cstring>

#include "binary_gemm_kernels.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

constexpr int line_bytes = 64;  // one table row is one cache line

enum class Way { skip, rows, pairs, tables_of_4, tables_of_5 };

// Bits 2k where bits 2k and 2k + 1 of the word are both set.
HARMONIUM_INLINE std::uint64_t both_of_pair(std::uint64_t word) { return word & word >> 1 & 0x5555555555555555u; }

// Costs in loads of one line per row of a, for 64 inputs of which a row has so many `ones`, and so many times both bits of
// a pair, on average. Each way pays one load for the accumulator. Sums of pairs and tables of sums save loads and must be
// built, shared by the n rows: two cycles for the store of each entry, and for the pairs the loads of the 64 rows.
Way cheapest(double ones, double pairs, double n) {
    const double by_rows = ones + 1.0;
    const double by_pairs = ones - pairs + 1.5 + (64.0 + 2.0 * 32) / n;
    const double by_4 = 17.0 + 2.0 * 16 * 16 / n;
    const double by_5 = 14.0 + 2.0 * (12 * 32 + 16) / n;
    if (std::min(by_rows, by_pairs) <= std::min(by_4, by_5)) return by_pairs < by_rows ? Way::pairs : Way::rows;
    return by_4 <= by_5 ? Way::tables_of_4 : Way::tables_of_5;
}

// Judges by about 32 rows: which way is taken may not cost much of what it saves.
Way choose(const std::uint64_t* bits, std::int64_t stride, std::int64_t n) {
    const std::int64_t step = std::max<std::int64_t>(n / 32, 4);
    std::int64_t ones = 0, pairs = 0;
    for (std::int64_t r = 0; r < n; r += step) {
        ones += __builtin_popcountll(bits[r * stride]);
        pairs += __builtin_popcountll(both_of_pair(bits[r * stride]));
    }
    const auto seen = static_cast<double>((n + step - 1) / step);
    if (ones > 0) return cheapest(static_cast<double>(ones) / seen, static_cast<double>(pairs) / seen, static_cast<double>(n));
    for (std::int64_t r = 0; r < n; ++r) {
        if (bits[r * stride]) return Way::rows;
    }
    return Way::skip;
}

// All sums of subsets of `Group` rows of b: entry e is the sum of the rows at e's set bits. Rows past `valid` are zero.
template <class T, int Group>
void build_table(const T* b, std::int64_t stride, int valid, T* table) {
    using S = Simd<T>;
    constexpr int line = line_bytes / sizeof(T);
    for (int part = 0; part < line; part += S::lanes) {
        typename S::Vector entry[1 << 4];
        entry[0] = typename S::Vector{};
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
            const auto row = k < valid ? S::load(b + k * stride + part) : typename S::Vector{};
#pragma GCC unroll 8
            for (int e = 0; e < 1 << k; ++e) entry[(1 << k) + e] = entry[e] + row;
        }
#pragma GCC unroll 16
        for (int e = 0; e < 16; ++e) S::store(table + e * line + part, entry[e]);
        if constexpr (Group == 5) {
            const auto row = 4 < valid ? S::load(b + 4 * stride + part) : typename S::Vector{};
#pragma GCC unroll 16
            for (int e = 0; e < 16; ++e) S::store(table + (16 + e) * line + part, entry[e] + row);
        }
    }
}

// 64 inputs against one line of columns ("four Russians": Arlazarov, Dinic, Kronrod, Faradzev 1970): Group inputs are
// one table look-up; the last group of 64 = 12 * 5 + 4 is one of four.
template <class T, int Group>
void multiply_line(const std::uint64_t* bits, std::int64_t bit_stride, std::int64_t n, int valid, const T* b,
                   std::int64_t b_stride, T* acc, std::int64_t acc_stride, bool fresh, T* tables) {
    using S = Simd<T>;
    constexpr int line = line_bytes / sizeof(T);
    constexpr int vectors = line / S::lanes;
    constexpr int groups = (64 + Group - 1) / Group;
    constexpr int entries = 1 << Group;
    for (int g = 0; g < groups; ++g) {
        const int first = g * Group;
        T* table = tables + g * entries * line;
        if (first + Group <= 64) {
            build_table<T, Group>(b + first * b_stride, b_stride, valid - first, table);
        } else {
            build_table<T, 4>(b + first * b_stride, b_stride, valid - first, table);
        }
    }
    for (std::int64_t r = 0; r < n; ++r) {
        const std::uint64_t word = bits[r * bit_stride];
        T* out = acc + r * acc_stride;
        typename S::Vector sum[vectors] = {}, odd[vectors] = {};  // two chains of additions wait half as long
        for (int v = 0; !fresh && v < vectors; ++v) sum[v] = S::load(out + v * S::lanes);
#pragma GCC unroll 16
        for (int g = 0; g < groups; ++g) {
            const T* entry = tables + (g * entries + (word >> (g * Group) & (entries - 1))) * line;
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) (g % 2 ? odd : sum)[v] += S::load(entry + v * S::lanes);
        }
        for (int v = 0; v < vectors; ++v) S::store(out + v * S::lanes, sum[v] + odd[v]);
    }
}

// Where few bits are set, adding the rows of b at the set bits is cheaper. The tile of b stays in the first-level cache.
template <class T, int Vectors>
void add_rows(const std::uint64_t* bits, std::int64_t bit_stride, std::int64_t n, const T* tile, std::int64_t tile_stride,
              T* acc, std::int64_t acc_stride, bool fresh) {
    using S = Simd<T>;
    for (std::int64_t r = 0; r < n; ++r) {
        std::uint64_t word = bits[r * bit_stride];
        if (!word && !fresh) continue;
        T* out = acc + r * acc_stride;
        typename S::Vector sum[Vectors] = {};
        for (int v = 0; !fresh && v < Vectors; ++v) sum[v] = S::load(out + v * S::lanes);
        while (word) {
            const T* row = tile + __builtin_ctzll(word) * tile_stride;
            word &= word - 1;
#pragma GCC unroll 8
            for (int v = 0; v < Vectors; ++v) sum[v] += S::load(row + v * S::lanes);
        }
        for (int v = 0; v < Vectors; ++v) S::store(out + v * S::lanes, sum[v]);
    }
}

// Neighbouring inputs are often on together, pixels of a stroke say: their rows are added up once for all of a.
template <class T>
void build_pairs(const T* tile, int valid, std::int64_t cols, T* sums) {
    using S = Simd<T>;
    for (int k = 0; k + 1 < valid; k += 2) {
        const T* first = tile + k * cols;
        for (std::int64_t c = 0; c < cols; c += S::lanes) {
            S::store(sums + k / 2 * cols + c, S::load(first + c) + S::load(first + cols + c));
        }
    }
}

template <class T, int Vectors>
void add_pairs(const std::uint64_t* bits, std::int64_t bit_stride, std::int64_t n, const T* tile, const T* sums,
               std::int64_t tile_stride, T* acc, std::int64_t acc_stride, bool fresh) {
    using S = Simd<T>;
    for (std::int64_t r = 0; r < n; ++r) {
        const std::uint64_t word = bits[r * bit_stride];
        if (!word && !fresh) continue;
        T* out = acc + r * acc_stride;
        typename S::Vector sum[Vectors] = {};
        for (int v = 0; !fresh && v < Vectors; ++v) sum[v] = S::load(out + v * S::lanes);
        std::uint64_t both = both_of_pair(word);
        std::uint64_t single = word ^ both * 3;
        while (single) {
            const T* row = tile + __builtin_ctzll(single) * tile_stride;
            single &= single - 1;
#pragma GCC unroll 8
            for (int v = 0; v < Vectors; ++v) sum[v] += S::load(row + v * S::lanes);
        }
        while (both) {
            const T* row = sums + __builtin_ctzll(both) / 2 * tile_stride;
            both &= both - 1;
#pragma GCC unroll 8
            for (int v = 0; v < Vectors; ++v) sum[v] += S::load(row + v * S::lanes);
        }
        for (int v = 0; v < Vectors; ++v) S::store(out + v * S::lanes, sum[v]);
    }
}

template <class T, int Vectors>
void add_sparse_rows(const SparseRows<T>& a, Matrix<const T> b, Matrix<T> acc) {
    using S = Simd<T>;
    for (std::int64_t r = 0; r < acc.rows; ++r) {
        typename S::Vector sum[Vectors];
        for (int v = 0; v < Vectors; ++v) sum[v] = S::load(acc.row(r) + v * S::lanes);
        for (std::int64_t k = a.indptr[r]; k < a.indptr[r + 1]; ++k) {
            const T* row = b.row(a.indices[k]);
            if (a.values) {
                for (int v = 0; v < Vectors; ++v) sum[v] += S::load(row + v * S::lanes) * a.values[k];
            } else {
                for (int v = 0; v < Vectors; ++v) sum[v] += S::load(row + v * S::lanes);
            }
        }
        for (int v = 0; v < Vectors; ++v) S::store(acc.row(r) + v * S::lanes, sum[v]);
    }
}

template <class T>
void multiply(ConstBitMatrix a, Matrix<const T> b, bool accumulate, Matrix<T> acc, T* scratch) {
    constexpr int line = line_bytes / sizeof(T);
    bool fresh = !accumulate;  // the first word of bits writes the accumulators, the others add to them
    for (std::int64_t w = 0; w < a.words(); ++w) {
        const std::uint64_t* bits = a.data + w;
        const Way way = choose(bits, a.stride, a.rows);
        const int valid = static_cast<int>(std::min<std::int64_t>(64, a.cols - 64 * w));
        const T* inputs = b.row(64 * w);
        if (way == Way::rows || way == Way::pairs) {
            // A copy without gaps: at b's own stride rows may fall on few cache sets, or straddle lines.
            const T* tile = inputs;
            if (b.stride > b.cols) {
                for (int k = 0; k < valid; ++k) std::memcpy(scratch + k * b.cols, inputs + k * b.stride, b.cols * sizeof(T));
                tile = scratch;
            }
            T* sums = scratch + 64 * 64;
            if (way == Way::pairs) build_pairs(tile, valid, b.cols, sums);
            over_columns<T, 8>(b.cols, [&](auto vectors, std::int64_t c) {
                constexpr int count = decltype(vectors)::value;
                if (way == Way::pairs) {
                    add_pairs<T, count>(bits, a.stride, a.rows, tile + c, sums + c, b.cols, acc.data + c, acc.stride,
                                       fresh);
                } else {
                    add_rows<T, count>(bits, a.stride, a.rows, tile + c, b.cols, acc.data + c, acc.stride,
                                       fresh);
                }
            });
        } else if (way != Way::skip) {
            const auto run = way == Way::tables_of_4 ? multiply_line<T, 4> : multiply_line<T, 5>;
            for (std::int64_t c = 0; c < b.cols; c += line) {
                run(bits, a.stride, a.rows, valid, inputs + c, b.stride, acc.data + c, acc.stride, fresh, scratch);
            }
        }
        if (way != Way::skip) fresh = false;
    }
    for (std::int64_t r = 0; fresh && r < acc.rows; ++r) std::fill(acc.row(r), acc.row(r) + b.cols, T(0));
}

template <class T>
void multiply_sparse(const SparseRows<T>& a, Matrix<const T> b, Matrix<T> acc) {
    over_columns<T, 8>(b.cols, [&](auto vectors, std::int64_t c) {
        constexpr int count = decltype(vectors)::value;
        add_sparse_rows<T, count>(a, {b.data + c, b.rows, count * Simd<T>::lanes, b.stride},
                                  {acc.data + c, acc.rows, count * Simd<T>::lanes, acc.stride});
    });
}

// In place on `lanes` vectors: log2(lanes) rounds of interleaving row i with row i + lanes / 2.
template <class T>
HARMONIUM_INLINE void transpose_square(typename Simd<T>::Vector* rows) {
    using S = Simd<T>;
    using Index = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    typename Simd<Index>::Vector low, high;
    for (int i = 0; i < S::lanes; ++i) {
        low[i] = i % 2 * S::lanes + i / 2;
        high[i] = low[i] + S::lanes / 2;
    }
#pragma GCC unroll 4
    for (int step = 1; step < S::lanes; step *= 2) {
        typename S::Vector next[S::lanes];
#pragma GCC unroll 8
        for (int i = 0; i < S::lanes / 2; ++i) {
            next[2 * i] = __builtin_shuffle(rows[i], rows[i + S::lanes / 2], low);
            next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + S::lanes / 2], high);
        }
#pragma GCC unroll 16
        for (int i = 0; i < S::lanes; ++i) rows[i] = next[i];
    }
}

template <class T>
void transpose(Matrix<const T> from, Matrix<T> to) {
    using S = Simd<T>;
    constexpr int lanes = S::lanes;
    for (std::int64_t j = 0; j < to.rows; j += lanes) {
        for (std::int64_t i = 0; i < to.cols; i += lanes) {
            if (i + lanes <= from.rows && j + lanes <= from.cols) {
                typename S::Vector rows[lanes];
#pragma GCC unroll 16
                for (int k = 0; k < lanes; ++k) rows[k] = S::load(from.row(i + k) + j);
                transpose_square<T>(rows);
#pragma GCC unroll 16
                for (int k = 0; k < lanes; ++k) S::store(to.row(j + k) + i, rows[k]);
                continue;
            }
            for (std::int64_t y = j; y < j + lanes; ++y) {
                for (std::int64_t x = i; x < i + lanes; ++x) {
                    to.row(y)[x] = x < from.rows && y < from.cols ? from.row(x)[y] : T(0);
                }
            }
        }
    }
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
BinaryGemmKernels<T> binary_gemm_kernels() {
    return {multiply<T>, multiply_sparse<T>, transpose<T>};
}
template BinaryGemmKernels<float> binary_gemm_kernels<float>();
template BinaryGemmKernels<double> binary_gemm_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
