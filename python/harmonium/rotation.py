"""Rotations of factor loadings to simple structure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._validation import check_choice, check_flag, check_number

__all__ = ["Rotation", "rotate"]

_POWERS = {"varimax": 1.0, "quartimax": 0.0, "promax": 1.0}  # gamma of the orthomax family


class Rotation(NamedTuple):
    """What `rotate` returns."""

    loadings: Any  # (p, k): loadings of the rotated factors, given loadings @ matrix
    matrix: Any  # (k, k)
    factor_covariance: Any  # (k, k): correlations of the rotated factors; the identity for an orthogonal rotation


def rotate(
    loadings: Any, method: str = "varimax", *, normalize: bool = False, power: float = 4.0, max_iter: int = 1000
) -> Rotation:
    """Rotate loadings; what the factors explain together stays the same, L cov(h) L'.

    varimax and quartimax maximise sum_jr l_jr^4 - (gamma / p) sum_r (sum_j l_jr^2)^2 over orthogonal rotations, gamma =
    1 and 0 (Kaiser, "The varimax criterion for analytic rotation in factor analysis", Psychometrika 23, 1958; Neuhaus,
    Wrigley, BJSP 7, 1954), by polar decompositions of the criterion's gradient (Jennrich, "A simple general procedure
    for orthogonal rotation", Psychometrika 66, 2001). promax then lets the factors correlate: least squares to the
    varimax loadings raised to `power`, signs kept (Hendrickson, White, BJSP 17, 1964).

    Parameters
    ----------
    loadings : array-like of shape (n_features, n_components)
        Of independent factors of variance 1.
    method : {"varimax", "quartimax", "promax"}, default="varimax"
    normalize : bool, default=False
        Rotate rows scaled to length 1, so that all columns of X count alike (Kaiser 1958).
    power : float, default=4.0
        Of promax, greater than 1: the higher, the more the factors may correlate.
    max_iter : int, default=1000

    Returns
    -------
    rotation : Rotation
        `loadings`, `matrix`, `factor_covariance`. Columns keep their order; their largest loading is positive.

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.rotation import rotate
    >>> simple = np.array([[1.0, 0.0], [0.8, 0.0], [0.0, 1.0], [0.0, 0.6]])
    >>> mixed = simple @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    >>> np.sort(np.abs(rotate(mixed).loadings).round(6), axis=1).tolist()
    [[0.0, 1.0], [0.0, 0.8], [0.0, 1.0], [0.0, 0.6]]
    """
    check_choice("rotate", "method", method, tuple(_POWERS))
    check_flag("rotate", "normalize", normalize)
    check_number("rotate", "power", power, (int, float), low=1, open_low=True)
    L = np.asarray(loadings, dtype=np.float64)
    if L.ndim != 2:
        raise ValueError(f"rotate: loadings are {L.shape}, (n_features, n_components) is needed")
    k = L.shape[1]
    if k < 2:
        return Rotation(L.copy(), np.eye(k), np.eye(k))
    lengths = np.sqrt((L**2).sum(axis=1, keepdims=True)) if normalize else np.ones((L.shape[0], 1))
    lengths = np.where(lengths > 0, lengths, 1)
    T = _orthomax(L / lengths, _POWERS[method], max_iter)
    if method == "promax":
        A = L @ T
        U = np.linalg.lstsq(A, A * np.abs(A) ** (power - 1), rcond=None)[0]
        # The factors' covariance, (T'T)^-1, gets ones on its diagonal.
        T = T @ U * np.sqrt(np.diagonal(np.linalg.inv(U.T @ U)))
    rotated = L @ T
    flip = np.where(np.take_along_axis(rotated, np.abs(rotated).argmax(axis=0)[None], axis=0)[0] < 0, -1.0, 1.0)
    T = T * flip
    covariance = np.linalg.inv(T.T @ T) if method == "promax" else np.eye(k)
    return Rotation(L @ T, T, covariance)


def _orthomax(L: Any, gamma: float, max_iter: int) -> Any:
    """The orthogonal T that maximises the criterion of L T."""
    p, k = L.shape
    T = np.eye(k)
    for _ in range(max_iter):
        R = L @ T
        left, _, right = np.linalg.svd(L.T @ (R**3 - (gamma / p) * R * (R**2).sum(axis=0)))
        before, T = T, left @ right
        if float(np.abs(T - before).max()) < 1e-12:
            break
    return T
