"""Factor analysis: published figures, the solver against dense algebra, scikit-learn's class, Heywood cases."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import FactorAnalysis as ScikitFactorAnalysis
from sklearn.exceptions import ConvergenceWarning

import factor_reference as reference
import tolerance
from harmonium import FactorAnalysis

quiet_heywood = pytest.mark.filterwarnings("ignore:.*Heywood case:UserWarning")


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data
    X = X[:, X.std(axis=0) > 0]
    X.setflags(write=False)
    return X


def draw(n, p, k, seed, dtype=np.float64):
    return reference.draw_rows(reference.draw_model(p, k, seed), n, seed).astype(dtype)


# -- published figures -----------------------------------------------------------------------------------------------

# Of R's factanal on ability.cov.
ABILITY = {
    1: ([0.535, 0.853, 0.748, 0.910, 0.232, 0.280], 75.18, 9, 1.46e-12),
    2: ([0.455, 0.589, 0.218, 0.769, 0.052, 0.334], 6.11, 4, 0.191),
}


@pytest.mark.parametrize("k", ABILITY)
@pytest.mark.parametrize("kind", ["covariance", "correlation", "rows"])
def test_ability(k, kind):
    uniqueness, chi_square, freedom, p_value = ABILITY[k]
    S, n = reference.ability_covariance(), reference.ABILITY_ROWS
    if kind == "correlation":
        S = S / np.sqrt(np.outer(np.diag(S), np.diag(S)))
    fa = FactorAnalysis(k, tol=1e-8)
    if kind == "rows":
        # Rows that have this very covariance.
        X = np.random.default_rng(0).standard_normal((n, 6))
        X = (X - X.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(X.T, bias=True))).T
        fa.fit(X @ np.linalg.cholesky(S).T)
    else:
        fa.fit_covariance(S, n)
    tolerance.printed(fa.noise_variance_ / np.diag(S), uniqueness, 3)
    found = fa.goodness_of_fit()
    tolerance.printed(found.chi_square, chi_square, 2)
    assert found.degrees_of_freedom == freedom
    tolerance.printed(found.p_value / p_value, 1.0, 2)


# Average log-likelihood that scikit-learn reaches at tol=1e-10 or after thousands of iterations.
REACHED = [
    ("iris", 1, -2.815853), ("wine", 2, -15.433658), ("wine", 5, -14.779010), ("wine", 10, -14.613473),
    ("digits", 2, -132.708442), ("digits", 10, -123.155800), ("digits", 20, -118.539109),
]  # fmt: skip


@quiet_heywood
@pytest.mark.parametrize(("name", "k", "log_likelihood"), REACHED)
def test_log_likelihood_of_real_data(digits, name, k, log_likelihood):
    X = digits if name == "digits" else load_iris().data if name == "iris" else load_wine().data
    if name == "wine":
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    score = FactorAnalysis(k, tol=1e-6).fit(X).score(X)
    tolerance.printed(min(score, log_likelihood), log_likelihood, 6)  # higher is better


# -- the solver ------------------------------------------------------------------------------------------------------


@quiet_heywood
@pytest.mark.parametrize("seed", range(10))
def test_log_likelihood_is_that_of_the_model_and_never_falls(seed):
    X = draw(60, 8, 2, seed)
    fa = FactorAnalysis(3, tol=1e-6).fit(X)
    assert (np.diff(fa.loglike_) >= 0).all()
    assert len(fa.loglike_) == fa.n_iter_ == len(fa.history_["log_likelihood"])
    W, b, psi = fa.components_.T, fa.mean_, fa.noise_variance_
    # The dense reference inverts a covariance whose condition is at most some thousands.
    size = np.abs(reference.log_density(X, W, b, np.maximum(psi, 1e-3))).sum() * 1e4
    tolerance.near_sum(np.float64(fa.loglike_[-1]), np.float64(fa.score_samples(X).sum()), np.float64(size), 60)
    S = np.cov(X.T, bias=True)
    best = -len(X) / 2 * (reference.profile_objective(S, psi, 3) + 8 * np.log(2 * np.pi))
    tolerance.near_sum(np.float64(fa.loglike_[-1]), best, np.float64(size), 60)


def test_stationary_point():
    """At the maximum diag(S - C) = 0 and S C^-1 W = W (Lawley, Maxwell 1971, eqs. 4.5 and 4.9)."""
    X = draw(400, 9, 2, 1)
    fa = FactorAnalysis(2, tol=1e-11).fit(X)
    S, C = np.cov(X.T, bias=True), fa.get_covariance()
    # Near the maximum a gain of 1e-11 nats means psi within (2 * 1e-11 / n)^1/2 of it, relatively.
    near = 100 * np.sqrt(2e-11 / 400)
    assert np.abs(np.diag(S - C) / np.diag(S)).max() < near
    W = fa.components_.T
    assert np.abs(S @ np.linalg.solve(C, W) - W).max() < near * np.abs(W).max()
    inner = W.T / fa.noise_variance_ @ W
    tolerance.near_sum(inner, np.diag(np.diag(inner)), np.full((2, 2), np.diag(inner).max()), 50)


def test_the_model_is_found_again():
    """Errors of the covariance are those of its estimate: entries have variance (C_ij^2 + C_ii C_jj) / n at most."""
    model = reference.draw_model(10, 3, 2)
    n = 20_000
    fa = FactorAnalysis(3).fit(reference.draw_rows(model, n, 0))
    W, _, psi = model
    C = W @ W.T + np.diag(psi)
    tolerance.statistical((fa.get_covariance() - C) / np.sqrt((C**2 + np.outer(np.diag(C), np.diag(C))) / n))


@quiet_heywood
@pytest.mark.parametrize("shape", [(12, 300), (40, 1100), (1200, 1050)], ids=str)
def test_many_columns(shape):
    """More columns than a matrix of second derivatives is made for, or than rows: the accelerated ECM."""
    X = draw(*shape, 2, 0)
    fa = FactorAnalysis(2, tol=1e-4).fit(X)
    assert (np.diff(fa.loglike_) >= 0).all()
    tolerance.near_sum(
        np.float64(fa.loglike_[-1]), np.float64(fa.score_samples(X).sum()), np.float64(X.size * 100), shape[0]
    )
    S_diagonal = X.var(axis=0)
    model = (fa.components_**2).sum(axis=0) + fa.noise_variance_
    # Stationary in psi: a gain of tol means psi within (2 tol / n)^1/2 of the maximum, relatively.
    tolerance.converged(np.median(np.abs(model / S_diagonal - 1)), 0.0, np.sqrt(2 * fa.tol / shape[0]), 3)


@quiet_heywood
def test_both_solvers_agree():
    from harmonium._factor_solvers import Covariance, Rows, fit_noise, fit_noise_by_em

    X = draw(30, 20, 2, 3)
    X -= X.mean(axis=0)
    ends = []
    for solver, data in (
        (fit_noise, Covariance(X.T @ X / 30, 30)), (fit_noise_by_em, Covariance(X.T @ X / 30, 30)),
        (fit_noise_by_em, Rows(X)),
    ):  # fmt: skip
        start, floor = 0.5 * X.var(axis=0), 1e-8 * X.var(axis=0)
        before, iterations = -np.inf, 0
        for state in solver(data, 2, start, floor, np.zeros(20)):
            iterations += 1
            if state.log_likelihood - before < 1e-9 or iterations == 2000:
                break
            before = state.log_likelihood
        ends.append(state.log_likelihood)
    tolerance.converged(max(ends), min(ends), 1e-9, 1e5)  # a rate of convergence over 1 - 1e-5


@pytest.mark.parametrize("given", [np.float32, np.float64, np.float16, np.int32, bool])
def test_dtypes(given):
    X = draw(50, 5, 1, 0)
    X = X > X.mean(axis=0) if given is bool else (X * 4).astype(given)
    kept = np.float64 if given == np.float64 else np.float32
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(Heywood|constant)")
        fa = FactorAnalysis(1, rotation="promax").fit(X)
    H = fa.transform(X)
    arrays = [fa.components_, fa.mean_, fa.noise_variance_, fa.factor_covariance_, H, fa.inverse_transform(H)]
    arrays += [fa.get_covariance(), fa.get_precision(), fa.sample(3), fa.impute(X), fa.factor_scores(X, "bartlett")]
    assert {array.dtype for array in arrays} == {np.dtype(kept)}
    assert fa.score_samples(X).dtype == np.float64


def test_float32_is_as_good_as_float64():
    X = draw(200, 6, 2, 0, np.float32)
    single, double = FactorAnalysis(2).fit(X), FactorAnalysis(2).fit(X.astype(np.float64))
    tolerance.exact(np.array(single.loglike_), np.array(double.loglike_))
    tolerance.exact(single.components_, double.components_.astype(np.float32))


# -- streaming -------------------------------------------------------------------------------------------------------


@quiet_heywood
def test_partial_fit_ends_where_fit_does():
    X = draw(300, 8, 2, 1)
    fa = FactorAnalysis(2, tol=1e-8)
    for batch in np.split(X, [30, 31, 100, 200]):
        fa.partial_fit(batch)
    whole = FactorAnalysis(2, tol=1e-8).fit(X)
    assert fa.n_samples_seen_ == 300
    tolerance.converged(fa.loglike_[-1], whole.loglike_[-1], fa.tol, 100)


@quiet_heywood
@pytest.mark.filterwarnings("ignore:.*not converged")  # three rows have no maximum to end at
def test_a_stream_of_single_rows():
    X = draw(40, 4, 1, 0)
    fa = FactorAnalysis(1, tol=1e-8)
    for row in X:
        fa.partial_fit(row[None])
    tolerance.converged(fa.loglike_[-1], FactorAnalysis(1, tol=1e-8).fit(X).loglike_[-1], fa.tol, 100)


def test_an_iteration_does_not_see_the_rows():
    X = draw(100, 6, 2, 0)
    one, many = FactorAnalysis(2, tol=1e-4).fit(X), FactorAnalysis(2, tol=1e-4 * 50).fit(np.tile(X, (50, 1)))
    assert one.n_iter_ == many.n_iter_
    size = np.full((2, 6), 100.0 * one.n_iter_)
    tolerance.near_sum(many.components_, one.components_, size, 5000)


# -- scikit-learn's class: its tests, in our words -------------------------------------------------------------------


def problem_of_scikit_learn(seed):
    """20 rows of 5 columns, 3 factors, noise of unequal size."""
    rng = np.random.RandomState(seed)
    loadings, factors = rng.randn(3, 5), rng.randn(20, 3)
    return loadings, factors @ loadings + rng.gamma(1, size=5) * rng.randn(20, 5)


@quiet_heywood
@pytest.mark.parametrize("seed", [0, 42, 83])
def test_recovers_the_covariance(seed):
    _, X = problem_of_scikit_learn(seed)
    fits = []
    for method in ("randomized", "lapack"):
        fa = FactorAnalysis(3, svd_method=method)
        assert fa.fit_transform(X).shape == (20, 3)
        size = np.abs(fa.score_samples(X)).sum() + 100
        tolerance.near_sum(np.float64(fa.loglike_[-1]), fa.score_samples(X).sum(), size, 1000)
        tolerance.near_sum(np.float64(fa.score(X)), fa.score_samples(X).mean(), size, 20)
        assert (np.diff(fa.loglike_) > 0).all()
        C = fa.get_covariance()
        # Nearer the sample's than its estimate is, entry by entry (Wishart).
        tolerance.statistical((np.cov(X.T, bias=True) - C) / np.sqrt((C**2 + np.outer(np.diag(C), np.diag(C))) / 20))
        fits.append(fa)
    for name in ("components_", "noise_variance_"):
        tolerance.same_bits(*(getattr(fa, name) for fa in fits))
    with pytest.warns(ConvergenceWarning, match="FactorAnalysis.fit: not converged after max_iter=1"):
        FactorAnalysis(3, max_iter=1).fit(X)
    with pytest.raises(ValueError, match=r"noise_variance_init is \(5,\), X has 2 columns"):
        FactorAnalysis(2, noise_variance_init=np.ones(5)).fit(X[:, :2])


@quiet_heywood
@pytest.mark.parametrize("k", [0, 2, 5])
def test_precision_is_the_inverse_of_covariance(k):
    _, X = problem_of_scikit_learn(42)
    fa = FactorAnalysis(k).fit(X)
    C, inverse = fa.get_covariance(), fa.get_precision()
    tolerance.printed(C @ inverse, np.eye(5), 12)  # as scikit-learn asks


@quiet_heywood
def test_rotations_turn_the_factors_and_keep_the_covariance():
    _, X = problem_of_scikit_learn(42)
    fits = {r: FactorAnalysis(2, rotation=r).fit(X) for r in (None, "varimax", "quartimax", "promax")}
    for one, other in combinations(fits.values(), 2):
        assert np.abs(one.transform(X) - other.transform(X)).max() > 0.01
        C = one.get_covariance()
        tolerance.near_sum(other.get_covariance(), C, np.full((5, 5), np.abs(C).max() * 10), 20)
        size = np.full(20, 1e4)
        tolerance.near_sum(other.score_samples(X), one.score_samples(X), size, 20)


@pytest.mark.parametrize("name", ["n_components", "tol", "copy", "max_iter", "noise_variance_init", "svd_method",
                                  "iterated_power", "rotation", "random_state"])  # fmt: skip
def test_parameters_of_scikit_learn_have_its_defaults(name):
    assert FactorAnalysis().get_params()[name] == ScikitFactorAnalysis().get_params()[name]
    assert set(ScikitFactorAnalysis().get_params()) <= set(FactorAnalysis().get_params())


@quiet_heywood
@pytest.mark.parametrize("k", [2, 5])
def test_at_its_tolerance_the_likelihood_is_at_least_scikit_learns(digits, k):
    for X in (digits, load_iris().data, draw(200, 10, 3, 0)):
        if X.shape[1] < 5 and k > 1:
            continue
        theirs = ScikitFactorAnalysis(k, svd_method="lapack").fit(X)
        ours = FactorAnalysis(k).fit(X)
        assert ours.loglike_[-1] >= theirs.loglike_[-1] - 1e-2  # the tolerance of both
        assert ours.n_iter_ <= theirs.n_iter_


def test_transform_is_scikit_learns_with_the_same_parameters():
    X = draw(50, 6, 2, 0)
    theirs = ScikitFactorAnalysis(2).fit(X)
    ours = FactorAnalysis(2)
    ours.components_, ours.mean_, ours.noise_variance_ = theirs.components_, theirs.mean_, theirs.noise_variance_
    for name in ("transform", "score_samples"):
        expected = getattr(theirs, name)(X)
        tolerance.near_sum(getattr(ours, name)(X), expected, np.full(expected.shape, 1e3), 50)
    for name in ("get_covariance", "get_precision"):
        tolerance.near_sum(getattr(ours, name)(), getattr(theirs, name)(), np.full((6, 6), 1e3), 50)


# -- Heywood cases and other edges -----------------------------------------------------------------------------------


def test_heywood_case_is_found_and_named():
    rng = np.random.default_rng(0)
    h = rng.standard_normal((50, 1))
    X = np.hstack([h, h * [0.9, 0.5, 1.2, 0.7] + 0.5 * rng.standard_normal((50, 4))])  # column 0 is the factor itself
    with pytest.warns(UserWarning, match=r"1 of 5 columns \(0\) have noise that goes to 0 \(a Heywood case"):
        fa = FactorAnalysis(1).fit(X)
    tolerance.exact(fa.heywood_, np.array([True, False, False, False, False]))
    assert (fa.noise_variance_ > 0).all() and np.isfinite(fa.score(X))
    X[0, 2] = np.nan
    with pytest.warns(UserWarning, match=r"columns \(0\) have noise that goes to 0"):
        tolerance.exact(FactorAnalysis(1, tol=1e-4).fit(X).heywood_, fa.heywood_)


def test_no_heywood_case_where_there_is_none():
    assert not FactorAnalysis(2).fit(draw(500, 8, 2, 0)).heywood_.any()


def test_constant_columns_are_told_of():
    X = draw(50, 5, 1, 0)
    X[:, 3] = 0.1
    with pytest.warns(UserWarning, match=r"1 of 5 columns \(3\) are constant"):
        fa = FactorAnalysis(1).fit(X)
    tolerance.exact(fa.heywood_, np.arange(5) == 3)
    # The floor, 1e-8 of the mean variance, has a density of at most some log(1e8) / 2 nats.
    assert fa.score(X) < 5 * 10


@quiet_heywood
def test_fewer_rows_than_columns_never_score_absurdly():
    X = draw(10, 40, 2, 0)
    for k in (1, 5, 12, None):
        assert abs(FactorAnalysis(k).fit(X).score(X)) < 40 * (np.log(1e8) + 5)


def test_bad_input_is_refused_and_nothing_changes():
    fa = FactorAnalysis(1).fit(draw(50, 5, 1, 0))
    before = dict(vars(fa))
    for X, message in (
        (np.ones((1, 3)), "X has 1 sample"),
        (np.zeros((5, 3)), "all 3 columns of X are constant"),
        ([[1.0, np.inf], [2.0, 3.0]], "infinity in row 0, column 1"),
        ([[1.0, np.nan], [2.0, np.nan]], "column 1 has no observed value"),
    ):
        with pytest.raises(ValueError, match=message):
            fa.fit(X)
    assert all(value is vars(fa)[name] for name, value in before.items())
    for options in ({"svd_method": "full"}, {"rotation": "oblimin"}, {"tol": -1.0}, {"copy": 1},
                    {"noise_variance_init": [1, 0, 1, 1, 1]}, {"n_components": 6}):  # fmt: skip
        with pytest.raises((ValueError, TypeError), match="FactorAnalysis"):
            FactorAnalysis(**{"n_components": 1} | options).fit(draw(50, 5, 1, 0))


def test_goodness_of_fit_says_when_there_is_none():
    with pytest.raises(ValueError, match=r"3 factors of 5 columns leave -2 degrees of freedom"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            FactorAnalysis(3).fit(draw(50, 5, 2, 0)).goodness_of_fit()
    X = draw(50, 5, 1, 0)
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="needs the covariance of complete data"):
        FactorAnalysis(1).fit(X).goodness_of_fit()
