// Inputs of the tests as functions of a seed, and the memory they stand in. Every buffer is exactly as large as the
// contracts ask, so that the address sanitizer sees the first element too far.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "harmonium/pack.hpp"
#include "harmonium/philox.hpp"
#include "harmonium/rbm.hpp"

namespace harmonium_test {

using namespace harmonium;

template <class T>
constexpr double eps = std::numeric_limits<T>::epsilon();

template <class T>
struct Numbers {
    std::int64_t rows, cols;
    std::vector<T> data;

    Numbers(std::int64_t rows_, std::int64_t cols_)
        : rows(rows_), cols(cols_), data(static_cast<std::size_t>(rows * cols)) {}
    // Uniform in [-scale, scale).
    Numbers(std::int64_t rows_, std::int64_t cols_, std::uint64_t seed, double scale = 1) : Numbers(rows_, cols_) {
        fill([&](double u) { return scale * (2 * u - 1); }, seed);
    }
    template <class Function>
    Numbers& fill(const Function& of_uniform, std::uint64_t seed) {
        const Draw draw(seed, Stream::user, 0);
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < cols; ++j) {
                at(i, j) = static_cast<T>(
                    of_uniform(uniform<double>(draw, static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(j))));
            }
        }
        return *this;
    }
    T& at(std::int64_t i, std::int64_t j) { return data[static_cast<std::size_t>(i * cols + j)]; }
    T at(std::int64_t i, std::int64_t j) const { return data[static_cast<std::size_t>(i * cols + j)]; }
    Matrix<T> view() { return {data.data(), rows, cols}; }
    Matrix<const T> view() const { return {data.data(), rows, cols}; }
    Numbers transposed() const {
        Numbers out(cols, rows);
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < cols; ++j) out.at(j, i) = at(i, j);
        }
        return out;
    }
};

struct Bits {
    std::int64_t rows, cols;
    std::vector<std::uint64_t> words;

    Bits(std::int64_t rows_, std::int64_t cols_)
        : rows(rows_), cols(cols_), words(static_cast<std::size_t>(rows * BitMatrix::words_for(cols))) {}
    // Ones with this probability, each with its right neighbour: pairs are frequent.
    Bits(std::int64_t rows_, std::int64_t cols_, std::uint64_t seed, double density) : Bits(rows_, cols_) {
        const Draw draw(seed, Stream::user, 1);
        for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < cols; ++j) {
                if (uniform<double>(draw, static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(j / 2)) < density)
                    set(i, j);
            }
        }
    }
    void set(std::int64_t i, std::int64_t j) { view().row(i)[j / 64] |= std::uint64_t(1) << (j % 64); }
    BitMatrix view() { return {words.data(), rows, cols}; }
    ConstBitMatrix view() const { return {words.data(), rows, cols}; }
    bool at(std::int64_t i, std::int64_t j) const { return view().bit(i, j); }
    template <class T>
    Numbers<T> numbers() const {
        Numbers<T> out(rows, cols);
        unpack_bits<T>(view(), out.view());
        return out;
    }
};

// Rows of the nonzero entries; without values where all of them are 1.
template <class T>
struct Sparse {
    std::vector<std::int64_t> indptr{0};
    std::vector<std::int32_t> indices;
    std::vector<T> values;
    std::int64_t cols;

    Sparse(const Numbers<T>& x, bool with_values) : cols(x.cols) {
        for (std::int64_t i = 0; i < x.rows; ++i) {
            for (std::int64_t j = 0; j < x.cols; ++j) {
                if (x.at(i, j) == T(0)) continue;
                indices.push_back(static_cast<std::int32_t>(j));
                if (with_values) values.push_back(x.at(i, j));
            }
            indptr.push_back(static_cast<std::int64_t>(indices.size()));
        }
        // A view with no values means ones, so a matrix without entries must still have somewhere to point to.
        if (with_values) values.reserve(1);
    }
    SparseRows<T> view() const {
        return {indptr.data(), indices.data(), values.capacity() ? values.data() : nullptr,
                static_cast<std::int64_t>(indptr.size()) - 1, cols};
    }
};

template <class T>
struct InPanels {
    std::int64_t rows, cols;
    std::vector<T> data;

    InPanels(std::int64_t rows_, std::int64_t cols_)
        : rows(rows_), cols(cols_), data(static_cast<std::size_t>(Panels<T>::size(rows, cols))) {}
    explicit InPanels(const Numbers<T>& from) : InPanels(from.rows, from.cols) { to_panels<T>(from.view(), view()); }
    Panels<T> view() { return {data.data(), rows, cols}; }
    Panels<const T> view() const { return {data.data(), rows, cols}; }
    Numbers<T> numbers() const {
        Numbers<T> out(rows, cols);
        from_panels<T>(view(), out.view());
        return out;
    }
};

// A model with memory.
template <class T>
struct Model {
    Numbers<T> w, b, c;
    Model(std::int64_t visible, std::int64_t hidden, std::uint64_t seed = 0, double scale = 1)
        : w(visible, hidden, seed, scale), b(1, visible, seed + 1, scale), c(1, hidden, seed + 2, scale) {}
    Rbm<T> view() { return {w.view(), b.data.data(), c.data.data()}; }
};

inline double logistic(double x) {
    return 1 / (1 + std::exp(-x));
}
inline double log_one_plus_exp(double x) {
    return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}

}  // namespace harmonium_test
