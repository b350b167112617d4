// Views on the caller's memory. They own nothing and are passed by value.
#pragma once

#include <cstdint>
#include <type_traits>

#include "harmonium/host_device.hpp"

namespace harmonium {

// Row-major: element (i, j) is data[i * stride + j].
template <class T>
struct Matrix {
    T* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    std::int64_t stride = 0;

    Matrix() = default;
    HARMONIUM_HOST_DEVICE Matrix(T* data_, std::int64_t rows_, std::int64_t cols_) : Matrix(data_, rows_, cols_, cols_) {}
    HARMONIUM_HOST_DEVICE Matrix(T* data_, std::int64_t rows_, std::int64_t cols_, std::int64_t stride_)
        : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
    template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
    HARMONIUM_HOST_DEVICE Matrix(const Matrix<U>& other) : Matrix(other.data, other.rows, other.cols, other.stride) {}

    HARMONIUM_HOST_DEVICE T* row(std::int64_t i) const { return data + i * stride; }
    HARMONIUM_HOST_DEVICE Matrix rows_from(std::int64_t first, std::int64_t count) const { return {row(first), count, cols, stride}; }
    HARMONIUM_HOST_DEVICE explicit operator bool() const { return data != nullptr; }
};

// Rows of bits: column j of row i is bit j % 64 of word(i, j / 64). Bits past the last column are zero.
template <class Word>
struct BitMatrixView {
    Word* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    std::int64_t stride = 0;  // words from one row to the next

    BitMatrixView() = default;
    HARMONIUM_HOST_DEVICE BitMatrixView(Word* data_, std::int64_t rows_, std::int64_t cols_)
        : BitMatrixView(data_, rows_, cols_, words_for(cols_)) {}
    HARMONIUM_HOST_DEVICE BitMatrixView(Word* data_, std::int64_t rows_, std::int64_t cols_, std::int64_t stride_)
        : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
    template <class U, class = std::enable_if_t<std::is_same_v<const U, Word>>>
    HARMONIUM_HOST_DEVICE BitMatrixView(const BitMatrixView<U>& other) : BitMatrixView(other.data, other.rows, other.cols, other.stride) {}

    HARMONIUM_HOST_DEVICE static std::int64_t words_for(std::int64_t cols) { return (cols + 63) / 64; }
    HARMONIUM_HOST_DEVICE std::int64_t words() const { return words_for(cols); }
    HARMONIUM_HOST_DEVICE Word* row(std::int64_t i) const { return data + i * stride; }
    HARMONIUM_HOST_DEVICE BitMatrixView rows_from(std::int64_t first, std::int64_t count) const { return {row(first), count, cols, stride}; }
    HARMONIUM_HOST_DEVICE BitMatrixView every_other(std::int64_t first, std::int64_t count) const { return {row(first), count, cols, 2 * stride}; }
    HARMONIUM_HOST_DEVICE bool bit(std::int64_t i, std::int64_t j) const { return row(i)[j / 64] >> (j % 64) & 1; }
    HARMONIUM_HOST_DEVICE explicit operator bool() const { return data != nullptr; }
};
using BitMatrix = BitMatrixView<std::uint64_t>;
using ConstBitMatrix = BitMatrixView<const std::uint64_t>;

// A matrix cut into panels of 64 columns, each panel a contiguous rows x 64 block (the last one narrower, rounded up to
// 16 columns and padded with zeros). A kernel that works on 64 columns at a time then reads one stream, and a row
// stride that is a power of two cannot make cache lines collide. The CPU's own layout: ops on panels refuse a GPU's context.
template <class T>
struct Panels {
    static constexpr std::int64_t width = 64;

    T* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    // This view has rows first, first + step, ... of the `height` rows that each panel has in memory.
    std::int64_t first = 0;
    std::int64_t height = 0;
    std::int64_t step = 1;

    Panels() = default;
    Panels(T* data_, std::int64_t rows_, std::int64_t cols_) : Panels(data_, rows_, cols_, 0, rows_) {}
    Panels(T* data_, std::int64_t rows_, std::int64_t cols_, std::int64_t first_, std::int64_t height_,
           std::int64_t step_ = 1)
        : data(data_), rows(rows_), cols(cols_), first(first_), height(height_), step(step_) {}
    template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
    Panels(const Panels<U>& other) : Panels(other.data, other.rows, other.cols, other.first, other.height, other.step) {}

    static std::int64_t padded(std::int64_t cols) { return (cols + 15) / 16 * 16; }
    static std::int64_t size(std::int64_t rows, std::int64_t cols) { return rows * padded(cols); }
    std::int64_t count() const { return (cols + width - 1) / width; }
    std::int64_t valid_cols(std::int64_t p) const { return p + 1 < count() ? width : cols - p * width; }
    std::int64_t panel_cols(std::int64_t p) const { return padded(valid_cols(p)); }
    Matrix<T> panel(std::int64_t p) const {
        return {data + p * height * width + first * panel_cols(p), rows, panel_cols(p), step * panel_cols(p)};
    }
    Panels rows_from(std::int64_t row, std::int64_t count_) const {
        return {data, count_, cols, first + row * step, height, step};
    }
    Panels every_other(std::int64_t row, std::int64_t count_) const {
        return {data, count_, cols, first + row * step, height, 2 * step};
    }
    T& at(std::int64_t i, std::int64_t j) const { return panel(j / width).row(i)[j % width]; }
    explicit operator bool() const { return data != nullptr; }
};

// Compressed sparse rows, indices sorted within a row (on a GPU each at most once); values == nullptr: every stored entry is 1.
template <class T>
struct SparseRows {
    const std::int64_t* indptr = nullptr;
    const std::int32_t* indices = nullptr;
    const T* values = nullptr;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
};

}  // namespace harmonium
