"""What linear factor models need of complete data: number of rows, mean and scatter matrix, one chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

NUMBERS_AT_A_TIME = 2**19  # of a chunk in float64: 4 MB, so that its copy stays in the cache


def chunks(X: Any, n_numbers: int = NUMBERS_AT_A_TIME) -> Iterator[tuple[int, Any]]:
    """Consecutive rows of X as float64 copies, each with the number of its first row."""
    step = max(1, n_numbers // max(1, X.shape[1]))
    for first in range(0, X.shape[0], step):
        yield first, X[first : first + step].astype(np.float64)


def refuse_infinity(who: str, rows: Any, first: int = 0) -> None:
    """Raise ValueError with row and column where `rows`, the chunk from row `first` on, holds infinity."""
    infinite = np.isinf(rows)
    if infinite.any():
        row, column = (int(part[0]) for part in np.nonzero(infinite))
        raise ValueError(f"{who} contains infinity in row {first + row}, column {column}")


def has_missing(who: str, X: Any) -> bool:
    """Whether X holds NaN; infinity raises ValueError with row and column."""
    if X.dtype.kind != "f":
        return False
    missing = False
    for first, rows in chunks(X):
        with np.errstate(invalid="ignore", over="ignore"):
            suspect = not np.isfinite(rows.sum())
        if suspect:
            refuse_infinity(who, rows, first)
            missing |= bool(np.isnan(rows).any())
    return missing


def first_missing(X: Any) -> tuple[int, int]:
    """Row and column of the first NaN in X, which holds one."""
    for first, rows in chunks(X):
        missing = np.isnan(rows)
        if missing.any():
            row, column = (int(part[0]) for part in np.nonzero(missing))
            return first + row, column
    raise ValueError("no NaN")


def pooled(n_a: Any, mean_a: Any, n_b: Any, mean_b: Any) -> tuple[Any, Any, Any]:
    """Of two parts of the data: the mean of both, d = mean_b - mean_a, and what d d' is weighed with in the scatter of
    both (Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American Statistician 37, 1983, eq.
    2.1)."""
    total = np.maximum(n_a + n_b, 1)
    d = mean_b - mean_a
    return mean_a + d * (n_b / total), d, n_a * n_b / total


def constant_columns(low: Any, high: Any, variance: Any, mean: Any) -> Any:
    """Columns without variance: of one value (its mean over n rows is rounded, so a variance need not come out as 0),
    or no further from it than rounding."""
    return (low >= high) | (variance <= (8 * np.finfo(np.float64).eps * mean) ** 2)


class Moments:
    """Sufficient statistics of a Gaussian model, merged without loss of digits.

    mean = sum x / n and scatter = sum (x - mean)(x - mean)', updated chunk by chunk (`pooled`). No square of a mean is
    ever subtracted, so columns far from zero keep their digits. low and high are the least and largest value of every
    column: where they are the same, mean and scatter are exact.
    """

    def __init__(self, n: int, mean: Any, scatter: Any, low: Any, high: Any) -> None:
        self.n, self.mean, self.scatter, self.low, self.high = n, mean, scatter, low, high
        constant = low == high
        if constant.any():
            self.mean = np.where(constant, low, mean)
            self.scatter = np.where(constant | constant[:, None], 0, scatter)

    @classmethod
    def of(cls, X: Any, who: str = "X") -> Moments | None:
        """Of all rows of X; None at the first NaN, ValueError at the first infinity."""
        p = X.shape[1]
        moments = cls(0, np.zeros(p), np.zeros((p, p)), np.full(p, np.inf), np.full(p, -np.inf))
        return moments if moments.add(X, who) else None

    def add(self, X: Any, who: str = "X") -> bool:
        """Take in the rows of X. False at the first NaN: the moments are those of the rows before its chunk then."""
        for first, rows in chunks(X):
            n = rows.shape[0]
            with np.errstate(invalid="ignore", over="ignore"):
                mean = rows.mean(axis=0)
                if not np.isfinite(mean).all():
                    refuse_infinity(who, rows, first)
                    if np.isnan(rows).any():
                        return False
                low, high = rows.min(axis=0), rows.max(axis=0)
                rows -= mean
                scatter = rows.T @ rows
            if not np.isfinite(scatter).all():
                raise ValueError(f"{who}: the squares of its values overflow; scale X")
            part = Moments(n, mean, scatter, low, high)
            vars(self).update(vars(self.merged(part) if self.n else part))
        return True

    def merged(self, other: Moments) -> Moments:
        """Of the rows of both; neither is changed."""
        mean, d, weight = pooled(self.n, self.mean, other.n, other.mean)
        scatter = self.scatter + other.scatter + np.outer(d, d) * weight
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Moments(self.n + other.n, mean, scatter, low, high)

    @property
    def covariance(self) -> Any:
        """Scatter / n: the maximum likelihood estimate."""
        return self.scatter / self.n

    @property
    def constant(self) -> Any:
        """Columns without variance (p,)."""
        return constant_columns(self.low, self.high, np.diagonal(self.scatter) / self.n, self.mean)
