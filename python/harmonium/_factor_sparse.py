"""CSR input of linear factor models: moments and eigenpairs by sparse products, centred without a dense copy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from ._arrays import TINY, padded
from ._eigenpairs import Error, LeadingEigenpairs, Operator, small_residuals
from ._factor_solvers import RESIDUAL, posterior_map
from ._moments import Moments, chunks, constant_columns

_DENSE = 0.05  # share of entries stored, beyond which dense chunks are multiplied faster
_CANCELS = 1e-3  # of a column's mean square is variance: below, the mean is subtracted from the rows, not from products
_ENTRIES = 2**20  # stored ones of the rows that are multiplied at a time


def refuse_stored(who: str, X: Any) -> None:
    """Raise ValueError with row and column for NaN and infinity: missing values are taken in dense X only."""
    wrong = ~np.isfinite(X.data)
    if wrong.any():
        entry = int(wrong.argmax())
        row = int(np.searchsorted(X.indptr, entry, side="right")) - 1
        name = "NaN" if np.isnan(X.data[entry]) else "infinity"
        also = "; missing values need a dense X" if name == "NaN" else ""
        raise ValueError(f"{who} contains {name} in row {row}, column {int(X.indices[entry])}{also}")


class _Columns:
    """Means, variances and ranges of the columns, zeros included; no square of a mean is subtracted."""

    def __init__(self, X: Any) -> None:
        n, p = X.shape
        values = X.data.astype(np.float64, copy=False)
        stored = np.bincount(X.indices, minlength=p)
        self.low, self.high = (part.toarray().reshape(p).astype(np.float64) for part in (X.min(axis=0), X.max(axis=0)))
        mean = np.bincount(X.indices, values, minlength=p) / n
        self.mean = np.where(self.low == self.high, self.low, mean)
        deviation = values - self.mean[X.indices]
        self.squares = np.bincount(X.indices, deviation**2, minlength=p) + (n - stored) * self.mean**2
        self.constant = constant_columns(self.low, self.high, self.squares / n, self.mean)


def sparse_moments(X: Any, who: str) -> Moments:
    """As `Moments.of`."""
    refuse_stored(who, X)
    n, p = X.shape
    if X.nnz <= _DENSE * n * p:
        columns = _Columns(X)
        product = np.zeros((p, p))
        for first, end in _row_blocks(X):
            rows = X[first:end].astype(np.float64)
            product += (rows.T @ rows).toarray()
        if (columns.constant | (columns.squares >= _CANCELS * np.diagonal(product))).all():
            scatter = product - n * np.outer(columns.mean, columns.mean)
            np.einsum("ii->i", scatter)[...] = columns.squares
            return Moments(n, columns.mean, scatter, columns.low, columns.high)
    moments = Moments.of(X, who)
    assert moments is not None
    return moments


def _row_blocks(X: Any) -> list[tuple[int, int]]:
    """Consecutive rows of so many entries."""
    cuts = np.searchsorted(X.indptr, np.arange(_ENTRIES, X.nnz, _ENTRIES), side="left")
    edges = np.unique(np.concatenate([[0], cuts, [X.shape[0]]])).tolist()
    return list(pairwise(edges))


class SparseRows:
    """The data as CSR rows x, to be counted from their mean m. An iteration costs products with the stored entries."""

    def __init__(self, X: Any) -> None:
        columns = _Columns(X)
        self.X, self.n = X.astype(np.float64, copy=False), X.shape[0]
        self.mean, self.variance, self.constant = columns.mean, columns.squares / self.n, columns.constant
        self._eigenpairs = LeadingEigenpairs()

    def _times(self, B: Any) -> Any:
        """(X - 1 m') B."""
        return self.X @ B - self.mean @ B

    def _back(self, H: Any) -> Any:
        """(X - 1 m')' H."""
        return self.X.T @ H - self.mean[:, None] * H.sum(axis=0)

    def leading(self, noise: Any, k: int, error: Error | None = None) -> tuple[Any, Any]:
        n, p = self.X.shape
        weight = 1 / (noise[:, None] * n)
        d = np.sqrt(weight)
        error = error or small_residuals(k, RESIDUAL)

        def whole() -> Any:
            """Products of the scaled rows with each other, or of the columns, less those of the mean."""
            rows = self.X @ sp.diags(d[:, 0])
            m = self.mean * d[:, 0]
            if n >= p:
                return (rows.T @ rows).toarray() - n * np.outer(m, m)
            along = rows @ m
            return (rows @ rows.T).toarray() - along[:, None] - along + m @ m

        if n >= p:
            A = Operator(p, lambda Q: d * self._back(self._times(d * Q)), whole)
            return self._eigenpairs(A, k, noise, error)
        A = Operator(n, lambda Q: self._times(weight * self._back(Q)), whole)
        values, left = self._eigenpairs(A, min(k, n), noise, error)
        directions = d * self._back(left / np.sqrt(np.maximum(values, TINY)))
        return padded(values, k - values.shape[0]), padded(directions, k - values.shape[0])

    def quadratic(self, weights: Any, noise: Any) -> float:
        G = posterior_map(weights, noise)
        total = 0.0
        for _, rows in chunks(self.X):
            rows -= self.mean
            H = rows @ G.T
            total += float(((rows - H @ weights.T) ** 2).sum(axis=0) @ (1 / noise)) + float((H**2).sum())
        return total / self.n
