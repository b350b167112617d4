"""Lasso codes: against plain coordinate descent, with gaps that are true bounds, on easy and on nasty problems."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

import reference
import tolerance
from harmonium import _core, sparse_encode

DTYPES = [np.float32, np.float64]
ALGORITHMS = ["cd", "ista", "fista"]
TOL = 1e-6


def unit_rows(D):
    norms = np.linalg.norm(D, axis=1, keepdims=True)
    return D / np.where(norms > 0, norms, 1)


def problem(n, K, d, seed=0, share=0.2):
    """x, a dictionary of unit rows and alpha, that share of the smallest that makes all codes zero."""
    rng = np.random.default_rng(seed)
    x, D = rng.standard_normal((n, d)), unit_rows(rng.standard_normal((K, d)))
    return x, D, share * np.abs(x @ D.T).max()


def assert_certified(x, D, alpha, codes, gaps, *, tol=TOL, positive=False, observed=None, best=None):
    """Finite codes of a gap that is a bound, and small; the objective is that near the least."""
    x, D, h = (np.asarray(a, np.float64) for a in (x, D, codes))
    alpha = np.broadcast_to(alpha, h.shape)
    assert codes.shape == (len(x), len(D)) and gaps.shape == (len(x),) and gaps.dtype == np.float64
    assert np.isfinite(codes).all() and np.isfinite(gaps).all() and (gaps >= 0).all()
    assert not (np.signbit(codes) & (codes == 0)).any(), "-0"
    assert not positive or (codes >= 0).all()
    primal, gap = reference.lasso_gap(x, D, alpha, h, positive, observed)
    # The sums behind a gap round to eps of |x|^2; the issue allows 1e-6 at |x| of about 1.
    x_there = x if observed is None else np.where(observed, x, 0)
    rounding = 1e-9 * (x_there**2).sum(axis=1)
    assert (gap <= gaps + rounding).all(), (gap - gaps).max()
    # float32 codes are rounded after they are found.
    allowed = tol * primal + (1e-5 * primal if codes.dtype == np.float32 else 0)
    assert (gaps <= allowed + 1e-12 * (x_there**2).sum(axis=1)).all(), (gaps - allowed).max()
    if best is None:
        best = reference.lasso(x, D, alpha, positive, observed, tol=1e-12)
    least, left = reference.lasso_gap(x, D, alpha, best, positive, observed)
    assert (primal <= least + gaps + rounding).all()
    assert (primal >= least - left - rounding).all()


def penalties(alpha, n, K):
    """alpha in every form: a number, by atom (one of them infinite), by row, by code."""
    rng = np.random.default_rng(1)
    by_atom = alpha * rng.uniform(0.5, 2, K)
    by_atom[K // 2] = np.inf
    by_row, full = alpha * rng.uniform(0.5, 2, (n, 1)), alpha * rng.uniform(0.5, 2, (n, K))
    return {"number": alpha, "by atom": by_atom, "by row": by_row, "by code": full}


@pytest.mark.parametrize("form", ["number", "by atom", "by row", "by code"])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_codes_are_the_reference_s(form, positive, masked):
    n, K, d = 13, 21, 11
    x, D, alpha = problem(n, K, d)
    alpha = penalties(alpha, n, K)[form]
    rng = np.random.default_rng(2)
    observed = rng.random((n, d)) < 0.7 if masked else None
    best = reference.lasso(x, D, alpha, positive, observed, tol=1e-12)
    start = np.abs(rng.standard_normal((n, K))) * (rng.random((n, K)) < 0.3)
    if masked:
        x = np.where(observed, x, np.nan)  # what is not observed does not count, whatever it is
    for dtype in DTYPES:
        for algorithm in ALGORITHMS:
            for init in (None, start):
                options = {"alpha": alpha, "algorithm": algorithm, "positive": positive, "mask": observed, "init": init}
                codes, gaps = sparse_encode(x.astype(dtype), D.astype(dtype), return_gap=True, **options)
                assert codes.dtype == dtype
                seen, atoms = (np.nan_to_num(a.astype(dtype)) for a in (x, D))
                near = best if dtype == np.float64 else None
                assert_certified(seen, atoms, alpha, codes, gaps, positive=positive, observed=observed, best=near)
                assert 0 < np.count_nonzero(codes) < codes.size
    # The solution is unique here: at a gap of 1e-10 codes agree to its root times what the atoms' angles make of it.
    exact = sparse_encode(np.nan_to_num(x), D, alpha=alpha, tol=1e-12, positive=positive, mask=observed)
    tolerance.converged(exact, best, 1e-6, 10)


def nasty():
    rng = np.random.default_rng(3)
    x, D, alpha = problem(9, 24, 10)
    yield "more atoms than features", x, D, alpha
    yield "fewer", x, D[:5], alpha
    yield "one atom", x, D[:1], alpha
    yield "one feature", x[:, :1], D[:, :1], alpha
    yield "one row", x[:1], D, alpha
    yield "seven rows", x[:7], D, alpha
    yield "atoms of zeros", x, D * (np.arange(24) % 3 > 0)[:, None], alpha
    yield "zeros only", x, np.zeros((4, 10)), alpha
    yield "duplicate atoms", x, np.vstack([D[:8], D[:8], -D[:8]]), alpha
    for near in (1e-3, 1e-5, 1e-6, 1e-7, 1e-9):
        moved = D[:12] + near * rng.standard_normal((12, 10))
        yield f"atoms {near} apart", x, np.vstack([D[:12], moved]), 0.1 * alpha
    yield "of rank two", x, rng.standard_normal((24, 2)) @ rng.standard_normal((2, 10)), alpha
    yield "of small integers", np.round(2 * x), np.round(2 * D), 1.0
    yield (
        "rows of zeros and constants",
        x * (np.arange(9) % 3 > 0)[:, None] + (np.arange(9) % 4 == 0)[:, None],
        D,
        alpha,
    )
    yield "small data", 1e-6 * x, D, 1e-6 * alpha
    yield "large data", 1e6 * x, D, 1e6 * alpha
    yield "small atoms", x, 1e-6 * D, 1e-6 * alpha
    yield "large atoms", x, 1e6 * D, 1e6 * alpha
    yield "atoms of all sizes", x, D * 10.0 ** rng.uniform(-6, 6, (24, 1)), alpha
    yield "hardly any penalty", x, D, 1e-4 * alpha
    yield "more atoms than rows", x[:2], D, alpha


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("case", list(nasty()), ids=lambda case: case[0])
def test_nasty_problems(case, positive):
    _, x, D, alpha = case
    masks = [None, np.ones(x.shape, bool)]  # with the Gram matrix, and from residuals
    for mask in masks:
        codes, gaps = sparse_encode(x, D, alpha=alpha, positive=positive, mask=mask, return_gap=True)
        # Plain coordinate descent may be far from done here: the certificate alone is held to the tolerance.
        best = reference.lasso(x, D, alpha, positive, max_sweeps=300)
        assert_certified(x, D, alpha, codes, gaps, positive=positive, best=best)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_from_alpha_max_on_codes_are_zero_at_once(algorithm):
    x, D, _ = problem(6, 9, 7)
    largest = np.abs(x @ D.T).max(axis=1, keepdims=True)
    for alpha in (largest * (1 + 1e-12), 10 * largest, np.full((6, 1), np.inf)):
        codes, gaps = sparse_encode(x, D, alpha=alpha, algorithm=algorithm, max_iter=0, return_gap=True)
        tolerance.same_bits(codes, np.zeros((6, 9)))
        tolerance.near_sum(gaps, np.zeros(6), (x**2).sum(axis=1), 100)
    assert sparse_encode(x, D, alpha=0.99 * largest, algorithm=algorithm).any(axis=1).all()


@pytest.mark.parametrize("K", [4, 10, 24])
def test_without_a_penalty_codes_are_least_squares(K):
    x, D, alpha = problem(9, K, 10)
    codes, gaps = sparse_encode(x, D, alpha=0.0, return_gap=True)
    least = np.linalg.norm(x - np.linalg.lstsq(D.T, x.T, rcond=None)[0].T @ D, axis=1) ** 2
    residual = np.linalg.norm(x - codes @ D, axis=1) ** 2
    tolerance.near_sum(residual, least, (x**2).sum(axis=1), 1000)
    tolerance.near_sum(gaps, np.zeros(9), (x**2).sum(axis=1), 1000)
    # Some atoms free, some rows free of all, with entries missing or not.
    some = np.where(np.arange(K) % 3 == 0, 0.0, alpha)
    by_row = np.where(np.arange(9)[:, None] % 2 == 0, 0.0, some)
    observed = np.random.default_rng(0).random(x.shape) < 0.8
    for penalty, mask in ((some, None), (by_row, None), (by_row, observed)):
        codes, gaps = sparse_encode(x, D, alpha=penalty, mask=mask, return_gap=True)
        # The reference's gap needs a penalty: this one is below what rounding errors of the objective resolve.
        best = reference.lasso(x, D, np.maximum(penalty, 1e-14), observed=mask, max_sweeps=500)
        primal, least = (reference.lasso_objective(x, D, penalty, h, mask) for h in (codes, best))
        assert (gaps >= 0).all() and (gaps <= 1e-5 * (x**2).sum(axis=1)).all()
        assert (primal <= least + gaps + 1e-12).all()


def test_without_a_penalty_positive_codes_are_of_least_squares_too():
    x, D, _ = problem(9, 6, 10)
    codes, gaps = sparse_encode(x, D, alpha=0.0, positive=True, return_gap=True)
    best = reference.lasso(x, D, 1e-14, True, max_sweeps=1000)
    primal, least = (reference.lasso_objective(x, D, 0.0, h) for h in (codes, best))
    tolerance.converged(primal, least, TOL, 10)
    assert (gaps >= primal - least).all()


def test_many_atoms_and_few_rows_need_no_gram_matrix():
    """D D^T is left out where it does not pay: beyond 4096 atoms, and for few rows."""
    x, D, alpha = problem(40, 4200, 9, share=0.4)
    many, gaps = sparse_encode(x, D, alpha=alpha, return_gap=True)
    best = sparse_encode(x, D[:4000], alpha=alpha, tol=1e-12)
    assert_certified(x, D, alpha, many, gaps, best=np.pad(best, ((0, 0), (0, 200))))
    x, D, alpha = problem(60, 100, 20)
    with_gram = sparse_encode(x, D, alpha=alpha, tol=1e-12)
    alone = np.vstack([sparse_encode(x[i : i + 1], D, alpha=alpha, tol=1e-12) for i in range(60)])
    tolerance.converged(alone, with_gram, 1e-6, 10)
    masked = sparse_encode(x, D, alpha=alpha, tol=1e-12, mask=np.ones(x.shape, bool))
    tolerance.converged(masked, with_gram, 1e-6, 10)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_starting_at_the_solution_needs_no_step(algorithm):
    x, D, alpha = problem(20, 30, 12)
    codes = sparse_encode(x, D, alpha=alpha, tol=1e-9)
    again, gaps = sparse_encode(
        x, D, alpha=alpha, tol=1e-8, algorithm=algorithm, init=codes, max_iter=0, return_gap=True
    )
    tolerance.same_bits(again, codes)
    assert_certified(x, D, alpha, again, gaps, tol=1e-8, best=codes)


@pytest.mark.parametrize("algorithm", ["ista", "fista"])
def test_steps_forget_codes_on_atoms_of_zeros(algorithm):
    x, _, _ = problem(3, 4, 5)
    codes = sparse_encode(x, np.zeros((4, 5)), alpha=0.5, algorithm=algorithm, init=np.ones((3, 4)))
    tolerance.same_bits(codes, np.zeros((3, 4)))


@pytest.mark.parametrize("algorithm", ["ista", "fista"])
def test_rates(algorithm):
    """F(x_k) - F* <= L d0^2 / (2 k); 2 L d0^2 / (k + 1)^2 with momentum: Beck and Teboulle 2009, thms 3.1, 4.4."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        n, K, d = 4, int(rng.integers(3, 30)), int(rng.integers(2, 20))
        x, D, alpha = problem(n, K, d, seed, share=10 ** rng.uniform(-2, -0.3))
        start = rng.standard_normal((n, K)) if seed % 2 else np.zeros((n, K))
        best = sparse_encode(x, D, alpha=alpha, tol=1e-13)
        least, left = reference.lasso_gap(x, D, alpha, best)
        constant = _core.lipschitz_bound(D) * ((start - best) ** 2).sum(axis=1)
        for k in range(1, 101):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # stopped on purpose
                h = sparse_encode(x, D, alpha=alpha, tol=0.0, max_iter=k, algorithm=algorithm, init=start)
            bound = constant / (2 * k) if algorithm == "ista" else 2 * constant / (k + 1) ** 2
            above = reference.lasso_objective(x, D, alpha, h) - least
            assert (above <= bound + np.maximum(left, 0) + 1e-12 * (x**2).sum(axis=1)).all(), (seed, k, above / bound)


@pytest.mark.parametrize("algorithm", ["ista", "fista"])
def test_steps_are_the_papers(algorithm):
    x, D, alpha = problem(10, 40, 12, share=0.02)
    L = _core.lipschitz_bound(D)
    for k in (0, 1, 2, 3, 10, 100):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopped on purpose
            h = sparse_encode(x, D, alpha=alpha, tol=0.0, max_iter=k, algorithm=algorithm)
        expected, dropped = reference.proximal_steps(x, D, alpha, L, k, momentum=algorithm == "fista")
        # A step adds sums over 40 atoms and 12 features; gradient steps do not stretch what is there, momentum at most
        # threefold.
        tolerance.near_sum(h, expected, 1 + np.abs(expected), 3 * 52 * (k + 1))
    assert dropped.any() == (algorithm == "fista")


def test_objectives_of_ista_never_rise():
    x, D, alpha = problem(10, 40, 12, share=0.02)
    before = np.full(10, np.inf)
    for k in range(60):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            h = sparse_encode(x, D, alpha=alpha, tol=0.0, max_iter=k, algorithm="ista")
        now = reference.lasso_objective(x, D, alpha, h)
        assert (now <= before + 1e-14 * (x**2).sum(axis=1)).all()
        before = now


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("K", "d"), [(1, 1), (7, 3), (30, 30), (9, 70), (150, 16)])
def test_lipschitz_bound(K, d, dtype):
    rng = np.random.default_rng(K)
    for D in (rng.standard_normal((K, d)), unit_rows(rng.standard_normal((K, d))), 1e6 * np.ones((K, d))):
        D = D.astype(dtype)
        largest = np.linalg.norm(D.astype(np.float64), 2) ** 2
        bound = _core.lipschitz_bound(D)
        assert largest * (1 - 1e-12) <= bound <= 1.03 * largest
    orthogonal = np.linalg.qr(rng.standard_normal((d, min(K, d))))[0].T.astype(
        dtype
    )  # all eigenvalues alike: the worst
    assert 1 - 1e-6 <= _core.lipschitz_bound(np.ascontiguousarray(orthogonal)) <= 1.03
    assert _core.lipschitz_bound(np.zeros((K, d), dtype)) == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_threads_change_no_bit(algorithm, set_threads):
    x, D, alpha = problem(300, 50, 20)
    observed = np.random.default_rng(0).random(x.shape) < 0.8
    for options in ({}, {"mask": observed}, {"positive": True}):
        results = []
        for threads in (1, 2, 3):
            set_threads(threads)
            results.append(sparse_encode(x, D, alpha=alpha, algorithm=algorithm, return_gap=True, tol=1e-4, **options))
        set_threads(0)
        results.append(
            sparse_encode(x, D, alpha=alpha, algorithm=algorithm, return_gap=True, tol=1e-4, n_jobs=2, **options)
        )
        for codes, gaps in results[1:]:
            tolerance.same_bits(codes, results[0][0])
            tolerance.same_bits(gaps, results[0][1])


def test_sparse_rows_are_those_made_dense():
    x, D, alpha = problem(70, 30, 20)
    x[np.abs(x) < 0.8] = 0
    tolerance.same_bits(sparse_encode(sp.csr_matrix(x), D, alpha=alpha), sparse_encode(x, D, alpha=alpha))


def test_a_set_of_atoms_that_only_just_depend_on_each_other():
    """A row whose working set once passed for independent by rounding errors: its codes went to and fro for ever."""
    rng = np.random.default_rng(5)
    D, x = unit_rows(rng.uniform(-1, 1, (40, 9))), rng.uniform(-1, 1, (20_000, 9))[19_255:19_256]
    codes, gaps = sparse_encode(np.repeat(x, 20, axis=0), D, alpha=0.03, return_gap=True)
    assert_certified(np.repeat(x, 20, axis=0), D, 0.03, codes, gaps)


def test_many_rows_all_reach_the_tolerance():
    for seed, (K, d) in enumerate([(16, 8), (40, 9), (30, 20), (64, 16)]):
        rng = np.random.default_rng(seed)
        D, x = unit_rows(rng.uniform(-1, 1, (K, d))), rng.uniform(-1, 1, (3000, d))
        for positive in (False, True):
            codes, gaps = sparse_encode(x, D, alpha=0.03, positive=positive, return_gap=True)  # a warning is an error
            primal, gap = reference.lasso_gap(x, D, 0.03, codes, positive)
            assert (gaps <= TOL * primal).all() and (gap <= gaps + 1e-12).all()
