// The atoms at work on one row, with their Gram matrix G and its inverse: the state of the solver in lasso_cpu.cpp.
// Included by *_cpu.cpp only.
#pragma once

#include <cmath>

#include "lasso_row.hpp"

namespace harmonium {
namespace {

// Slots [0, solved) are in the inverse, [solved, size) have come since. Gradients are of the slots' atoms: d_k . r.
class ActiveSet {
public:
    ActiveSet(const LassoRow<Real>& row, LassoScratch<Real>& scratch) : row_(row), s_(scratch) {
        std::fill(s_.slot_of, s_.slot_of + row.atoms, -1);
    }
    ActiveSet(const ActiveSet&) = delete;
    ActiveSet& operator=(const ActiveSet&) = delete;

    std::int64_t size() const { return size_; }
    bool full() const { return size_ == s_.capacity; }
    bool has(std::int64_t atom) const { return s_.slot_of[atom] >= 0; }

    // An atom joins with a code and its gradient; atoms of zeros stay out.
    void join(std::int64_t atom, Real value, Real gradient) {
        const std::int64_t slot = size_;
        s_.atom_of[slot] = static_cast<std::int32_t>(atom);
        Real* local = local_row(slot);
        if (row_.gram) {
            const Real* gram = row_.gram + atom * row_.gram_stride;
            for (std::int64_t k = 0; k <= slot; ++k) local[k] = gram[s_.atom_of[k]];
        } else {
            const std::int64_t padded = lasso_padded(row_.features);
            const Real* own = row_.dictionary + atom * row_.dictionary_stride;
            if (row_.observed) {
                Real* masked = s_.masked + slot * padded;
                for (std::int64_t i = 0; i < padded; ++i) masked[i] = own[i] * row_.observed[i];
                own = masked;
            }
            for (std::int64_t k = 0; k <= slot; ++k) local[k] = dot(row_.dictionary + s_.atom_of[k] * row_.dictionary_stride, own, padded);
        }
        if (!(local[slot] > 0)) return;
        for (std::int64_t k = 0; k < slot; ++k) local_row(k)[slot] = local[k];
        s_.slot_of[atom] = static_cast<std::int32_t>(slot);
        s_.value[slot] = value;
        s_.gradient[slot] = gradient;
        s_.penalty[slot] = row_.alpha[atom];
        ++size_;
    }

    // One pass of coordinate descent over those that have come: the others' codes are at their best without them.
    void sweep() {
        const std::int64_t padded = lasso_padded(size_);
        for (std::int64_t k = solved_; k < size_; ++k) {
            const Real* local = local_row(k);
            const Real old = s_.value[k], next = best(s_.gradient[k] + local[k] * old, s_.penalty[k]) / local[k];
            if (next == old) continue;
            s_.value[k] = next;
            add_multiple(old - next, local, padded, s_.gradient);
        }
    }

    // Codes that are zero leave.
    void drop_zeros() {
        for (std::int64_t k = size_ - 1; k >= 0; --k) {
            if (s_.value[k] == 0) leave(k);
        }
    }

    // Brings slots that have come since into the inverse. Where an atom is a combination of those there, codes move along
    // it, the way the objective falls, until one of them is zero: what is left is independent.
    void extend_inverse() {
        while (solved_ < size_) {
            const std::int64_t k = solved_;
            const Real* local = local_row(k);
            sum_of_rows(static_cast<const Real*>(nullptr), local, k, [&](std::int64_t i) { return inverse_row(i); },
                        lasso_padded(k), s_.weight);
            Real rest = local[k] - dot(local, s_.weight, k / 8 * 8);  // past k, rows hold anything
            for (std::int64_t i = k / 8 * 8; i < k; ++i) rest -= local[i] * s_.weight[i];
            // What w . G w loses of its digits grows with the sizes of the terms that cancel in g_k - G w.
            Real size = std::sqrt(local[k]);
            for (std::int64_t i = 0; i < k; ++i) size += std::fabs(s_.weight[i]) * std::sqrt(local_row(i)[i]);
            if (rest > Real(4e-13) * size * size) {
                border(k, rest);
                ++solved_;
            } else {
                leave(move_along(k));
            }
        }
    }

    // Minimises over the codes at work, their signs held: all of the way, or until some code is zero; it then leaves, and
    // again. The objective falls with each step.
    void solve() {
        while (size_ > 0) {
            for (std::int64_t k = 0; k < size_; ++k) s_.slope[k] = s_.gradient[k] - (s_.value[k] > 0 ? s_.penalty[k] : -s_.penalty[k]);
            sum_of_rows(static_cast<const Real*>(nullptr), s_.slope, size_, [&](std::int64_t i) { return inverse_row(i); },
                        lasso_padded(size_), s_.step);
            Real part = 1;
            std::int64_t first = -1;
            for (std::int64_t k = 0; k < size_; ++k) {
                if ((s_.value[k] > 0) == (s_.value[k] + s_.step[k] > 0) && s_.value[k] + s_.step[k] != 0) continue;
                const Real until = -s_.value[k] / s_.step[k];
                if (first < 0 || until < part) part = until, first = k;
            }
            for (std::int64_t k = 0; k < size_; ++k) {
                s_.value[k] += part * s_.step[k];
                s_.gradient[k] -= part * s_.slope[k];
            }
            if (first < 0) return;
            s_.value[first] = 0;
            leave(first);
        }
    }

    // Correlations of all atoms at the codes at work. Where those of the slots are off by more than `error` from what the
    // inverse led to, it has lost its digits, and extend_inverse makes it anew.
    void refresh(Real error) {
        for (std::int64_t k = 0; k < size_; ++k) s_.step[k] = -s_.value[k];
        correlations_of(row_, s_.atom_of, s_.step, size_, s_.residual, s_.correlation);
        for (std::int64_t k = 0; k < size_; ++k) {
            const Real now = s_.correlation[s_.atom_of[k]];
            if (std::fabs(now - s_.gradient[k]) > error) solved_ = 0;
            s_.gradient[k] = now;
        }
    }

    Gap gap(Real x_squared, Real ratio) const {
        Real with_start = 0, with_now = 0, penalty = 0;
        for (std::int64_t k = 0; k < size_; ++k) {
            with_start += s_.value[k] * row_.start_correlations[s_.atom_of[k]];
            with_now += s_.value[k] * s_.gradient[k];
            penalty += s_.penalty[k] * std::fabs(s_.value[k]);
        }
        return gap_of(std::max(x_squared - with_start - with_now, Real(0)), x_squared - with_start, penalty, ratio);
    }

    void write_codes(LassoRow<Real>& row) {
        for (std::int64_t k = 0; k < size_; ++k) s_.step[k] = -s_.value[k];
        finish(row, s_, s_.atom_of, s_.step, size_);
    }

private:
    Real* local_row(std::int64_t slot) const { return s_.local_gram + slot * s_.capacity_stride; }
    Real* inverse_row(std::int64_t slot) const { return s_.inverse + slot * s_.capacity_stride; }
    Real best(Real x, Real penalty) const { return row_.positive ? shrink_positive(x, penalty) : shrink(x, penalty); }

    // The inverse of G bordered by slot k: weight = G^-1 g_k, rest = G_kk - g_k . weight (Schur's complement).
    void border(std::int64_t k, Real rest) {
        Real* last = inverse_row(k);
        const std::int64_t padded = lasso_padded(k + 1);
        std::fill(s_.weight + k, s_.weight + padded, Real(0));
        s_.weight[k] = -1;
        for (std::int64_t i = 0; i < k; ++i) {
            if (k % 8 == 0) std::fill(inverse_row(i) + k, inverse_row(i) + padded, Real(0));
            add_multiple(s_.weight[i] / rest, s_.weight, padded, inverse_row(i));
        }
        for (std::int64_t i = 0; i < padded; i += Lanes::lanes) {
            Lanes::store(last + i, Lanes::load(s_.weight + i) * broadcast(-1 / rest));
        }
    }

    // Slot k leaves: its codes are zero. The last slot of its kind takes its place.
    void leave(std::int64_t k) {
        s_.slot_of[s_.atom_of[k]] = -1;
        if (k < solved_) {
            const std::int64_t last = solved_ - 1, padded = lasso_padded(solved_);
            std::copy(inverse_row(k), inverse_row(k) + padded, s_.weight);
            const Real own = s_.weight[k];
            for (std::int64_t i = 0; i <= last; ++i) add_multiple(-s_.weight[i] / own, s_.weight, padded, inverse_row(i));
            if (k != last) {
                std::copy(inverse_row(last), inverse_row(last) + padded, inverse_row(k));
                for (std::int64_t i = 0; i <= last; ++i) inverse_row(i)[k] = inverse_row(i)[last];
            }
            for (std::int64_t i = 0; i <= last; ++i) inverse_row(i)[last] = 0;
            --solved_;
            replace(k, last);
            k = last;
        }
        replace(k, size_ - 1);
        --size_;
        for (std::int64_t i = 0; i < size_; ++i) local_row(i)[size_] = 0;
    }

    // Slot `from` goes to slot `to`, but for the inverse.
    void replace(std::int64_t to, std::int64_t from) {
        if (to == from) return;
        s_.atom_of[to] = s_.atom_of[from];
        s_.slot_of[s_.atom_of[to]] = static_cast<std::int32_t>(to);
        s_.value[to] = s_.value[from];
        s_.gradient[to] = s_.gradient[from];
        s_.penalty[to] = s_.penalty[from];
        std::copy(local_row(from), local_row(from) + lasso_padded(size_), local_row(to));
        for (std::int64_t i = 0; i < size_; ++i) local_row(i)[to] = local_row(i)[from];
    }

    // Slot k is sum_i weight_i of the slots before it. The slot whose code is zero after the move.
    std::int64_t move_along(std::int64_t k) {
        // The gradients tell nearly dependent atoms apart; they cancel where dependence is exact.
        const auto rise_of = [&](std::int64_t i) { return (s_.value[i] > 0 ? s_.penalty[i] : -s_.penalty[i]) - s_.gradient[i]; };
        Real rise = rise_of(k);
        for (std::int64_t i = 0; i < k; ++i) rise -= s_.weight[i] * rise_of(i);
        // k goes by +t or -t, those before it by the opposite times their weights.
        Real way = rise > 0 || (rise == 0 && s_.value[k] > 0) ? -1 : 1;
        Real least = way * s_.value[k] < 0 ? std::fabs(s_.value[k]) : infinity;
        std::int64_t first = k;
        for (std::int64_t i = 0; i < k; ++i) {
            const Real move = -way * s_.weight[i];
            if (move * s_.value[i] >= 0) continue;
            const Real until = -s_.value[i] / move;
            if (until < least) least = until, first = i;
        }
        if (least == infinity) way = s_.value[k] > 0 ? -1 : 1, least = std::fabs(s_.value[k]);  // a rise of rounding errors
        const std::int64_t padded = lasso_padded(size_);
        for (std::int64_t i = 0; i <= k; ++i) {
            const Real move = i == k ? way * least : -way * least * s_.weight[i];
            s_.value[i] += move;
            add_multiple(-move, local_row(i), padded, s_.gradient);
        }
        s_.value[first] = 0;
        return first;
    }

    const LassoRow<Real>& row_;
    LassoScratch<Real>& s_;
    std::int64_t size_ = 0, solved_ = 0;
};

}  // namespace
}  // namespace harmonium
