"""EM for linear Gaussian factor models of data with missing values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ._accelerated_em import accelerated
from ._factor_solvers import State, leading_eigenpairs
from ._moments import NUMBERS_AT_A_TIME, chunks, constant_columns, pooled, refuse_infinity
from ._posterior import Patterns, centred_chunks, numbers_at_a_time, posterior

_NUMBERS_KEPT = 2**23  # 64 MB


class Observed:
    """Counts, means, variances and constant columns of what is observed, in one pass; `who` begins the messages."""

    def __init__(self, X: Any, who: str) -> None:
        self.X = X
        self._kept: list[tuple[Any, Patterns]] | None = None
        self.count = np.zeros(X.shape[1])
        self.mean = np.zeros(X.shape[1])
        self.variance = np.zeros(X.shape[1])
        low, high = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
        for first, rows in chunks(X):
            refuse_infinity(who, rows, first)
            observed = ~np.isnan(rows)
            n = observed.sum(axis=0)
            mean = np.where(observed, rows, 0).sum(axis=0) / np.maximum(n, 1)
            squares = (np.where(observed, rows - mean, 0) ** 2).sum(axis=0)
            self.mean, d, weight = pooled(self.count, self.mean, n, mean)
            self.variance += squares + d * d * weight
            self.count += n
            low = np.minimum(low, np.where(observed, rows, np.inf).min(axis=0))
            high = np.maximum(high, np.where(observed, rows, -np.inf).max(axis=0))
        for column in np.flatnonzero(self.count == 0):
            raise ValueError(f"{who}: column {column} has no observed value in {X.shape[0]} rows")
        self.mean = np.where(low == high, low, self.mean)
        self.variance = np.where(low == high, 0, self.variance / self.count)
        self.constant = constant_columns(low, high, self.variance, self.mean)

    def parts(self, n_numbers: int) -> Iterable[tuple[Any, Patterns]]:
        """Chunks of rows, centred, 0 where missing, with their patterns: kept from the first call on where they are
        few."""
        if self._kept is not None:
            return self._kept
        parts = ((rows, patterns) for _, rows, patterns in centred_chunks(self.X, self.mean, n_numbers))
        if self.X.size > _NUMBERS_KEPT:
            return parts
        self._kept = list(parts)
        return self._kept

    def start(self, k: int) -> tuple[Any, Any]:
        """W and psi to begin with: principal axes of the standardised data, 0 in place of what is missing."""
        n, p = self.X.shape
        scale = np.sqrt(np.where(self.variance > 0, self.variance, 1))
        by_rows = n < p
        product = np.zeros((n, n) if by_rows else (p, p))
        if by_rows:
            rows = np.nan_to_num((self.X.astype(np.float64) - self.mean) / scale)
            product = rows @ rows.T
        else:
            for _, rows, _ in centred_chunks(self.X, self.mean, NUMBERS_AT_A_TIME):
                rows /= scale
                product += rows.T @ rows
        values, vectors = leading_eigenpairs(product / n, k)
        if by_rows:
            vectors = rows.T @ (vectors / np.sqrt(np.where(values > 1e-10 * values[:1], n * values, np.inf)))
        # Factors beyond the number of rows have no weight; EM leaves them so.
        values, vectors = (np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, k - a.shape[-1])]) for a in (values, vectors))
        # Zeros in place of values make the covariance too small, by the share of what is observed squared.
        share = max(float(self.count.sum()) / (n * p), 0.1)
        rest = max((p - float(values.sum())) / max(p - k, 1), 0.05)
        weights = vectors * np.sqrt(np.maximum(values - rest, 0.01 * rest)) / share
        explained = (weights**2).sum(axis=1)
        weights *= np.sqrt(0.95 / np.maximum(explained, 0.95))[:, None]
        return weights * scale[:, None], self.variance * np.maximum(1 - (weights**2).sum(axis=1), 0.05)


def missing_em(data: Observed, k: int, weights: Any, noise: Any, floor: Any, equal_noise: bool) -> Iterator[State]:
    """Maximise the likelihood of what is observed over W, b and psi by exact EM, accelerated.

    E-step: the posterior of every row's factors given its observed part, rows of one pattern sharing its covariance.
    M-step: with h1 = (h, 1), row j of (W, b) solves sum_n E[h1 h1'] w_j = sum_n x_nj E[h1] over the rows n in which
    column j is observed, and psi_j is the mean of E(x_nj - w_j h1)^2 over them, with equal noise over all observed
    entries (Tipping, Bishop 1999, appendix B; Ilin, Raiko, "Practical approaches to principal component analysis in the
    presence of missing values", JMLR 11, 2010, section 3.4). Missing entries are integrated out, not filled in.
    """
    p = floor.shape[0]
    scale = np.sqrt(np.maximum(data.variance, floor))

    def unpack(x: Any) -> tuple[Any, Any, Any]:
        """W and b - data.mean in units of the columns' scale, log psi."""
        W = x[: p * k].reshape(p, k) * scale[:, None]
        return W, x[p * k : p * k + p] * scale, np.exp(np.minimum(x[p * k + p :], 700.0))

    def pack(W: Any, shift: Any, psi: Any) -> Any:
        return np.concatenate([(W / scale[:, None]).ravel(), shift / scale, np.log(psi)])

    def evaluate(x: Any) -> tuple[float, Any]:
        W, shift, psi = unpack(x)
        log_likelihood, outer, cross, squares = _expectations(data, W, shift, psi)
        index = np.arange(k + 1)
        outer[:, index, index] *= 1 + 16 * np.finfo(np.float64).eps  # a column seen in few rows may make it singular
        solution = np.linalg.solve(outer, cross[:, :, None])[:, :, 0]
        rest = squares - (solution * cross).sum(axis=1)
        new = np.full(p, rest.sum() / data.count.sum()) if equal_noise else rest / data.count
        return log_likelihood, pack(solution[:, :k], solution[:, k], np.maximum(new, floor))

    lowest = np.log(floor)

    def project(x: Any) -> Any:
        x[p * k + p :] = np.maximum(x[p * k + p :], lowest)
        return x

    if equal_noise:
        noise = np.full(p, noise.mean())
    start = pack(weights, np.zeros(p), np.maximum(noise, floor))
    slack = 1e4 * np.finfo(np.float64).eps * float(data.count.sum()) * (1 + float(np.abs(lowest).max()))
    for x, log_likelihood in accelerated(start, evaluate, project, slack):
        W, shift, psi = unpack(x)
        yield State(W, psi, data.mean + shift, log_likelihood)


def _expectations(data: Observed, W: Any, shift: Any, psi: Any) -> tuple[float, Any, Any, Any]:
    """The log-likelihood and, for every column over the rows where it is observed, sum E[h1 h1'], sum x E[h1], sum x^2;
    x is counted from data.mean."""
    p, k = W.shape
    outer, cross, squares = np.zeros((p, (k + 1) ** 2)), np.zeros((p, k + 1)), np.zeros(p)
    log_likelihood = 0.0
    # Rows at a time so that the products of their factors fit too.
    numbers = numbers_at_a_time(p, k + 1)
    for rows, patterns in data.parts(numbers):
        observed, index = patterns
        found = posterior(rows - shift * observed[index], patterns, W, psi)
        log_likelihood += float(found.log_density.sum())
        h1 = np.concatenate([found.mean, np.ones((rows.shape[0], 1))], axis=1)
        products = _sum_by_pattern(h1, index, observed.shape[0])
        counts = products[:, k, k]
        products[:, :k, :k] += counts[:, None, None] * found.covariance
        outer += observed.astype(np.float64).T @ products.reshape(-1, (k + 1) ** 2)
        cross += rows.T @ h1
        squares += (rows**2).sum(axis=0)
    return log_likelihood, outer.reshape(p, k + 1, k + 1), cross, squares


def _sum_by_pattern(h1: Any, index: Any, n_patterns: int) -> Any:
    """sum of h1 h1' over the rows of each pattern."""
    if n_patterns == 1:
        return (h1.T @ h1)[None]
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(n_patterns))
    h1 = h1[order]
    return np.add.reduceat(h1[:, :, None] * h1[:, None, :], starts, axis=0)
