"""What linear factor models need of complete data: number of rows, mean and scatter matrix, one chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from ._arrays import EPS, array_namespace, first_true, full, kind, moved, zeros

NUMBERS_AT_A_TIME = 2**19  # of a chunk in float64: 4 MB, so that its copy stays in the cache


def chunks(X: Any, n_numbers: int = NUMBERS_AT_A_TIME) -> Iterator[tuple[int, Any]]:
    """Consecutive rows of X as dense float64 copies, each with the number of its first row."""
    step = max(1, n_numbers // max(1, X.shape[1]))
    xp = array_namespace(X)
    if sp.issparse(X):
        for first in range(0, X.shape[0], step):
            yield first, X[first : first + step].toarray().astype(np.float64, copy=False)
        return
    for first in range(0, X.shape[0], step):
        yield first, xp.astype(X[first : min(first + step, X.shape[0]), :], xp.float64)


def refuse_infinity(who: str, rows: Any, first: int = 0) -> None:
    """Raise ValueError with row and column where `rows`, the chunk from row `first` on, holds infinity."""
    xp = array_namespace(rows)
    infinite = xp.isinf(rows)
    if xp.any(infinite):
        row, column = first_true(infinite)
        raise ValueError(f"{who} contains infinity in row {first + row}, column {column}")


def has_missing(who: str, X: Any) -> bool:
    """Whether X holds NaN; infinity raises ValueError with row and column."""
    if kind(X) != "f":
        return False
    if sp.issparse(X) and np.isfinite(X.data).all():
        return False
    missing = False
    xp = array_namespace(X)
    for first, rows in chunks(X):
        with np.errstate(invalid="ignore", over="ignore"):
            suspect = not xp.isfinite(xp.sum(rows))
        if suspect:
            refuse_infinity(who, rows, first)
            missing |= bool(xp.any(xp.isnan(rows)))
    return missing


def first_missing(X: Any) -> tuple[int, int]:
    """Row and column of the first NaN in X, which holds one."""
    xp = array_namespace(X)
    for first, rows in chunks(X):
        missing = xp.isnan(rows)
        if xp.any(missing):
            row, column = first_true(missing)
            return first + row, column
    raise ValueError("no NaN")


def pooled(n_a: Any, mean_a: Any, n_b: Any, mean_b: Any) -> tuple[Any, Any, Any]:
    """Of two parts of the data, not both without rows: the mean of both, d = mean_b - mean_a, and what d d' is weighed
    with in the scatter of both (Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
    Statistician 37, 1983, eq. 2.1)."""
    total = n_a + n_b
    d = mean_b - mean_a
    return mean_a + d * (n_b / total), d, n_a * n_b / total


def constant_columns(low: Any, high: Any, variance: Any, mean: Any) -> Any:
    """Columns without variance: of one value (its mean over n rows is rounded, so a variance need not come out as 0),
    or no further from it than rounding."""
    return (low >= high) | (variance <= (8 * EPS * mean) ** 2)


class Moments:
    """Sufficient statistics of a Gaussian model, merged without loss of digits.

    mean = sum x / n and scatter = sum (x - mean)(x - mean)', updated chunk by chunk (`pooled`). No square of a mean is
    ever subtracted, so columns far from zero keep their digits. low and high are the least and largest value of every
    column: where they are the same, mean and scatter are exact. Of few rows these may stand for the scatter, centred.
    """

    def __init__(self, n: int, mean: Any, scatter: Any, low: Any, high: Any, centred: Any = None) -> None:
        self.n, self.mean, self._scatter, self.low, self.high, self.centred = n, mean, scatter, low, high, centred
        xp = array_namespace(mean)
        constant = low == high
        if centred is None and xp.any(constant):
            self.mean = xp.where(constant, low, mean)
            self._scatter = xp.where(constant | constant[:, None], 0.0, scatter)

    @property
    def scatter(self) -> Any:
        """Sum of (x - mean)(x - mean)' over the rows."""
        return self._scatter if self.centred is None else self.centred.T @ self.centred

    @classmethod
    def of(cls, X: Any, who: str = "X") -> Moments | None:
        """Of all rows of X; None at the first NaN, ValueError at the first infinity."""
        p = X.shape[1]
        moments = cls(0, zeros(p, X), zeros((p, p), X), full(p, np.inf, X), full(p, -np.inf, X))
        return moments if moments.add(X, who) else None

    def add(self, X: Any, who: str = "X") -> bool:
        """Take in the rows of X. False at the first NaN: the moments are those of the rows before its chunk then."""
        xp = array_namespace(X)
        # Of many columns more rows at a time: a chunk's scatter costs passes over p x p numbers too.
        for first, rows in chunks(X, max(NUMBERS_AT_A_TIME, X.shape[1] ** 2)):
            n = rows.shape[0]
            with np.errstate(invalid="ignore", over="ignore"):
                mean = xp.mean(rows, axis=0)
                if not xp.all(xp.isfinite(mean)):
                    refuse_infinity(who, rows, first)
                    if xp.any(xp.isnan(rows)):
                        return False
                low, high = xp.min(rows, axis=0), xp.max(rows, axis=0)
                rows -= mean
                scatter = rows.T @ rows
            if not xp.all(xp.isfinite(scatter)):
                raise ValueError(f"{who}: the squares of its values overflow; scale X")
            part = Moments(n, mean, scatter, low, high)
            vars(self).update(vars(self.merged(part) if self.n else part))
        return True

    def moved(self, like: Any) -> Moments:
        """In `like`'s library, on its device."""
        parts = (moved(part, like) for part in (self.mean, self.scatter, self.low, self.high))
        return Moments(self.n, *parts)

    def merged(self, other: Moments) -> Moments:
        """Of the rows of both; neither is changed."""
        mean, d, weight = pooled(self.n, self.mean, other.n, other.mean)
        xp = array_namespace(d)
        scatter = self.scatter + other.scatter + d[:, None] * d * weight
        low, high = xp.minimum(self.low, other.low), xp.maximum(self.high, other.high)
        return Moments(self.n + other.n, mean, scatter, low, high)

    @property
    def covariance(self) -> Any:
        """Scatter / n: the maximum likelihood estimate."""
        return self.scatter / self.n

    @property
    def variance(self) -> Any:
        """Of every column (p,)."""
        xp = array_namespace(self.mean)
        squares = xp.linalg.diagonal(self._scatter) if self.centred is None else xp.sum(self.centred**2, axis=0)
        return squares / self.n

    @property
    def constant(self) -> Any:
        """Columns without variance (p,)."""
        return constant_columns(self.low, self.high, self.variance, self.mean)
