#include <cmath>
#include <cstddef>
#include <utility>

#include "lasso_active_set.hpp"

namespace harmonium {
namespace {

// Lists the codes that are not zero in s.found and s.minus; how many.
std::int64_t support_of(const LassoRow<Real>& row, LassoScratch<Real>& s, const Real* codes) {
    std::int64_t n = 0;
    for (std::int64_t j = 0; j < row.atoms; ++j) {
        if (codes[j] == 0) continue;
        s.found[n] = static_cast<std::int32_t>(j);
        s.minus[n++] = -codes[j];
    }
    return n;
}

// Objective and gap of the codes that support_of has found, from their correlations: |r|^2 = |x|^2 - h . (c + g).
Gap gap_at(const LassoRow<Real>& row, Real x_squared, const LassoScratch<Real>& s, std::int64_t n) {
    Real with_start = 0, with_now = 0, penalty = 0;
    for (std::int64_t k = 0; k < n; ++k) {
        const std::int32_t j = s.found[k];
        with_start -= s.minus[k] * row.start_correlations[j];
        with_now -= s.minus[k] * s.correlation[j];
        penalty += row.alpha[j] * std::abs(s.minus[k]);
    }
    return gap_of(std::max(x_squared - with_start - with_now, Real(0)), x_squared - with_start, penalty,
                  excess_of(row, s.correlation).ratio);
}

// h = shrink(y + g(y) / L, alpha / L), the proximal step from the point y = last + momentum (last - before), whose correlations
// g are the same combination. codes and correlation come with those before; returns (y - h) . (h - last), which is positive
// where the momentum led uphill.
template <bool Moving>
Real proximal_step(const LassoRow<Real>& row, LassoScratch<Real>& s, Real momentum) {
    const Vector step = broadcast(1 / row.lipschitz);
    Vector uphill{};
    for (std::int64_t j = 0; j < lasso_padded(row.atoms); j += Lanes::lanes) {
        const Vector last = Lanes::load(s.previous + j), g = Lanes::load(s.previous_correlation + j);
        Vector point = last, at_point = g;
        if (Moving) {
            point += momentum * (last - Lanes::load(s.codes + j));
            at_point += momentum * (g - Lanes::load(s.correlation + j));
        }
        const Vector moved = multiply_add(step, at_point, point), penalty = step * Lanes::load(row.alpha + j);
        const Vector h = row.positive ? shrink_positive(moved, penalty) : shrink(moved, penalty);
        Lanes::store(s.codes + j, h);
        if (Moving) uphill += (point - h) * (h - last);
    }
    return Moving ? sum_of_lanes<Real>(uphill) : Real(0);
}

// ISTA (Daubechies, Defrise, De Mol 2004), and FISTA (Beck and Teboulle 2009, section 4) with the momentum dropped where
// it leads uphill, by the gradient scheme of O'Donoghue and Candes 2015, section 3.2: rounding errors do not decide there,
// as they do where objectives are compared. A step costs codes that are not zero x atoms.
template <bool Momentum>
void proximal_gradient(LassoRow<Real>& row, LassoScratch<Real>& s) {
    const Real x_squared = dot(row.x, row.x, lasso_padded(row.features));
    std::copy(row.codes, row.codes + row.atoms, s.codes);
    std::fill(s.codes + row.atoms, s.codes + lasso_padded(row.atoms), Real(0));
    std::int64_t n = support_of(row, s, s.codes);
    correlations_of(row, s.found, s.minus, n, s.residual, s.correlation);
    Gap now = gap_at(row, x_squared, s, n);
    Real t = 1, momentum = 0;
    while (now.gap > row.tol * now.objective && row.n_iter < row.max_iter) {
        std::swap(s.codes, s.previous);
        std::swap(s.correlation, s.previous_correlation);
        const Real uphill = momentum != 0 ? proximal_step<true>(row, s, momentum) : proximal_step<false>(row, s, 0);
        if (uphill > 0) t = 1;
        n = support_of(row, s, s.codes);
        correlations_of(row, s.found, s.minus, n, s.residual, s.correlation);
        now = gap_at(row, x_squared, s, n);
        ++row.n_iter;
        if (Momentum) {
            const Real t_next = (1 + std::sqrt(1 + 4 * t * t)) / 2;
            momentum = (t - 1) / t_next;
            t = t_next;
        }
    }
    row.converged = now.gap <= row.tol * now.objective;
    finish(row, s, s.found, s.minus, n);
}

// Atoms that violate the optimality conditions by more than `least` join, up to what there is room for.
void admit(const LassoRow<Real>& row, LassoScratch<Real>& s, ActiveSet& active, Real least) {
    for (std::int64_t j = 0; j < row.atoms; j += Lanes::lanes) {
        const Vector g = Lanes::load(s.correlation + j), size = row.positive ? g : magnitude(g);
        for (std::uint64_t which = less(broadcast(least), size - Lanes::load(row.alpha + j)); which != 0; which &= which - 1) {
            const std::int64_t atom = j + __builtin_ctzll(which);
            if (active.full()) return;
            if (!active.has(atom)) active.join(atom, 0, s.correlation[atom]);
        }
    }
}

// Of the worst violation: what is above joins. 0.6 of 0.4 to 0.7 was fastest on patches of 8 x 8 to 16 x 16: less
// brings atoms that leave again, more makes rounds.
constexpr Real worst_share = 0.6;

// Coordinate descent over a working set that grows by the worst violations of the optimality conditions; after the sweep
// the set's codes are solved for at once with their signs held, as feature-sign search does (Lee et al., "Efficient sparse
// coding algorithms", NIPS 2006), by the inverse of their Gram matrix. Correlations of all atoms are taken afresh each
// round, so no error builds up.
void coordinate_descent(LassoRow<Real>& row, LassoScratch<Real>& s) {
    const Real x_squared = dot(row.x, row.x, lasso_padded(row.features));
    ActiveSet active(row, s);
    const std::int64_t n = support_of(row, s, row.codes);
    for (std::int64_t k = 0; k < n && !active.full(); ++k) active.join(s.found[k], -s.minus[k], 0);
    active.refresh(infinity);
    Real before = infinity, share = worst_share;
    for (int idle = 0;;) {
        const Excess excess = excess_of(row, s.correlation);
        const Gap now = active.gap(x_squared, excess.ratio);
        row.converged = now.gap <= row.tol * now.objective;
        // Where rounding errors are all that is left, the objective no longer falls.
        idle = now.objective < before * (1 - 1e-15) ? 0 : idle + 1;
        if (row.converged || row.n_iter >= row.max_iter || idle > 10) break;
        // A rise is a step that rounding errors have spoilt, by atoms too alike: from now on they come one at a time.
        const bool spoilt = share == worst_share && now.objective > before * (1 + 1e-9);
        if (spoilt) share = Real(0.999);
        before = spoilt ? now.objective : std::min(before, now.objective);
        ++row.n_iter;
        admit(row, s, active, std::max(share * excess.violation, Real(0)));
        active.sweep();
        active.drop_zeros();
        active.extend_inverse();
        active.solve();
        active.refresh(Real(1e-9) * (excess.violation + x_squared));
    }
    active.write_codes(row);
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
LassoKernels<T> lasso_kernels() {
    return {proximal_gradient<false>, proximal_gradient<true>, coordinate_descent};
}
template LassoKernels<double> lasso_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
