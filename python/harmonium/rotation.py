"""Rotations of factor loadings to simple structure."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from ._arrays import as_array, host, moved
from ._factor_solvers import signs
from ._validation import check_choice, check_flag, check_number, tell

__all__ = ["Rotation", "rotate"]

_NULL = 1e-10  # of the longest column: shorter ones are rounding errors of 0
_MOST_SKEW = 1e6  # condition of promax's transformation of factors of length 1, beyond which they are dependent
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
        Of independent factors of variance 1. Factors without loadings stay as they are.
    method : {"varimax", "quartimax", "promax"}, default="varimax"
    normalize : bool, default=False
        Rotate rows scaled to length 1, so that all columns of X count alike (Kaiser 1958).
    power : float, default=4.0
        Of promax, greater than 1: the higher, the more the factors may correlate. Where they would become dependent,
        the result is that of varimax, and a warning says so.
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
    check_number("rotate", "max_iter", max_iter, Integral, low=1)
    given = as_array(loadings)
    L = host(given).astype(np.float64)
    if L.ndim != 2:
        raise ValueError(f"rotate: loadings are {L.shape}, (n_features, n_components) is needed")
    if not np.isfinite(L).all():
        row, column = map(int, np.argwhere(~np.isfinite(L))[0])
        raise ValueError(f"rotate: loadings hold {L[row, column]} in row {row}, column {column}")
    rotation, dependent = turned(moved(L, given), method, normalize, power, max_iter)
    if dependent:
        tell(f"rotate: {DEPENDENT}")
    return rotation


DEPENDENT = "promax would make the factors linearly dependent; the rotation is that of varimax"


def turned(
    L: Any, method: str, normalize: bool = False, power: float = 4.0, max_iter: int = 1000
) -> tuple[Rotation, bool]:
    """`rotate` without checks; and whether promax had to be given up.

    On the host: a rotation takes thousands of steps on two columns each, which come and go faster than one of these
    begins on a device.
    """
    given, L = L, host(L)
    rotation, dependent = _turned(L, method, normalize, power, max_iter)
    return Rotation(*(moved(part, given) for part in rotation)), dependent


def _turned(L: np.ndarray, method: str, normalize: bool, power: float, max_iter: int) -> tuple[Rotation, bool]:
    k = L.shape[1]
    matrix, covariance = np.eye(k), np.eye(k)
    lengths = np.sqrt((L**2).sum(axis=0))
    used = np.flatnonzero(lengths > _NULL * lengths.max(initial=0))
    if used.size < 2:
        return Rotation(L.copy(), matrix, covariance), False
    part = np.ix_(used, used)
    matrix[part], covariance[part], dependent = _turn(L[:, used], method, normalize, power, max_iter)
    return Rotation(L @ matrix, matrix, covariance), dependent


def _turn(L: Any, method: str, normalize: bool, power: float, max_iter: int) -> tuple[Any, Any, bool]:
    """The matrix, the covariance of the factors, and whether promax had to be given up."""
    lengths = np.sqrt((L**2).sum(axis=1, keepdims=True)) if normalize else np.ones((L.shape[0], 1))
    lengths = np.where(lengths > 0, lengths, 1)
    T = _orthomax(L / lengths, _POWERS[method], max_iter)
    covariance, dependent = np.eye(L.shape[1]), False
    if method == "promax":
        A = L @ T
        A /= np.abs(A).max()  # powers of it neither overflow nor vanish
        U = np.linalg.lstsq(A, A * np.abs(A) ** (power - 1), rcond=None)[0]
        sizes = np.sqrt((U**2).sum(axis=0))
        dependent = not (sizes > 0).all() or not np.linalg.cond(U / sizes) < _MOST_SKEW
        if not dependent:
            # The factors' covariance, (T'T)^-1, gets ones on its diagonal.
            back = np.linalg.inv(U / sizes)
            lengths = np.sqrt((back**2).sum(axis=1))
            T = T @ (U / sizes) * lengths
            back /= lengths[:, None]
            covariance = back @ back.T
    flip = signs(L @ T)
    if method == "promax" and not dependent:
        covariance = covariance * flip * flip[:, None]
    return T * flip, covariance, dependent


def _orthomax(L: Any, gamma: float, max_iter: int) -> Any:
    """The orthogonal T that maximises the criterion of L T: by polar decompositions of the gradient, all factors at
    once, then pair by pair, for these may turn in circles, or stay where a pair is at the worst angle."""
    p, k = L.shape
    T = np.eye(k)
    for _ in range(max_iter):
        R = L @ T
        left, _, right = np.linalg.svd(L.T @ (R**3 - (gamma / p) * R * (R**2).sum(axis=0)))
        before, T = T, left @ right
        if float(np.abs(T - before).max()) < 1e-12:
            break
    R = L @ T
    for _ in range(max_iter):
        largest = 0.0
        for i in range(k - 1):
            for j in range(i + 1, k):
                angle = _best_angle(R[:, i], R[:, j], gamma)
                if abs(angle) > 1e-9:
                    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
                    R[:, [i, j]] = R[:, [i, j]] @ turn
                    T[:, [i, j]] = T[:, [i, j]] @ turn
                    largest = max(largest, abs(angle))
        if largest == 0:
            break
    return T


def _best_angle(x: Any, y: Any, gamma: float) -> float:
    """Of all turns of two factors the best (Kaiser 1958): with u = x^2 - y^2 and v = 2 x y, tan(4 angle) =
    (2 uv - 2 gamma u v / p) / (u^2 - v^2 - gamma (u^2 - v^2) / p), each product of sums and sum of products."""
    u, v = x**2 - y**2, 2 * x * y
    A, B, share = float(u.sum()), float(v.sum()), gamma / x.shape[0]
    across = 2 * (float(u @ v) - share * A * B)
    along = float(u @ u - v @ v) - share * (A * A - B * B)
    # A criterion that is the same for all angles but for rounding.
    if np.hypot(across, along) <= 1e-12 * float(((x**2 + y**2) ** 2).sum()):
        return 0.0
    return float(np.arctan2(across, along)) / 4
