"""How many components probabilistic PCA should have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import gammaln
from sklearn.utils import check_random_state

from ._arrays import array_namespace, cast, host, moved

N_FOLDS = 5


def minka(values: Any, n: int) -> int:
    """The number of components with the highest evidence for n rows, by Laplace's method.

    `values` are all p eigenvalues l of the covariance, in falling order, n > p. For k components, with v the mean of
    those left out, m = p k - k (k + 1) / 2 the dimension of the subspaces and f_i = l_i for i <= k, else v,
    log p(D | k) = log p(U) - n/2 (sum_{i<=k} log l_i + (p - k) log v) + (m + k)/2 log 2 pi - k/2 log n
    - 1/2 sum_{i<=k, j>i} log(n (1/f_j - 1/f_i) (l_i - l_j))
    (Minka, "Automatic choice of dimensionality for PCA", NIPS 2000, eqs. 76 to 78).
    """
    p = values.shape[0]
    values = np.maximum(host(values), np.finfo(np.float64).tiny)
    # Of dimensions without variance there is no evidence; they are noise of any model.
    rank = int((values > 1e-12 * values[0]).sum())
    evidence = [_evidence(values, n, k) for k in range(1, min(p, rank + 1))]
    return 1 + int(np.argmax(evidence)) if evidence else 0


def _evidence(values: Any, n: int, k: int) -> float:
    p = values.shape[0]
    i = np.arange(1, k + 1)
    # log p(U): the uniform density on the Stiefel manifold.
    area = -k * math.log(2) + float((gammaln((p - i + 1) / 2) - (p - i + 1) / 2 * math.log(math.pi)).sum())
    v = max(float(values[k:].mean()), 1e-300)
    flat = np.where(np.arange(p) < k, values, v)
    m = p * k - k * (k + 1) / 2
    gaps = values[:k, None] - values[None, :]
    inverse = 1 / flat[None, :] - 1 / flat[:k, None]
    later = np.arange(p)[None, :] > np.arange(k)[:, None]
    # Equal eigenvalues leave their directions undetermined: the evidence of that k is left to the others.
    product = np.where(later, gaps * inverse * n, 1.0)
    if (product <= 0).any():
        return -math.inf
    likelihood = -n / 2 * (float(np.log(values[:k]).sum()) + (p - k) * math.log(v))
    curvature = -float(np.log(product).sum()) / 2 - k / 2 * math.log(n)
    return area + likelihood + (m + k) / 2 * math.log(2 * math.pi) + curvature


def held_out(X: Any, random_state: Any) -> np.ndarray:
    """Mean log-likelihood of a row held out, for 0, 1, ... components: cross-validation of `N_FOLDS` folds.

    One eigendecomposition of each training part serves all numbers of components: with z the coordinates of a row along
    its axes, -2 log p = sum_{i<=k} (z_i^2 / l_i + log l_i) + (|x|^2 - sum_{i<=k} z_i^2) / s + (p - k) log s + p log 2
    pi.
    """
    n = X.shape[0]
    if n < 2 * N_FOLDS:
        raise ValueError(f"PPCA.fit: n_components='cv' needs at least {2 * N_FOLDS} rows for its folds, X has {n}")
    fold = check_random_state(random_state).permutation(n) % N_FOLDS
    parts = list(_folds(X, fold))
    size = min(curve.shape[0] for curve, _ in parts)
    return sum(curve[:size] * rows for curve, rows in parts) / n


def _folds(X: Any, fold: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    xp = array_namespace(X)
    p = X.shape[1]
    for left_out in range(N_FOLDS):
        train, test = (
            cast(xp.take(X, moved(np.flatnonzero(part), X), axis=0), "float64")
            for part in (fold != left_out, fold == left_out)
        )
        n = train.shape[0]
        constant = xp.min(train, axis=0) == xp.max(train, axis=0)
        if xp.all(constant):
            raise ValueError(
                f"PPCA.fit: n_components='cv' needs rows that vary without any fifth; the {n} rows outside fold "
                f"{left_out} are all the same"
            )
        mean = xp.where(constant, train[0, :], xp.mean(train, axis=0))
        train -= mean
        test -= mean
        if n < p:
            _, s, axes = xp.linalg.svd(train, full_matrices=False)
            eigenvalues, axes = s**2 / n, axes.T
        else:
            eigenvalues, axes = xp.linalg.eigh(train.T @ train / n)
            eigenvalues, axes = xp.flip(eigenvalues), xp.flip(axes, axis=1)
        # The rest is of p numbers.
        values, squares = host(eigenvalues), host(xp.mean((test @ axes) ** 2, axis=0))
        whole = float(xp.mean(xp.sum(test**2, axis=1)))
        rank = min(n - 1, p, int((values > 1e-10 * values[0]).sum()))
        values, squares = values[:rank], squares[:rank]
        k = np.arange(rank)  # a component less than there are axes: the noise is the mean of those left out
        noise = (values.sum() - np.append(0, np.cumsum(values))[:rank]) / (p - k)
        kept = np.append(0, np.cumsum(squares / values + np.log(values)))[:rank]
        rest = whole - np.append(0, np.cumsum(squares))[:rank]
        yield -0.5 * (kept + rest / noise + (p - k) * np.log(noise) + p * math.log(2 * math.pi)), test.shape[0]
