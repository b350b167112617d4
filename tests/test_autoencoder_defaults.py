"""Without any tuning: what is learnt of digits, photographs and counts says more than the columns alone."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import gammaln, xlog1py, xlogy
from sklearn.datasets import load_digits, load_sample_images

from harmonium import Autoencoder


def score(likelihood, mean, T):
    """The mean over the rows of T of log p given these means; of categorical columns, given every category's share."""
    if likelihood == "bernoulli":
        rows = xlogy(T, mean) + xlog1py(1 - T, -mean)
    elif likelihood == "poisson":
        rows = xlogy(T, mean) - mean - gammaln(T + 1)
    elif likelihood == "gaussian":
        rows = -0.5 * (T - mean) ** 2 - 0.5 * np.log(2 * np.pi)
    elif likelihood == "laplace":
        rows = -np.abs(T - mean) - np.log(2)
    else:
        rows = np.log(mean[T.astype(int), np.arange(T.shape[1])])
    return float(rows.sum(axis=1).mean())


def of_columns(likelihood, X):
    """What is known without an encoder: every column's best constant."""
    if likelihood == "laplace":
        return np.median(X, axis=0)
    if likelihood == "gaussian":
        return X.mean(axis=0)
    if likelihood == "categorical":
        return np.stack([((X == k).sum(axis=0) + 0.5) / (len(X) + 1) for k in range(int(X.max()) + 1)])
    return (X.sum(axis=0) + 0.5) / (len(X) + 1)


def digits():
    return load_digits().data


def patches(side=10, n=4000):
    """Of the two photographs that come with scikit-learn, grey, in [0, 1]."""
    rng = np.random.default_rng(0)
    images = [image.mean(axis=2) / 255 for image in load_sample_images().images]
    rows, columns = rng.integers(0, 400, n), rng.integers(0, 600, n)
    cut = [
        images[i % 2][r : r + side, c : c + side].ravel() for i, (r, c) in enumerate(zip(rows, columns, strict=True))
    ]
    return np.array(cut)


def counts(n=3000, words=300):
    """Documents of 10 topics, most of their words absent; a few are ten times as long as the others."""
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(words, 0.05), 10)
    shares = rng.dirichlet(np.full(10, 0.2), n) @ topics
    length = rng.poisson(60, n) * np.where(rng.random(n) < 0.01, 10, 1)
    return np.array([rng.multinomial(k, p) for k, p in zip(length, shares, strict=True)], dtype=np.float64)


CASES = {
    "digits, bernoulli": ("bernoulli", lambda: digits() / 16),
    "digits, binary": ("bernoulli", lambda: (digits() > 7).astype(float)),
    "digits, gaussian": ("gaussian", lambda: digits() / 16),
    "digits, laplace": ("laplace", lambda: digits() / 16),
    "digits, levels": ("poisson", digits),
    "digits, categorical": ("categorical", lambda: digits() // 6),
    "patches, bernoulli": ("bernoulli", patches),
    "patches, standardised": ("gaussian", lambda: (patches() - patches().mean()) / patches().std()),
    "patches, standardised, laplace": ("laplace", lambda: (patches() - patches().mean()) / patches().std()),
    "counts": ("poisson", counts),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("parameters", [{}, {"hidden_layer_sizes": (128, 16)}], ids=["default", "deep"])
def test_defaults_learn(name, parameters):
    """Of the deviance that the columns' constants leave on rows held out, a model leaves less than 60 %."""
    likelihood, make = CASES[name]
    X = make()
    order = np.random.default_rng(1).permutation(len(X))
    train, test = X[order[len(X) // 5 :]], X[order[: len(X) // 5]]
    given = sp.csr_matrix(train) if likelihood == "poisson" else train
    model = Autoencoder(likelihood=likelihood, random_state=0, **parameters).fit(given.astype(np.float32))
    assert np.isfinite(model.loss_curve_).all()
    exact = 0.0 if likelihood == "categorical" else score(likelihood, test, test)
    trivial = score(likelihood, of_columns(likelihood, train), test)
    assert exact - model.score(test) < 0.6 * (exact - trivial)
