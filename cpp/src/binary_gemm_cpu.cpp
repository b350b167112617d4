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

struct Choice {
    Way way;
    double cost;
};

// Costs in loads of one line per row of a, for 64 inputs of which a row has so many `ones`, and so many times both bits of
// a pair, on average. Each way pays one load for the accumulator. Sums of pairs and tables of sums save loads and must be
// built, shared by the n rows: two cycles for the store of each entry, and for the pairs the loads of the 64 rows.
Choice cheapest(double ones, double pairs, double n) {
    const double by_rows = ones + 1.0;
    const double by_pairs = ones - pairs + 1.5 + (64.0 + 2.0 * 32) / n;
    const double by_4 = 17.0 + 2.0 * 16 * 16 / n;
    const double by_5 = 14.0 + 2.0 * (12 * 32 + 16) / n;
    if (std::min(by_rows, by_pairs) <= std::min(by_4, by_5)) return by_pairs < by_rows ? Choice{Way::pairs, by_pairs} : Choice{Way::rows, by_rows};
    return by_4 <= by_5 ? Choice{Way::tables_of_4, by_4} : Choice{Way::tables_of_5, by_5};
}

// Judges by about 32 rows: which way is taken may not cost much of what it saves.
Choice choose(const std::uint64_t* bits, std::int64_t stride, std::int64_t n) {
    const std::int64_t step = std::max<std::int64_t>(n / 32, 4);
    std::int64_t ones = 0, pairs = 0;
    for (std::int64_t r = 0; r < n; r += step) {
        ones += __builtin_popcountll(bits[r * stride]);
        pairs += __builtin_popcountll(both_of_pair(bits[r * stride]));
    }
    const auto seen = static_cast<double>((n + step - 1) / step);
    if (ones > 0) return cheapest(static_cast<double>(ones) / seen, static_cast<double>(pairs) / seen, static_cast<double>(n));
    for (std::int64_t r = 0; r < n; ++r) {
        if (bits[r * stride]) return {Way::rows, 1};
    }
    return {Way::skip, 0};
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

constexpr int tile_stride = 64;  // known to the compiler: a shift instead of a product for each set bit

// Where few bits are set, adding the rows of b at the set bits is cheaper, for a few neighbouring words at once.
// Neighbouring inputs are often on together, pixels of a stroke say: with Paired their rows have been added up once for all
// of a. tile: 64 rows a word; sums: of pairs, 32 rows a word. Out of line and with all that can be known at compile time:
// otherwise the compiler kept sums on the stack, and the time rose by a sixth.
template <class T, int Vectors, bool Paired, bool Fresh, int AccStride>
__attribute__((noinline)) void add_few(const std::uint64_t* bits, std::int64_t bit_stride, int words, std::int64_t n,
                                       const T* tile, const T* sums, T* acc, std::int64_t acc_stride) {
    using S = Simd<T>;
    for (std::int64_t r = 0; r < n; ++r) {
        T* out = acc + r * (AccStride ? AccStride : acc_stride);
        typename S::Vector sum[Vectors];
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sum[v] = Fresh ? typename S::Vector{} : S::load(out + v * S::lanes);
        for (int w = 0; w < words; ++w) {
            const std::uint64_t word = bits[r * bit_stride + w];
            std::uint64_t both = Paired ? both_of_pair(word) : 0, single = word ^ both * 3;
            while (single) {
                const T* row = tile + (64 * w + __builtin_ctzll(single)) * tile_stride;
                single &= single - 1;
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; ++v) sum[v] += S::load(row + v * S::lanes);
            }
            while (both) {  // bit 2k is row k of the sums: half a stride a bit
                const T* row = sums + (64 * w + __builtin_ctzll(both)) * (tile_stride / 2);
                both &= both - 1;
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; ++v) sum[v] += S::load(row + v * S::lanes);
            }
        }
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) S::store(out + v * S::lanes, sum[v]);
    }
}

template <class T, int Vectors>
void build_pairs(const T* tile, std::int64_t valid, T* sums) {
    using S = Simd<T>;
    for (std::int64_t k = 0; k + 1 < valid; k += 2) {
        const T* first = tile + k * tile_stride;
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) {
            S::store(sums + k / 2 * tile_stride + v * S::lanes,
                     S::load(first + v * S::lanes) + S::load(first + tile_stride + v * S::lanes));
        }
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

// All words of a at once, b their inputs.
template <class T>
void multiply_few(ConstBitMatrix a, bool paired, Matrix<const T> b, bool fresh, Matrix<T> acc, T* scratch) {
    const T* tile = b.data;
    T* sums = scratch + words_at_once * 64 * tile_stride;
    if (b.stride != tile_stride) {
        for (std::int64_t k = 0; k < b.rows; ++k) std::memcpy(scratch + k * tile_stride, b.row(k), b.cols * sizeof(T));
        tile = scratch;
    }
    over_columns<T, 8>(b.cols, [&](auto vectors, std::int64_t c) {
        constexpr int count = decltype(vectors)::value;
        if (paired) build_pairs<T, count>(tile + c, b.rows, sums + c);
        const auto add = [&](auto with_pairs, auto first, auto stride) {
            add_few<T, count, decltype(with_pairs)::value, decltype(first)::value, decltype(stride)::value>(
                a.data, a.stride, static_cast<int>(a.words()), a.rows, tile + c, sums + c, acc.data + c, acc.stride);
        };
        const auto by_stride = [&](auto with_pairs, auto first) {
            acc.stride == 64 ? add(with_pairs, first, std::integral_constant<int, 64>())
                             : add(with_pairs, first, std::integral_constant<int, 0>());
        };
        const auto by_first = [&](auto with_pairs) {
            fresh ? by_stride(with_pairs, std::true_type()) : by_stride(with_pairs, std::false_type());
        };
        paired ? by_first(std::true_type()) : by_first(std::false_type());
    });
}

template <class T>
void multiply(ConstBitMatrix a, Matrix<const T> b, bool accumulate, Matrix<T> acc, T* scratch) {
    constexpr int line = line_bytes / sizeof(T);
    bool fresh = !accumulate;  // the first words of bits write the accumulators, the others add to them
    // Words just before w that wait to be done at once, how many of them by pairs, and what they cost. Where that is much,
    // the accumulators' share is small and a tile that stays in the first-level cache is worth more.
    constexpr double much = 20;
    int few = 0, paired = 0;
    double cost = 0;
    const auto flush = [&](std::int64_t end) {
        const std::int64_t first = end - few, inputs = std::min<std::int64_t>(64 * few, a.cols - 64 * first);
        if (few > 0) {
            multiply_few({a.data + first, a.rows, inputs, a.stride}, 2 * paired >= few, b.rows_from(64 * first, inputs), fresh,
                         acc, scratch);
            fresh = false;
        }
        few = paired = 0;
        cost = 0;
    };
    for (std::int64_t w = 0; w < a.words(); ++w) {
        const std::uint64_t* bits = a.data + w;
        const auto [way, price] = choose(bits, a.stride, a.rows);
        const bool table = way == Way::tables_of_4 || way == Way::tables_of_5;
        if (table || few == words_at_once || cost + price > much) flush(w);
        if (!table && (few > 0 || way != Way::skip)) ++few, paired += way == Way::pairs, cost += price;
        if (!table) continue;
        const auto run = way == Way::tables_of_4 ? multiply_line<T, 4> : multiply_line<T, 5>;
        const int valid = static_cast<int>(std::min<std::int64_t>(64, a.cols - 64 * w));
        for (std::int64_t c = 0; c < b.cols; c += line) {
            run(bits, a.stride, a.rows, valid, b.row(64 * w) + c, b.stride, acc.data + c, acc.stride, fresh, scratch);
        }
        fresh = false;
    }
    flush(a.words());
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
