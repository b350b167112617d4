// What the lasso's solvers share: correlations, the duality gap, and codes as they are handed out.
// Included by *_cpu.cpp only, like simd.hpp.
#pragma once

#include <algorithm>
#include <limits>

#include "harmonium/math.hpp"
#include "lasso_kernels.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

using Real = double;
using Lanes = Simd<Real>;
using Vector = Lanes::Vector;
constexpr Real infinity = std::numeric_limits<Real>::infinity();

HARMONIUM_INLINE Vector broadcast(Real x) { return Vector{} + x; }
HARMONIUM_INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }
HARMONIUM_INLINE Vector magnitude(Vector a) { return larger(a, -a); }
HARMONIUM_INLINE Real largest_lane(Vector v) {
    Real most = v[0];
    for (int lane = 1; lane < Lanes::lanes; ++lane) most = v[lane] > most ? v[lane] : most;
    return most;
}

HARMONIUM_INLINE Real dot(const Real* a, const Real* b, std::int64_t padded) {
    Vector even{}, odd{};
    std::int64_t i = 0;
    for (; i + 2 * Lanes::lanes <= padded; i += 2 * Lanes::lanes) {
        even = multiply_add(Lanes::load(a + i), Lanes::load(b + i), even);
        odd = multiply_add(Lanes::load(a + i + Lanes::lanes), Lanes::load(b + i + Lanes::lanes), odd);
    }
    for (; i < padded; i += Lanes::lanes) even = multiply_add(Lanes::load(a + i), Lanes::load(b + i), even);
    return sum_of_lanes<Real>(even + odd);
}

HARMONIUM_INLINE void add_multiple(Real factor, const Real* x, std::int64_t padded, Real* y) {
    for (std::int64_t i = 0; i < padded; i += Lanes::lanes) {
        Lanes::store(y + i, multiply_add(broadcast(factor), Lanes::load(x + i), Lanes::load(y + i)));
    }
}

// out = base + sum_k factor_k row_of(k) over `padded` columns, a multiple of 8; base may be null for zeros, or out.
template <class RowOf>
HARMONIUM_INLINE void sum_of_rows(const Real* base, const Real* factor, std::int64_t rows, const RowOf& row_of,
                                  std::int64_t padded, Real* out) {
    const auto piece = [&](auto vectors, std::int64_t first) {
        constexpr int n = decltype(vectors)::value;
        Vector sum[n];
#pragma GCC unroll 8
        for (int v = 0; v < n; ++v) sum[v] = base ? Lanes::load(base + first + v * Lanes::lanes) : Vector{};
        for (std::int64_t k = 0; k < rows; ++k) {
            const Real* row = row_of(k) + first;
            const Vector by = broadcast(factor[k]);
#pragma GCC unroll 8
            for (int v = 0; v < n; ++v) sum[v] = multiply_add(by, Lanes::load(row + v * Lanes::lanes), sum[v]);
        }
#pragma GCC unroll 8
        for (int v = 0; v < n; ++v) Lanes::store(out + first + v * Lanes::lanes, sum[v]);
    };
    over_columns<Real, 8>(padded, piece);
}

// r = x - h D where x is there; minus: the codes with their signs turned.
HARMONIUM_INLINE void residual_of(const LassoRow<Real>& row, const std::int32_t* atoms, const Real* minus, std::int64_t n,
                                  Real* residual) {
    const std::int64_t padded = lasso_padded(row.features);
    sum_of_rows(row.x, minus, n, [&](std::int64_t k) { return row.dictionary + atoms[k] * row.dictionary_stride; }, padded,
                residual);
    if (!row.observed) return;
    for (std::int64_t i = 0; i < padded; i += Lanes::lanes) {
        Lanes::store(residual + i, Lanes::load(residual + i) * Lanes::load(row.observed + i));
    }
}

// D r for every atom: from the Gram matrix at support x atoms, or else from the residual, which it leaves in scratch.
inline void correlations_of(const LassoRow<Real>& row, const std::int32_t* atoms, const Real* minus, std::int64_t n,
                            Real* residual, Real* correlation) {
    if (row.gram) {
        sum_of_rows(row.start_correlations, minus, n, [&](std::int64_t k) { return row.gram + atoms[k] * row.gram_stride; },
                    lasso_padded(row.atoms), correlation);
        return;
    }
    residual_of(row, atoms, minus, n, residual);
    const std::int64_t padded = lasso_padded(row.features);
    std::int64_t j = 0;
    for (; j + 4 <= row.atoms; j += 4) {
        const Real* d = row.dictionary + j * row.dictionary_stride;
        Vector sum[4] = {};
        for (std::int64_t i = 0; i < padded; i += Lanes::lanes) {
            const Vector r = Lanes::load(residual + i);
#pragma GCC unroll 4
            for (int k = 0; k < 4; ++k) sum[k] = multiply_add(Lanes::load(d + k * row.dictionary_stride + i), r, sum[k]);
        }
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) correlation[j + k] = sum_of_lanes<Real>(sum[k]);
    }
    for (; j < row.atoms; ++j) correlation[j] = dot(row.dictionary + j * row.dictionary_stride, residual, padded);
    std::fill(correlation + row.atoms, correlation + lasso_padded(row.atoms), Real(0));
}

// The largest of |g_j| / alpha_j (of g_j / alpha_j for codes that may not be negative), and of |g_j| - alpha_j.
struct Excess {
    Real ratio, violation;
};
inline Excess excess_of(const LassoRow<Real>& row, const Real* correlation) {
    Vector ratio{}, violation = broadcast(-infinity);
    for (std::int64_t j = 0; j < lasso_padded(row.atoms); j += Lanes::lanes) {
        const Vector g = Lanes::load(correlation + j), size = row.positive ? g : magnitude(g);
        ratio = larger(size * Lanes::load(row.inverse_alpha + j), ratio);
        violation = larger(size - Lanes::load(row.alpha + j), violation);
    }
    return {largest_lane(ratio), largest_lane(violation)};
}

struct Gap {
    Real objective, gap;
};

// P - D, where D is the dual objective 0.5 |x|^2 - 0.5 |x - s r|^2 at the residual r made feasible, s = min(1, 1 / ratio):
// at least P - min P (Kim et al., "An Interior-Point Method for Large-Scale l1-Regularized Least Squares", 2007, sec. III).
HARMONIUM_INLINE Gap gap_of(Real residual_squared, Real residual_x, Real penalty, Real ratio) {
    const Real s = ratio > 1 ? 1 / ratio : Real(1);
    const Real objective = Real(0.5) * residual_squared + penalty;
    return {objective, std::max(objective - s * residual_x + Real(0.5) * s * s * residual_squared, Real(0))};
}

// Writes codes out: in the type they are handed out in, with their gap, from a residual taken afresh.
inline void finish(LassoRow<Real>& row, LassoScratch<Real>& scratch, const std::int32_t* atoms, Real* minus, std::int64_t n) {
    std::fill(row.codes, row.codes + row.atoms, Real(0));
    Real penalty = 0;
    for (std::int64_t k = 0; k < n; ++k) {
        if (row.float_codes) minus[k] = static_cast<float>(minus[k]);
        row.codes[atoms[k]] = 0 - minus[k];  // never -0
        if (minus[k] != 0) penalty += row.alpha[atoms[k]] * (minus[k] < 0 ? -minus[k] : minus[k]);
    }
    correlations_of(row, atoms, minus, n, scratch.residual, scratch.correlation);
    if (row.gram) residual_of(row, atoms, minus, n, scratch.residual);
    const std::int64_t padded = lasso_padded(row.features);
    const Gap gap = gap_of(dot(scratch.residual, scratch.residual, padded), dot(scratch.residual, row.x, padded), penalty,
                           excess_of(row, scratch.correlation).ratio);
    row.objective = gap.objective;
    row.gap = gap.gap;
}

}  // namespace
}  // namespace harmonium
