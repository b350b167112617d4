#include "harmonium/pack.hpp"

#include <algorithm>
#include <cmath>

#include "cuda/pack.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"
#include "pack_kernels.hpp"

namespace harmonium {

namespace {

// What is wrong with a value, if something is.
template <class T>
void check_value(const char* who, T x, std::int64_t row, std::int64_t column, bool check_range) {
    // What rounding may add to a number that was scaled to [0, 1].
    constexpr double slack = 8 * (std::is_same_v<T, float> ? 0x1p-23 : 0x1p-52);
    const auto value = static_cast<double>(x);
    require(!std::isnan(value), who, " contains NaN, in row ", row, ", column ", column);
    require(!std::isinf(value), who, " contains an infinite value (inf), in row ", row, ", column ", column);
    require(!check_range || (value >= -slack && value <= 1 + slack), who, " holds ", value, " in row ", row, ", column ",
            column, "; states are probabilities, between 0 and 1");
}

}  // namespace

template <class T>
Content pack_states(const char* who, const T* x, std::int64_t row_stride, std::int64_t col_stride, bool check_range,
                    std::int64_t first_row, BitMatrix out) {
    bool binary = true;
    for (std::int64_t i = 0; i < out.rows; ++i) {
        const T* row = x + i * row_stride;
        if (binary && col_stride == 1 && input_kernels<T>().pack_row(row, out.cols, out.row(i))) continue;
        std::fill(out.row(i), out.row(i) + out.words(), 0);
        for (std::int64_t j = 0; j < out.cols; ++j) {
            const T value = row[j * col_stride];
            if (value == T(0)) continue;
            out.row(i)[j / 64] |= std::uint64_t(1) << (j % 64);
            if (value == T(1)) continue;
            binary = false;
            if (!(value > T(0) && value < T(1))) check_value(who, value, first_row + i, j, check_range);  // NaN too
        }
    }
    return binary ? Content::binary : Content::unit_interval;
}

template <class T>
void pack_bits(const SparseRows<T>& x, BitMatrix out) {
    for (std::int64_t i = 0; i < out.rows; ++i) {
        std::uint64_t* words = out.row(i);
        std::fill(words, words + out.words(), 0);
        for (std::int64_t k = x.indptr[i]; k < x.indptr[i + 1]; ++k) {
            if (x.values && x.values[k] == T(0)) continue;
            words[x.indices[k] / 64] |= std::uint64_t(1) << (x.indices[k] % 64);
        }
    }
}

template <class T>
void unpack_bits(ConstBitMatrix bits, Matrix<T> out) {
    for (std::int64_t i = 0; i < bits.rows; ++i) {
        for (std::int64_t j = 0; j < bits.cols; ++j) out.row(i)[j] = static_cast<T>(bits.bit(i, j));
    }
}

void transpose_bits(Context& context, ConstBitMatrix bits, BitMatrix out) {
    require(out.rows == bits.cols && out.cols == bits.rows, "transpose_bits: from ", bits.rows, " x ", bits.cols, " to ",
            out.rows, " x ", out.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::transpose_bits(context, bits, out);
    }
    context.parallel_for(bits.words(), [&](std::int64_t w, int) {
        std::uint64_t block[64];
        const std::int64_t columns = std::min<std::int64_t>(64, bits.cols - 64 * w);
        for (std::int64_t first = 0; first < bits.rows; first += 64) {
            const std::int64_t rows = std::min<std::int64_t>(64, bits.rows - first);
            for (std::int64_t i = 0; i < rows; ++i) block[i] = bits.row(first + i)[w];
            std::fill(block + rows, block + 64, 0);
            pack_kernels<std::uint64_t>().transpose_block(block);
            for (std::int64_t j = 0; j < columns; ++j) out.row(64 * w + j)[first / 64] = block[j];
        }
    });
}

void count_bits(ConstBitMatrix bits, const std::uint64_t* mask, std::int64_t* selected, std::int64_t* others) {
    pack_kernels<std::uint64_t>().count(bits, mask, selected, others);
}

template <class T>
void to_panels(Matrix<const T> from, Panels<T> to) {
    for (std::int64_t p = 0; p < to.count(); ++p) {
        const Matrix<T> panel = to.panel(p);
        const std::int64_t cols = std::min(panel.cols, from.cols - 64 * p);
        for (std::int64_t i = 0; i < from.rows; ++i) {
            T* end = std::copy(from.row(i) + 64 * p, from.row(i) + 64 * p + cols, panel.row(i));
            std::fill(end, panel.row(i) + panel.cols, T(0));
        }
    }
}

template <class T>
void from_panels(Panels<const T> from, Matrix<T> to) {
    for (std::int64_t p = 0; p < from.count(); ++p) {
        const Matrix<const T> panel = from.panel(p);
        const std::int64_t cols = std::min(panel.cols, to.cols - 64 * p);
        for (std::int64_t i = 0; i < to.rows; ++i) std::copy(panel.row(i), panel.row(i) + cols, to.row(i) + 64 * p);
    }
}

#define HARMONIUM_INSTANTIATE_INPUT(T)                                                                              \
    template Content pack_states(const char*, const T*, std::int64_t, std::int64_t, bool, std::int64_t, BitMatrix);
HARMONIUM_INSTANTIATE_INPUT(std::uint8_t)
HARMONIUM_INSTANTIATE_INPUT(float)
HARMONIUM_INSTANTIATE_INPUT(double)
#undef HARMONIUM_INSTANTIATE_INPUT

#define HARMONIUM_INSTANTIATE(T)                                 \
    template void pack_bits(const SparseRows<T>&, BitMatrix);    \
    template void unpack_bits(ConstBitMatrix, Matrix<T>);        \
    template void to_panels(Matrix<const T>, Panels<T>);         \
    template void from_panels(Panels<const T>, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
