"""Pseudo-likelihoods of machines with many hidden units, by the free energies of all rows that differ in one place."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

import tolerance
from harmonium import RBM

# Small weights; rows whose products fit no double; weights whose exponentials lose digits; activations of hundreds.
SCALES = [0.1, 4.0, 9.0, 60.0]


def machine(visible, units, n_hidden, scale, **parameters):
    rng = np.random.default_rng(1)
    rbm = RBM(n_hidden, visible=visible, **parameters)
    rbm.components_ = np.clip(
        scale * rng.normal(size=(n_hidden, units)), *((-15, 15) if scale == 4 else (-np.inf, np.inf))
    )
    rbm.intercept_visible_, rbm.intercept_hidden_ = rng.normal(size=units), rng.normal(size=n_hidden)
    return rbm


def close(rbm, X, expected):
    magnitude = np.abs(rbm.components_).sum() * np.abs(X).sum(axis=1) + np.abs(expected) + X.size
    tolerance.near_sum(rbm.score_samples(X), expected, magnitude, 4096)  # digits lost: 9 of 16 at most


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("n_hidden", [1, 16, 50, 257])
def test_bags_of_words(scale, n_hidden):
    rbm = machine("count", 11, n_hidden, scale)
    X = np.random.default_rng(0).poisson(0.7, (4, 11)).astype(float)
    expected = np.zeros(4)
    for row, x in enumerate(X):
        for word in np.flatnonzero(x):
            terms = -rbm.free_energy(x - np.eye(11)[word] + np.eye(11))
            expected[row] += x[word] * (terms[word] - logsumexp(terms))
    close(rbm, X, expected)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("n_hidden", [1, 50, 257])
def test_choices_and_bits(scale, n_hidden):
    """The last row's bits are numbers between 0 and 1, whose mirror images are the alternative."""
    rbm = machine([("bernoulli", 5), ("categorical", 2)], 12, n_hidden, scale, n_categories=[3, 4])
    rng = np.random.default_rng(0)
    X = np.hstack([rng.random((4, 5)) < 0.5, rng.integers(0, 3, (4, 1)), rng.integers(0, 4, (4, 1))]).astype(float)
    X[3, :5] = rng.random(5)
    expected = np.zeros(4)
    here = -rbm.free_energy(X)
    for i, k in enumerate([2] * 5 + [3, 4]):
        terms = []
        for value in range(k):
            changed = X.copy()
            changed[:, i] = value if i > 4 else 1 - X[:, i] if value else X[:, i]
            terms.append(-rbm.free_energy(changed))
        expected += here - logsumexp(terms, axis=0)
    close(rbm, X, expected)


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("n_hidden", [1, 50])
def test_real_columns(scale, n_hidden):
    rbm = machine("gaussian", 3, n_hidden, scale)
    X = 3 * np.random.default_rng(0).normal(size=(3, 3))
    expected = np.zeros(3)
    reach = np.abs(rbm.components_).sum(axis=0).max() + 12
    for i in range(3):
        grid = rbm.intercept_visible_[i] + np.arange(-reach, reach, 0.25)
        for row in range(3):
            points = np.repeat(X[row][None], len(grid), axis=0)
            points[:, i] = grid
            density = logsumexp(-rbm.free_energy(points)) + np.log(0.25)
            expected[row] += -rbm.free_energy(X[row][None])[0] - density
    close(rbm, X, expected)
