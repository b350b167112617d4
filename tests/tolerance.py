"""What "equal" means, by class of error. Every comparison of numbers in the tests goes through one of these.

exact        the same values, or with `same_bits` the same bits
ulp          units in the last place of the result's type: elementary functions
sum          terms * eps * magnitude, where magnitude is the same sum over absolute values (Higham, "Accuracy and
             Stability of Numerical Algorithms", 2002, sections 3.1 and 4.2): products, and what is made of them
converged    times * tol, where tol is what an iterative solver stops at, in the quantity that it stops by: where gains
             fall off geometrically at the rate r, the last of them under tol, 1 / (1 - r) times tol are left
printed      one unit of the last decimal of a figure published or printed elsewhere
statistical  |z| < 5 with a fixed seed, never retried: chance alone fails one in 1.7 million
"""

from __future__ import annotations

import numpy as np

Z_LIMIT = 5.0


def exact(actual, expected):
    """The same shape, type and values."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, not {expected.shape}"
    assert actual.dtype == expected.dtype, f"type {actual.dtype}, not {expected.dtype}"
    wrong = np.argwhere(actual != expected)
    assert not len(wrong), (
        f"{len(wrong)} of {actual.size} differ, first at {tuple(wrong[0])}: {actual[tuple(wrong[0])]}, "
        f"not {expected[tuple(wrong[0])]}"
    )


def same_bits(actual, expected):
    """As `exact`, and -0 is not 0."""
    exact(actual, expected)
    assert np.asarray(actual).tobytes() == np.asarray(expected).tobytes(), "signs of zeros differ"


def ulp(actual, expected, limit):
    """Within `limit` units in the last place of actual's type; expected stands in a wider type."""
    assert actual.shape == expected.shape
    assert np.finfo(expected.dtype).eps < np.finfo(actual.dtype).eps, "the reference is too coarse"
    unit = np.spacing(np.abs(expected).astype(actual.dtype)).astype(expected.dtype)
    _within(actual, expected, limit * unit, f"{limit} ulp")


def near_sum(actual, expected, magnitude, terms, dtype=None):
    """Within terms * eps * magnitude, eps that of `dtype`, which did the sum; by default actual's.

    The reference's own error, terms * its eps * magnitude, is allowed for.
    """
    actual, expected, magnitude = np.asarray(actual), np.asarray(expected), np.asarray(magnitude)
    assert actual.shape == expected.shape == magnitude.shape, (actual.shape, expected.shape, magnitude.shape)
    eps = float(np.finfo(dtype or actual.dtype).eps) + float(np.finfo(expected.dtype).eps)
    _within(actual, expected, terms * eps * magnitude, f"{terms} eps of the magnitude")


def converged(actual, expected, tol, times):
    """Ends of iterations that stop at gains under tol, or their distance from what they converge to."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    _within(actual, expected, np.full(np.shape(actual - expected), tol * times), f"{times} times the tolerance {tol:g}")


def printed(actual, expected, decimals):
    """A figure printed elsewhere with so many decimals: off by no more than one of the last, which was rounded."""
    assert np.isfinite(np.asarray(actual)).all(), "a result is not finite"
    error = np.abs(np.asarray(actual) - np.asarray(expected)).max()
    assert error <= 10.0**-decimals, f"{actual} is off by {error:.3g} from {expected}, printed with {decimals} decimals"


def statistical(z):
    """Every z, in standard errors, is below 5."""
    z = np.asarray(z, dtype=np.float64)
    assert np.isfinite(z).all(), "z is not finite"
    assert (np.abs(z) < Z_LIMIT).all(), f"z = {z[np.abs(z).argmax()] if z.ndim else z} of {z.size}"


def chi_square(counts, probabilities):
    """z of Pearson's statistic of the counts of outcomes; outcomes expected under 10 times count as one."""
    counts, expected = np.asarray(counts, dtype=np.float64), np.asarray(probabilities) * np.sum(counts)
    assert counts.shape == expected.shape and abs(np.sum(probabilities) - 1) < 1e-9
    assert not counts[expected == 0].any(), "an impossible outcome came up"
    rare = expected < 10
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    counts, expected = counts[expected > 0], expected[expected > 0]
    assert len(counts) > 1, "one outcome only: nothing is tested"
    freedom = len(counts) - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)


def _within(actual, expected, bound, what):
    assert np.isfinite(np.asarray(actual)).all(), "a result is not finite"
    error = np.abs(actual - expected)
    wrong = int((~(error <= bound)).sum())
    if wrong:
        worst = np.unravel_index(np.argmax(error - bound), np.shape(error))
        raise AssertionError(
            f"{wrong} of {np.size(actual)} are off by more than {what}; the worst at {tuple(map(int, worst))}: "
            f"{actual[worst]!r}, not {expected[worst]!r}: error {error[worst]:.3g}, bound {bound[worst]:.3g}"
        )
