"""Rotations: the criteria, published loadings, what stays the same."""

from __future__ import annotations

import numpy as np
import pytest

import factor_reference as reference
import tolerance
from harmonium import FactorAnalysis
from harmonium.rotation import rotate

GAMMA = {"varimax": 1.0, "quartimax": 0.0}


def loadings(p=9, k=3, seed=0):
    return np.random.default_rng(seed).standard_normal((p, k))


@pytest.fixture(scope="module")
def ability():
    S = reference.ability_covariance()
    R = S / np.sqrt(np.outer(np.diag(S), np.diag(S)))
    return FactorAnalysis(2, tol=1e-8).fit_covariance(R, reference.ABILITY_ROWS).components_.T


def test_varimax_of_ability(ability):
    """R's factanal, which scales rows to length 1; its optimiser stops two units of the last decimal away."""
    published = [[0.499, 0.543], [0.156, 0.622], [0.206, 0.860], [0.109, 0.468], [0.956, 0.182], [0.785, 0.225]]
    tolerance.printed(rotate(ability, "varimax", normalize=True).loadings / 5, np.array(published) / 5, 3)


@pytest.mark.parametrize("method", GAMMA)
def test_no_small_turn_is_better(method):
    L = loadings()
    found = rotate(L, method)
    best = reference.orthomax(found.loadings, GAMMA[method])
    tolerance.near_sum(found.matrix.T @ found.matrix, np.eye(3), np.ones((3, 3)), 30)
    tolerance.near_sum(found.loadings, L @ found.matrix, np.full(L.shape, 10.0), 3)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        for angle in (-0.01, 0.01):
            turn = np.eye(3)
            turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
            assert reference.orthomax(found.loadings @ turn, GAMMA[method]) < best


@pytest.mark.parametrize("method", GAMMA)
def test_of_two_factors_the_best_of_all_angles(method):
    L = loadings(6, 2, 1)
    best = reference.orthomax(rotate(L, method).loadings, GAMMA[method])
    for angle in np.linspace(0, np.pi / 2, 721):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert reference.orthomax(L @ turn, GAMMA[method]) <= best * (1 + 1e-12)


def test_promax():
    L = loadings()
    found = rotate(L, "promax")
    # What the factors explain together is the same.
    again = found.loadings @ found.factor_covariance @ found.loadings.T
    tolerance.near_sum(again, L @ L.T, np.full((9, 9), 50.0), 50)
    tolerance.near_sum(np.diag(found.factor_covariance), np.ones(3), np.full(3, 10.0), 20)
    # The target is fitted by least squares, up to the scale of each factor (Hendrickson, White 1964).
    A = rotate(L, "varimax").loadings
    U = np.linalg.lstsq(A, np.sign(A) * np.abs(A) ** 4, rcond=None)[0]
    fitted = A @ U
    cosine = np.abs((fitted * found.loadings).sum(axis=0)) / (
        np.linalg.norm(fitted, axis=0) * np.linalg.norm(found.loadings, axis=0)
    )
    tolerance.near_sum(cosine, np.ones(3), np.full(3, 1e3), 9)


def test_promax_finds_correlated_factors():
    simple = np.kron(np.eye(2), np.array([[0.9], [0.8], [0.7], [0.6]]))
    covariance = np.array([[1, 0.4], [0.4, 1]])
    mixed = simple @ np.linalg.cholesky(covariance)
    found = rotate(mixed, "promax")
    tolerance.printed(abs(found.factor_covariance[0, 1]), 0.4, 1)
    away = np.abs(found.loadings)[simple == 0].max()
    assert away < np.abs(rotate(mixed, "varimax").loadings)[simple == 0].max() / 3


def test_oblique_factors_of_an_estimator():
    """Regression scores of correlated factors are their posterior means; samples keep the covariance."""
    X = reference.draw_rows(reference.draw_model(8, 2, 0), 300, 0)
    fa = FactorAnalysis(2, rotation="promax").fit(X)
    F = fa.factor_covariance_
    assert abs(F[0, 1]) > 0.01
    tolerance.near_sum(np.diag(F), np.ones(2), np.full(2, 100.0), 8)
    C = fa.get_covariance()
    expected = (X - fa.mean_) @ np.linalg.solve(C, fa.components_.T @ F)
    tolerance.near_sum(fa.transform(X), expected, np.full((300, 2), 1e3), 8)
    tolerance.near_sum(fa.components_.T @ F @ fa.components_ + np.diag(fa.noise_variance_), C, np.full((8, 8), 50.0), 8)


@pytest.mark.parametrize("method", ["varimax", "quartimax", "promax"])
@pytest.mark.parametrize("k", [0, 1])
def test_nothing_to_turn(method, k):
    L = loadings(5, k) if k else np.zeros((5, 0))
    tolerance.exact(rotate(L, method).loadings, L)


def test_rows_of_zeros():
    L = loadings()
    L[4] = 0
    assert np.isfinite(rotate(L, "varimax", normalize=True).loadings).all()


def test_bad_arguments_are_refused():
    for arguments, message in (
        ({"method": "oblimin"}, "method='oblimin' is not one of"),
        ({"power": 1}, "power=1"),
        ({"normalize": 1}, "normalize=1"),
        ({"max_iter": 0}, "max_iter=0"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            rotate(loadings(), **arguments)
    with pytest.raises(ValueError, match=r"loadings hold nan in row 1, column 0"):
        rotate([[1.0, 2.0], [np.nan, 1.0]])
    with pytest.raises(ValueError, match=r"loadings are \(3,\)"):
        rotate(np.ones(3))


@pytest.mark.parametrize("method", ["varimax", "quartimax", "promax"])
def test_factors_without_loadings_stay(method):
    L = loadings()
    L[:, 1] = 0
    found = rotate(L, method)
    rest = rotate(L[:, [0, 2]], method)
    tolerance.exact(found.loadings[:, [0, 2]], rest.loadings)
    tolerance.exact(found.matrix[1], np.array([0.0, 1.0, 0.0]))
    tolerance.exact(found.factor_covariance[1], np.array([0.0, 1.0, 0.0]))


def test_promax_of_dependent_factors_is_varimax():
    L = np.ones((4, 2)) * [1.0, -2.0]
    with pytest.warns(UserWarning, match="the rotation is that of varimax"):
        found = rotate(L, "promax")
    tolerance.exact(found.loadings, rotate(L, "varimax").loadings)
    tolerance.exact(found.factor_covariance, np.eye(2))


@pytest.mark.parametrize("method", GAMMA)
def test_the_worst_turn_is_left(method):
    """At (1, 1), (1, -1) the gradient is that of a maximum, but a turn by 45 degrees leaves one loading a row."""
    found = rotate([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]], method)
    expected = np.sqrt(2) * np.array([[1.0, 0.0], [0.0, 1.0]] * 2)
    tolerance.near_sum(found.loadings, expected, np.full((4, 2), 2.0), 10)
