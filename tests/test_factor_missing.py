"""EM with missing values: exact, monotone, and worth more than filling in means."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning

import factor_reference as reference
import tolerance
from harmonium import PPCA, FactorAnalysis
from harmonium._missing_em import Observed, missing_em

quiet_heywood = pytest.mark.filterwarnings("ignore:.*(Heywood case|are constant):UserWarning")


def problem(seed, *, share=0.3, equal_noise=False):
    """Rows with a random share of entries removed, none of them whole columns."""
    rng = np.random.default_rng(seed)
    p = int(rng.integers(3, 9))
    k = int(rng.integers(1, max(2, p // 2)))
    X = reference.draw_rows(reference.draw_model(p, k, seed, equal_noise=equal_noise), int(rng.integers(20, 60)), seed)
    X[rng.random(X.shape) < share] = np.nan
    X[:2] = np.where(np.isnan(X[:2]), 0.5, X[:2])
    return X, k


@quiet_heywood
@pytest.mark.filterwarnings("ignore:.*not converged:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", [PPCA, FactorAnalysis])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_log_likelihood_never_falls(model, share):
    """100 random problems; exactly, without allowance for rounding."""
    for seed in range(100):
        X, k = problem(seed, share=share, equal_noise=model is PPCA)
        options = {"method": "em", "random_state": seed} if model is PPCA else {}
        fit = model(k, max_iter=30, tol=1e-8, **options).fit(X)
        values = fit.history_["log_likelihood"]
        assert (np.diff(values) >= 0).all(), f"problem {seed}: {values}"


@pytest.mark.parametrize("equal_noise", [True, False])
def test_a_step_is_an_em_step(equal_noise):
    """The first pair of steps against EM row by row; extrapolation switched off by looking at the images only."""
    from harmonium import _missing_em

    X, k = problem(3)
    p = X.shape[1]
    data = Observed(X, "X")
    W, psi = data.start(k)
    if equal_noise:
        psi = np.full(p, psi.mean())
    seen = []

    def one_step(start, evaluate, project, slack):
        value, image = evaluate(start)
        seen.append(value)
        yield image, value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_missing_em, "accelerated", one_step)
        (state,) = missing_em(data, k, W, psi, np.full(p, 1e-9), equal_noise)
    expected = reference.em_step(X, W, data.mean, psi, equal_noise=equal_noise)
    size = np.nansum(X**2) * 100
    for actual, wanted in zip((state.weights, state.mean, state.noise), expected, strict=True):
        tolerance.near_sum(actual, wanted, np.full(wanted.shape, size), X.size)
    total = reference.log_density(X, W, data.mean, psi).sum()
    tolerance.near_sum(np.float64(seen[0]), total, np.float64(abs(total) + size), X.size)


@quiet_heywood
@pytest.mark.parametrize("model", [PPCA, FactorAnalysis])
def test_the_end_is_a_fixed_point_of_em(model):
    X, k = problem(8, equal_noise=model is PPCA)
    fit = model(k, tol=1e-10, max_iter=5000).fit(X)
    psi = np.broadcast_to(fit.noise_variance_, fit.mean_.shape)
    at = reference.log_density(X, fit.components_.T, fit.mean_, psi).sum()
    after = reference.em_step(X, fit.components_.T, fit.mean_, psi, equal_noise=model is PPCA)
    # An accelerated iteration, which is at least two such steps, gained less than 1e-10.
    tolerance.converged(reference.log_density(X, *after).sum(), at, fit.tol, 100)
    tolerance.converged(fit.history_["log_likelihood"][-1] * len(X), at, fit.tol, 100)


@pytest.mark.parametrize("model", [PPCA, FactorAnalysis])
def test_one_missing_entry_hardly_matters(model):
    """Continuity: the solvers for complete and for missing data end at the same place."""
    X = reference.draw_rows(reference.draw_model(6, 2, 0, equal_noise=model is PPCA), 2000, 0)
    whole = model(2, tol=1e-6).fit(X)
    X[0, 0] = np.nan
    hole = model(2, tol=1e-6).fit(X)
    C = whole.get_covariance()
    # One entry of 2000 moves an estimate by some 1 / 2000th: by sqrt(1 / 2000) of its standard error.
    deviation = np.sqrt((C**2 + np.outer(np.diag(C), np.diag(C))) / 2000)
    tolerance.statistical((hole.get_covariance() - C) / (deviation / np.sqrt(2000)))


@pytest.mark.parametrize("model", [PPCA, FactorAnalysis])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_model_is_found_through_the_holes(model, dtype):
    W, b, psi = parameters = reference.draw_model(8, 2, 1, equal_noise=model is PPCA)
    n = 5000
    X = reference.draw_rows(parameters, n, 0).astype(dtype)
    X[np.random.default_rng(1).random(X.shape) < 0.3] = np.nan
    fit = model(2).fit(X)
    assert fit.components_.dtype == dtype
    C = W @ W.T + np.diag(psi)
    # A pair of columns is seen together in 0.49 of the rows; the model only uses more than that.
    tolerance.statistical((fit.get_covariance() - C) / np.sqrt((C**2 + np.outer(np.diag(C), np.diag(C))) / (0.49 * n)))
    tolerance.statistical((fit.mean_ - b) / np.sqrt(np.diag(C) / (0.7 * n)))


@quiet_heywood
@pytest.mark.parametrize("model", [PPCA, FactorAnalysis])
def test_how_rows_are_split_and_ordered_does_not_matter(model, monkeypatch):
    from harmonium import _missing_em

    X, k = problem(5)
    whole = model(k, max_iter=500).fit(X)
    order = np.random.default_rng(0).permutation(len(X))
    monkeypatch.setattr(_missing_em, "NUMBERS_AT_A_TIME", 7 * X.shape[1])
    monkeypatch.setattr(_missing_em, "_NUMBERS_KEPT", 0)
    parts = model(k, max_iter=500).fit(X[order])
    # Rounding moves where an iteration ends, within tol of the maximum.
    tolerance.converged(parts.score(X) * len(X), whole.score(X) * len(X), whole.tol, 10)


def test_patterns_are_grouped():
    from harmonium._posterior import find_patterns

    mask = np.array([[1, 0, 1], [1, 1, 1], [1, 0, 1], [0, 0, 0]], dtype=bool)
    found = find_patterns(mask)
    assert len(found.observed) == 3
    tolerance.exact(found.observed[found.index], mask)


REAL = {"digits": 10, "wine": 3, "breast cancer": 6}


@quiet_heywood
@pytest.mark.parametrize("name", REAL)
def test_removed_entries_are_more_likely_than_after_mean_imputation(name):
    """30 % of the entries removed at random; their log-likelihood given the rest, against PPCA on data with means in
    place of the missing."""
    loader = {"digits": load_digits, "wine": load_wine, "breast cancer": load_breast_cancer}[name]
    X = loader().data
    X = X[:, X.std(axis=0) > 0]
    X = (X - X.mean(axis=0)) / (1 if name == "digits" else X.std(axis=0))
    rng = np.random.default_rng(0)
    if name == "digits":
        X = X[rng.permutation(len(X))[:600]]
        X = X[:, X.std(axis=0) > 0]
    holes = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    k = REAL[name]
    filled = np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes)
    models = {"mean": PPCA(k).fit(filled), "ppca": PPCA(k, tol=0.1).fit(holes)}
    removed = {m: (fit.score_samples(X) - fit.score_samples(holes)).sum() for m, fit in models.items()}
    assert removed["ppca"] > removed["mean"]


def test_no_convergence_is_said():
    X, k = problem(1)
    with pytest.warns(ConvergenceWarning, match=r"PPCA.fit: not converged after max_iter=2 iterations"):
        assert PPCA(k, max_iter=2, tol=0).fit(X).n_iter_ == 2


@quiet_heywood
def test_rows_without_any_value_say_nothing():
    X, k = problem(4)
    with_empty = np.vstack([X, np.full((5, X.shape[1]), np.nan)])
    one, other = (FactorAnalysis(k, tol=1e-8, max_iter=3000).fit(data) for data in (X, with_empty))
    tolerance.converged(one.score(X) * len(X), other.score(X) * len(X), one.tol, 1e4)
