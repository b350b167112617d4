#include <cmath>
#include <cstddef>
#include <utility>

#include "lasso_active_set.hpp"

namespace harmonium {
namespace {

// The codes in scratch.codes as atoms and values with their signs turned; how many.
std::int64_t support_of(const LassoRow<Real>& row, LassoScratch<Real>& s, const Real* codes, Real* minus) {
    std::int64_t n = 0;
    for (std::int64_t j = 0; j < row.atoms; ++j) {
        if (codes[j] == 0) continue;
        s.found[n] = static_cast<std::int32_t>(j);
        minus[n++] = -codes[j];
    }
    return n;
}

// Objective and gap of codes, from their correlations: |r|^2 = |x|^2 - h . (c + g).
Gap gap_at(const LassoRow<Real>& row, Real x_squared, const Real* codes, const Real* correlation) {
    Real with_start = 0, with_now = 0, penalty = 0;
    for (std::int64_t j = 0; j < row.atoms; ++j) {
        if (codes[j] == 0) continue;
        with_start += codes[j] * row.start_correlations[j];
        with_now += codes[j] * correlation[j];
        penalty += row.alpha[j] * std::abs(codes[j]);
    }
    return gap_of(std::max(x_squared - with_start - with_now, Real(0)), x_squared - with_start, penalty,
                  excess_of(row, correlation).ratio);
}

// h = shrink(y + g(y) / L, alpha / L), the proximal step from the point y.
void proximal_step(const LassoRow<Real>& row, const Real* point, const Real* correlation, Real* codes) {
    const Real step = 1 / row.lipschitz;
    for (std::int64_t j = 0; j < row.atoms; ++j) {
        const Real moved = detail::multiply_add(step, correlation[j], point[j]), penalty = step * row.alpha[j];
        codes[j] = row.positive ? shrink_positive(moved, penalty) : shrink(moved, penalty);
    }
}

// ISTA (Daubechies, Defrise, De Mol 2004), and FISTA (Beck and Teboulle 2009, section 4) with the momentum dropped where
// it leads uphill, by the gradient scheme of O'Donoghue and Candes 2015, section 3.2: rounding errors do not decide there,
// as they do where objectives are compared. A step costs codes that are not zero x atoms.
template <bool Momentum>
void proximal_gradient(LassoRow<Real>& row, LassoScratch<Real>& s) {
    const Real x_squared = dot(row.x, row.x, lasso_padded(row.features));
    const std::int64_t padded = lasso_padded(row.atoms);
    std::copy(row.codes, row.codes + row.atoms, s.codes);
    std::int64_t n = support_of(row, s, s.codes, s.point);
    correlations_of(row, s.found, s.point, n, s.residual, s.correlation);
    Gap now = gap_at(row, x_squared, s.codes, s.correlation);
    Real t = 1, momentum = 0;
    while (now.gap > row.tol * now.objective && row.n_iter < row.max_iter) {
        std::swap(s.codes, s.previous);
        std::swap(s.correlation, s.previous_correlation);
        if (momentum != 0) {
            // y = h + beta (h - h_before), whose correlations are the same combination; codes and correlation hold those before.
            for (std::int64_t j = 0; j < padded; ++j) {
                s.point[j] = s.previous[j] + momentum * (s.previous[j] - s.codes[j]);
                s.point_correlation[j] = s.previous_correlation[j] + momentum * (s.previous_correlation[j] - s.correlation[j]);
            }
            proximal_step(row, s.point, s.point_correlation, s.codes);
            Real uphill = 0;
            for (std::int64_t j = 0; j < row.atoms; ++j) uphill += (s.point[j] - s.codes[j]) * (s.codes[j] - s.previous[j]);
            if (uphill > 0) t = 1;
        } else {
            proximal_step(row, s.previous, s.previous_correlation, s.codes);
        }
        n = support_of(row, s, s.codes, s.point);
        correlations_of(row, s.found, s.point, n, s.residual, s.correlation);
        now = gap_at(row, x_squared, s.codes, s.correlation);
        ++row.n_iter;
        if (Momentum) {
            const Real t_next = (1 + std::sqrt(1 + 4 * t * t)) / 2;
            momentum = (t - 1) / t_next;
            t = t_next;
        }
    }
    row.converged = now.gap <= row.tol * now.objective;
    n = support_of(row, s, s.codes, s.point);
    finish(row, s, s.found, s.point, n);
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
    const std::int64_t n = support_of(row, s, row.codes, s.point);
    for (std::int64_t k = 0; k < n && !active.full(); ++k) active.join(s.found[k], -s.point[k], 0);
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
