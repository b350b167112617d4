// Factors of products as tensor cores read them. In float32 a row holds three bfloat16 parts side by side: a number as the
// sum of its parts, or a state, which is exact, three times over. In double it holds the number.
//   rows x (parts padded): element (i, j) of part p is data[(i parts + p) padded + j]; columns past `cols` are zero.
// Read as rows of `padded` elements the same memory has the parts of one row below each other: a product that contracts over
// rows (the gradient) takes them as they are.
#pragma once

#include "harmonium/bfloat16.hpp"
#include "harmonium/matrix.hpp"
#include "state.cuh"

namespace harmonium::cuda {

template <class T>
struct ElementOf;
template <>
struct ElementOf<float> {
    using type = Bfloat16;
    static constexpr int parts = 3;
    static constexpr Product product = Product::bf16;
    static constexpr Product numbers = Product::f32;  // where a factor is not states
};
template <>
struct ElementOf<double> {
    using type = double;
    static constexpr int parts = 1;
    static constexpr Product product = Product::f64;
    static constexpr Product numbers = Product::f64;
};

HARMONIUM_HOST_DEVICE inline std::int64_t padded_to_8(std::int64_t cols) { return (cols + 7) / 8 * 8; }  // 16 bytes, as tensor cores want

template <class T>
struct Parts {
    using Element = typename ElementOf<T>::type;

    Element* data = nullptr;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    std::int64_t padded = 0;
    int parts = ElementOf<T>::parts;

    Parts() = default;
    Parts(Element* data_, std::int64_t rows_, std::int64_t cols_, int parts_ = ElementOf<T>::parts)
        : data(data_), rows(rows_), cols(cols_), padded(padded_to_8(cols_)), parts(parts_) {}
    static std::int64_t size(std::int64_t rows, std::int64_t cols, int parts = ElementOf<T>::parts) {
        return rows * parts * padded_to_8(cols);
    }
    HARMONIUM_HOST_DEVICE Element* row(std::int64_t i) const { return data + i * parts * padded; }
    Parts rows_from(std::int64_t first, std::int64_t count) const { return {row(first), count, cols, parts}; }
    HARMONIUM_HOST_DEVICE explicit operator bool() const { return data != nullptr; }

    // A number as its parts, `step` elements apart.
    HARMONIUM_HOST_DEVICE static void write(T value, int count, Element* to, std::int64_t step) {
        if constexpr (sizeof(T) == 4) {
            Bfloat16 part[3];
            split(value, count, part);
            for (int p = 0; p < count; ++p) to[p * step] = part[p];
        } else {
            *to = value;
        }
    }
    HARMONIUM_HOST_DEVICE void set(std::int64_t i, std::int64_t j, T value) const { write(value, parts, row(i) + j, padded); }
    HARMONIUM_HOST_DEVICE void set_state(std::int64_t i, std::int64_t j, bool on) const {
        Element one;
        if constexpr (sizeof(T) == 4) one.bits = on ? 0x3F80 : 0;
        else one = on;
        for (int p = 0; p < parts; ++p) row(i)[p * padded + j] = one;
    }
    HARMONIUM_HOST_DEVICE bool is_on(std::int64_t i, std::int64_t j) const {
        if constexpr (sizeof(T) == 4) return row(i)[j].bits != 0;
        else return row(i)[j] != 0;
    }
    // The sum of the parts.
    HARMONIUM_HOST_DEVICE T value(std::int64_t i, std::int64_t j) const {
        if constexpr (sizeof(T) == 4) {
            float sum = 0;
            for (int p = parts - 1; p >= 0; --p) sum += to_float(row(i)[p * padded + j]);
            return sum;
        } else {
            return row(i)[j];
        }
    }
};

// Rows of a layer on the device: states, or numbers.
template <class T>
struct LayerRows {
    Parts<T> states;
    Matrix<const T> numbers;

    HARMONIUM_HOST_DEVICE T value(std::int64_t i, std::int64_t j) const { return numbers ? numbers.row(i)[j] : T(states.is_on(i, j)); }
};

// W (k x m) as both products want it: its parts below each other for A W, side by side for A W^T. In double the two are one.
template <class T>
struct FactorParts {
    using Element = typename ElementOf<T>::type;

    Element* stacked = nullptr;  // (parts k') x m', part p of row i in row p k' + i; k', m': k, m as multiples of 8
    Parts<T> beside;             // k x m
    std::int64_t rows() const { return beside.rows; }
    std::int64_t cols() const { return beside.cols; }
    HARMONIUM_HOST_DEVICE void set(std::int64_t i, std::int64_t j, T value) const {
        if (stacked) {
            Parts<T>::write(value, beside.parts, stacked + i * beside.padded + j, padded_to_8(beside.rows) * beside.padded);
        }
        if (beside.data) beside.set(i, j, value);
    }
    static std::int64_t stacked_size(std::int64_t k, std::int64_t m, int parts = ElementOf<T>::parts) {
        return parts * padded_to_8(k) * padded_to_8(m);
    }
};

// out = A W, and A W^T.
//   A: n states. Error: the split's, and that of a sum of 3 k (2 k) terms in float32.
template <class T>
void multiply_states(State& state, const Parts<T>& a, const FactorParts<T>& w, bool transposed, T beta, Matrix<T> out);
// out = A^T B, A: n x k states, B: n x m numbers, the parts of each.
template <class T>
void multiply_gradient(State& state, const Parts<T>& a, const Parts<T>& b, T beta, Matrix<T> out);

// Memory whose bytes are 0: padding stays so.
template <class Element>
DeviceBuffer<Element> zeroed(State& state, std::int64_t size) {
    DeviceBuffer<Element> buffer(static_cast<std::size_t>(size));
    if (size) CUDA_CHECK(cudaMemsetAsync(buffer.data(), 0, static_cast<std::size_t>(size) * sizeof(Element), state.stream));
    return buffer;
}

void states_of_bits(State& state, ConstBitMatrix bits, const Parts<float>& out);
void states_of_bits(State& state, ConstBitMatrix bits, const Parts<double>& out);
void bits_of_states(State& state, const Parts<float>& states, BitMatrix out);
void bits_of_states(State& state, const Parts<double>& states, BitMatrix out);
template <class T>
void split_factor(State& state, Matrix<const T> w, const FactorParts<T>& out);
template <class T>
void split_rows(State& state, Matrix<const T> x, const Parts<T>& out);

}  // namespace harmonium::cuda
