// Dictionaries, and what codes on them are judged by, in plain loops.
#pragma once

#include <utility>

#include "inputs.hpp"

namespace harmonium_test {

template <class T>
Numbers<T> unit_rows(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
    Numbers<T> d(rows, cols, seed);
    for (std::int64_t k = 0; k < rows; ++k) {
        double squares = 0;
        for (std::int64_t f = 0; f < cols; ++f) squares += static_cast<double>(d.at(k, f)) * static_cast<double>(d.at(k, f));
        for (std::int64_t f = 0; f < cols; ++f) d.at(k, f) = static_cast<T>(static_cast<double>(d.at(k, f)) / std::sqrt(squares));
    }
    return d;
}

// 0.5 |x - h D|^2 + sum_k alpha_k |h_k| of row i, and its duality gap at the residual made feasible, in double. alpha: for each
// atom, or for each code.
template <class T>
std::pair<double, double> objective_and_gap(const Numbers<T>& x, const Numbers<T>& d, const Numbers<T>& h, const std::vector<double>& alpha,
                                            bool by_row, bool positive, const Numbers<std::uint8_t>* observed, std::int64_t i) {
    const auto penalty = [&](std::int64_t k) { return alpha[static_cast<std::size_t>((by_row ? i * d.rows : 0) + k)]; };
    std::vector<double> r(static_cast<std::size_t>(x.cols));
    double squares = 0, with_x = 0, l1 = 0, most = 0;
    for (std::int64_t f = 0; f < x.cols; ++f) {
        double sum = static_cast<double>(x.at(i, f));
        for (std::int64_t k = 0; k < d.rows; ++k) sum -= static_cast<double>(h.at(i, k)) * static_cast<double>(d.at(k, f));
        if (observed && !observed->at(i, f)) sum = 0;
        r[static_cast<std::size_t>(f)] = sum;
        squares += sum * sum;
        with_x += sum * static_cast<double>(x.at(i, f));
    }
    for (std::int64_t k = 0; k < d.rows; ++k) {
        double g = 0;
        for (std::int64_t f = 0; f < x.cols; ++f) g += r[static_cast<std::size_t>(f)] * static_cast<double>(d.at(k, f));
        most = std::max(most, (positive ? g : std::abs(g)) / penalty(k));
        l1 += h.at(i, k) != 0 ? penalty(k) * std::abs(static_cast<double>(h.at(i, k))) : 0;
    }
    const double s = most > 1 ? 1 / most : 1, objective = 0.5 * squares + l1;
    return {objective, std::max(objective - s * with_x + 0.5 * s * s * squares, 0.0)};
}

}  // namespace harmonium_test
