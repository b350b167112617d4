"""The linear factor model with given parameters: every method against dense Gaussian algebra."""

from __future__ import annotations

import numpy as np
import pytest

import factor_reference as reference
import tolerance
from harmonium import FactorAnalysis, LinearFactorModel

P, K = 7, 3


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture
def parameters(dtype):
    """W, b, psi in float64, of values that dtype holds."""
    return tuple(part.astype(dtype).astype(np.float64) for part in reference.draw_model(P, K, 0))


@pytest.fixture
def model(parameters, dtype):
    W, b, psi = (part.astype(dtype) for part in parameters)
    return LinearFactorModel(W.T, mean=b, noise_variance=psi, random_state=0)


def rows_with_missing(parameters, n=12):
    X = reference.draw_rows(parameters, n, 1)
    X[np.random.default_rng(2).random(X.shape) < 0.4] = np.nan
    X[3] = np.nan  # nothing observed
    X[4] = reference.draw_rows(parameters, 1, 3)[0]  # everything
    return X


def test_covariance_and_precision(model, parameters, dtype):
    W, _, psi = parameters
    C = W @ W.T + np.diag(psi)
    size = np.abs(W) @ np.abs(W.T) + np.diag(psi)
    tolerance.near_sum(model.get_covariance(), C, size, K + 2)
    inverse = np.linalg.inv(C)
    # Computed in float64, rounded once; the reference's own error is its condition number.
    size = np.full((P, P), np.linalg.cond(C) * np.abs(inverse).max())
    tolerance.near_sum(model.get_precision(), inverse, size, P)
    assert model.get_covariance().dtype == model.get_precision().dtype == dtype


def test_precision_where_noise_is_tiny():
    """Woodbury's difference cancels there; the product with the covariance shows what is left of it."""
    W, b, psi = reference.draw_model(P, K, 1)
    psi[[1, 4]] = 1e-9
    model = LinearFactorModel(W.T, mean=b, noise_variance=psi)
    C, inverse = model.get_covariance(), model.get_precision()
    size = np.abs(C) @ np.abs(inverse)
    tolerance.near_sum(C @ inverse, np.eye(P), size * np.linalg.cond(C), P)


def test_score_samples(model, parameters, dtype):
    X = rows_with_missing(parameters).astype(dtype)
    wide = X.astype(np.float64)
    expected = reference.log_density(wide, *parameters)
    scores = model.score_samples(X)
    size = reference.magnitude(wide, *parameters)
    tolerance.near_sum(scores, expected, size, P * K, dtype=np.float64)
    tolerance.exact(scores[3], np.float64(0))  # of nothing
    tolerance.near_sum(np.float64(model.score(X)), expected.mean(), size.mean(), P * K)


def test_score_samples_where_noise_is_tiny():
    """Sums of squares only: the digits stay although W' psi^-1 W is 10^9. The columns of least noise are a multiple of
    factors that stand alone, so that the density is known in closed form."""
    W = np.zeros((4, 2))
    W[0, 0], W[1, 1] = 2.0, 3.0
    b, psi = np.array([1.0, -1.0, 0.5, 0.0]), np.array([1e-9, 1e-8, 1.0, 2.0])
    variance = np.diag(W @ W.T) + psi
    X = reference.draw_rows((W, b, psi), 20, 0)
    expected = (-0.5 * (np.log(2 * np.pi * variance) + (X - b) ** 2 / variance)).sum(axis=1)
    scores = LinearFactorModel(W.T, mean=b, noise_variance=psi).score_samples(X)
    size = (1 + np.abs(np.log(psi)) + (X - b) ** 2 / variance).sum(axis=1)
    tolerance.near_sum(scores, expected, size, 20)


def test_posterior_of_missing_rows(model, parameters, dtype):
    X = rows_with_missing(parameters).astype(dtype)
    mean, covariance = model.posterior(X)
    assert mean.dtype == covariance.dtype == dtype
    for x, m, V in zip(X.astype(np.float64), mean, covariance, strict=True):
        m_expected, V_expected = reference.posterior(x, *parameters)
        size = 1 + np.nansum(np.abs(x) + np.abs(parameters[1]))
        condition = np.linalg.norm(parameters[0]) ** 2 / 0.05
        tolerance.near_sum(m, m_expected, np.full(K, size * condition), P)
        tolerance.near_sum(V, V_expected, np.full((K, K), condition), P)
    tolerance.same_bits(model.transform(X), mean)


def test_posterior_of_complete_rows_has_one_covariance(model, parameters, dtype):
    X = reference.draw_rows(parameters, 5, 1).astype(dtype)
    mean, covariance = model.posterior(X)
    assert mean.shape == (5, K) and covariance.shape == (K, K)
    with_missing = np.vstack([X, np.full((1, P), np.nan, dtype)])
    # The same products in matrices of other sizes.
    condition = np.linalg.norm(parameters[0]) ** 2 / 0.05
    tolerance.near_sum(model.posterior(with_missing)[1][0], covariance.astype(float), np.full((K, K), condition), P)


def test_impute_is_the_conditional_mean(model, parameters, dtype):
    X = rows_with_missing(parameters).astype(dtype)
    given = X.copy()
    filled = model.impute(X)
    assert X.tobytes() == given.tobytes()
    seen = ~np.isnan(X)
    tolerance.same_bits(filled[seen], X[seen])
    assert filled.dtype == dtype
    condition = np.linalg.norm(parameters[0]) ** 2 / 0.05
    for x, f in zip(X.astype(np.float64), filled, strict=True):
        o = ~np.isnan(x)
        expected = reference.conditional(x, *parameters)[0]
        size = (np.abs(x[o]).sum() + np.abs(parameters[1]).sum() + 1) * condition
        tolerance.near_sum(f[~o], expected, np.full(expected.shape, size), P)


def test_factor_scores(model, parameters, dtype):
    X = reference.draw_rows(parameters, 5, 1).astype(dtype)
    W, b, psi = parameters
    tolerance.same_bits(model.factor_scores(X), model.transform(X))
    weighted = (W / psi[:, None]).T
    inner = weighted @ W
    expected = (X.astype(np.float64) - b) @ np.linalg.solve(inner, weighted).T
    size = np.full((5, K), np.abs(X - b).max() * np.linalg.cond(inner))
    tolerance.near_sum(model.factor_scores(X, "bartlett"), expected, size, P)


def test_bartlett_scores_are_unbiased_and_regression_scores_are_not(parameters):
    """Without noise in x, x = W h + b: Bartlett's scores are h itself."""
    W, b, psi = parameters
    model = LinearFactorModel(W.T, mean=b, noise_variance=psi)
    h = np.random.default_rng(0).standard_normal((6, K))
    scores = model.factor_scores(model.inverse_transform(h), "bartlett")
    tolerance.near_sum(scores, h, np.full(h.shape, np.linalg.cond(W) ** 2 * 100), P)
    assert (np.linalg.norm(model.transform(model.inverse_transform(h)), axis=1) < np.linalg.norm(h, axis=1)).all()


def test_samples_have_the_models_moments():
    parameters = reference.draw_model(4, 2, 3)
    W, b, psi = parameters
    n = 20_000
    X = LinearFactorModel(W.T, mean=b, noise_variance=psi).sample(n, random_state=0)
    C = W @ W.T + np.diag(psi)
    tolerance.statistical((X.mean(axis=0) - b) / np.sqrt(np.diag(C) / n))
    # Wishart: the variance of an entry of the covariance is (C_ij^2 + C_ii C_jj) / n.
    deviation = np.sqrt((C**2 + np.outer(np.diag(C), np.diag(C))) / n)
    tolerance.statistical((np.cov(X.T, bias=True) - C) / deviation)


def test_clamped_samples_have_the_conditional_moments(parameters):
    W, b, psi = parameters
    n = 20_000
    mask = np.arange(P) < 3
    x = np.where(mask, 1.5, np.nan)
    mean, C = reference.conditional(x, W, b, psi)
    model = LinearFactorModel(W.T, mean=b, noise_variance=psi)
    X = model.sample(n, clamp=(mask, np.full(P, 1.5)), random_state=1)
    tolerance.exact(X[:, mask], np.full((n, 3), 1.5))
    tolerance.statistical((X[:, ~mask].mean(axis=0) - mean) / np.sqrt(np.diag(C) / n))
    deviation = np.sqrt((C**2 + np.outer(np.diag(C), np.diag(C))) / n)
    tolerance.statistical((np.cov(X[:, ~mask].T, bias=True) - C) / deviation)


def test_a_row_of_a_seed_does_not_depend_on_the_number_of_rows(model):
    # Products of other sizes may be summed in another order.
    few, many = model.sample(3, random_state=5), model.sample(100, random_state=5)
    size = np.abs(model.components_).sum(axis=0) * 6 + np.abs(model.mean_) + 6
    tolerance.near_sum(few, many[:3].astype(float), np.broadcast_to(size, few.shape), K + 2)
    tolerance.same_bits(model.sample(3), model.sample(3))  # its own seed
    assert (model.sample(3, random_state=6) != few).all()


def test_correlated_factors():
    """factor_covariance F is the model of independent factors with W L, L L' = F."""
    W, b, psi = reference.draw_model(P, K, 0)
    L = np.array([[1.0, 0, 0], [0.5, 0.8, 0], [0.1, -0.3, 0.9]])
    oblique = LinearFactorModel(W.T, mean=b, noise_variance=psi, factor_covariance=L @ L.T)
    plain = LinearFactorModel((W @ L).T, mean=b, noise_variance=psi)
    X = reference.draw_rows((W @ L, b, psi), 6, 0)
    size = np.full(6, 1e3)
    tolerance.near_sum(oblique.score_samples(X), plain.score_samples(X), size, P)
    tolerance.near_sum(oblique.transform(X), plain.transform(X) @ L.T, np.full((6, K), 1e3), P)
    for method in ("regression", "bartlett"):
        scores, independent = (m.factor_scores(X, method) for m in (oblique, plain))
        tolerance.near_sum(scores, independent @ L.T, np.full((6, K), 1e3), P)
    # A reconstruction does not depend on the factors' coordinates.
    again = oblique.inverse_transform(oblique.transform(X))
    tolerance.near_sum(again, plain.inverse_transform(plain.transform(X)), np.full((6, P), 1e3), P)


def test_zero_noise_draws_but_has_no_density():
    model = LinearFactorModel([[1.0, 2.0]], noise_variance=[0.0, 1.0], random_state=0)
    assert np.isfinite(model.sample(3)).all()
    with pytest.raises(ValueError, match=r"score_samples: the noise variance of column 0 is 0"):
        model.score_samples([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": [0.0, 1.0]}, r"mean_ is \(2,\), the components_ of \(1, 3\) need \(3,\)"),
        ({"noise_variance": [1.0, 1.0]}, r"noise_variance_ is \(2,\)"),
        ({"noise_variance": [1.0, -2.0, 1.0]}, r"noise_variance_ is -2 in column 1"),
        ({"mean": [0.0, np.nan, 0.0]}, "mean_ contains NaN or infinity"),
        ({"factor_covariance": [[0.0]]}, "factor_covariance_ is not positive definite"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LinearFactorModel([[1.0, 2.0, 3.0]], **options).get_covariance()


def test_input_that_does_not_fit_is_refused():
    model = LinearFactorModel([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match=r"4 features, but LinearFactorModel is expecting 3"):
        model.transform(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"transform: X contains infinity in row 1, column 2"):
        model.transform([[0.0, 0.0, 0.0], [0.0, np.nan, np.inf]])
    with pytest.raises(ValueError, match=r"bartlett needs complete rows"):
        model.factor_scores([[0.0, np.nan, 0.0]], "bartlett")
    with pytest.raises(ValueError, match=r"H has 2 columns, the model has 1 factors"):
        model.inverse_transform(np.zeros((2, 2)))
    with pytest.raises(TypeError, match=r"the mask of clamp is of type int64, bool is needed"):
        model.sample(2, clamp=([1, 0, 1], np.zeros(3)))
    with pytest.raises(ValueError, match=r"the values of clamp hold nan in row 0, column 1"):
        model.sample(2, clamp=(np.array([False, True, False]), np.full(3, np.nan)))


def test_assigned_arrays_are_used():
    fa = FactorAnalysis(2)
    fa.components_, fa.mean_, fa.noise_variance_ = np.ones((2, 3)), np.zeros(3), np.ones(3)
    tolerance.exact(fa.get_covariance(), 2 * np.ones((3, 3)) + np.eye(3))
    fa.noise_variance_ = np.full(3, 2.0)
    tolerance.exact(fa.get_covariance(), 2 * np.ones((3, 3)) + 2 * np.eye(3))


@pytest.mark.parametrize(
    ("mean", "dtype"),
    [
        (0.0, np.float32),
        (0.5, np.float32),
        ([1, 2, 3], np.float32),
        (np.zeros(3, np.float32), np.float32),
        (2.0**24 + 1, np.float64),
        ([0.1, 0.2, 2.0**24 + 1], np.float64),
        ([0, 0, 2**24 + 1], np.float64),
        (np.float64(0.1) * np.ones(3), np.float64),
    ],
)
def test_integers_do_not_narrow_what_stands_beside_them(mean, dtype):
    """Loadings of 0 and 1 say nothing of the type; a mean of float64 does."""
    model = LinearFactorModel([[1, 0, 1]], mean=mean, random_state=0)
    assert model.components_.dtype == model.mean_.dtype == model.sample(2).dtype == dtype
    tolerance.exact(model.mean_, np.broadcast_to(np.asarray(mean, dtype), (3,)))
    assert LinearFactorModel(np.ones((1, 3), np.float32), mean=mean).mean_.dtype == np.float32
    assert LinearFactorModel([[1, 0, 2**24 + 1]], mean=mean).mean_.dtype == np.float64


def test_no_factors_at_all():
    model = LinearFactorModel(np.zeros((0, 2)), mean=[1.0, 2.0], noise_variance=[4.0, 9.0])
    X = np.array([[1.0, np.nan], [3.0, 2.0]])
    assert model.transform(X).shape == (2, 0)
    tolerance.near_sum(
        model.score_samples(X),
        reference.log_density(X, np.zeros((2, 0)), np.array([1.0, 2.0]), np.array([4.0, 9.0])), np.full(2, 5.0), 4,
    )  # fmt: skip
