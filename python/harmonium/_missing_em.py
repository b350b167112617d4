"""EM for linear Gaussian factor models of data with missing values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ._accelerated_em import accelerated
from ._arrays import (
    EPS,
    array_namespace,
    cast,
    eye,
    first_true,
    full,
    host,
    is_numpy_array,
    largest,
    leading_eigenpairs,
    moved,
    padded,
    zeros,
)
from ._factor_solvers import State
from ._moments import NUMBERS_AT_A_TIME, chunks, constant_columns, pooled, refuse_infinity
from ._posterior import Patterns, centred_chunks, numbers_at_a_time, posterior

_NUMBERS_KEPT = 2**23  # 64 MB


class Observed:
    """Counts, means, variances and constant columns of what is observed, in one pass; `who` begins the messages."""

    def __init__(self, X: Any, who: str) -> None:
        self.X = X
        self._kept: list[tuple[Any, Patterns]] | None = None
        xp = array_namespace(X)
        p = X.shape[1]
        self.count, self.mean, self.variance = zeros(p, X), zeros(p, X), zeros(p, X)
        low, high = full(p, np.inf, X), full(p, -np.inf, X)
        for first, rows in chunks(X):
            refuse_infinity(who, rows, first)
            observed = ~xp.isnan(rows)
            n = xp.sum(cast(observed, "float64"), axis=0)
            mean = xp.sum(xp.where(observed, rows, 0.0), axis=0) / xp.maximum(n, 1.0)
            squares = xp.sum(xp.where(observed, rows - mean, 0.0) ** 2, axis=0)
            # Of columns without any value so far the mean stays 0.
            self.mean, d, weight = pooled(self.count, self.mean, xp.where(self.count + n > 0, n, 1.0), mean)
            self.variance += squares + d * d * weight
            self.count += n
            low = xp.minimum(low, xp.min(xp.where(observed, rows, np.inf), axis=0))
            high = xp.maximum(high, xp.max(xp.where(observed, rows, -np.inf), axis=0))
        if not xp.all(self.count > 0):
            (column,) = first_true(self.count == 0)
            raise ValueError(f"{who}: column {column} has no observed value in {X.shape[0]} rows")
        self.mean = xp.where(low == high, low, self.mean)
        self.variance = xp.where(low == high, 0.0, self.variance / self.count)
        self.constant = constant_columns(low, high, self.variance, self.mean)

    def parts(self, n_numbers: int) -> Iterable[tuple[Any, Patterns]]:
        """Chunks of rows, centred, 0 where missing, with their patterns: kept from the first call on where they are
        few."""
        if self._kept is not None:
            return self._kept
        parts = ((rows, patterns) for _, rows, patterns in centred_chunks(self.X, self.mean, n_numbers))
        if self.X.shape[0] * self.X.shape[1] > _NUMBERS_KEPT:
            return parts
        self._kept = list(parts)
        return self._kept

    def start(self, k: int) -> tuple[Any, Any]:
        """W and psi to begin with: principal axes of the standardised data, 0 in place of what is missing."""
        xp = array_namespace(self.X)
        n, p = self.X.shape
        scale = xp.sqrt(xp.where(self.variance > 0, self.variance, 1.0))
        by_rows = n < p
        if by_rows:
            rows = (cast(self.X, "float64") - self.mean) / scale
            rows = xp.where(xp.isnan(rows), 0.0, rows)
            product = rows @ rows.T
        else:
            product = zeros((p, p), self.X)
            for _, part, _ in centred_chunks(self.X, self.mean, NUMBERS_AT_A_TIME):
                part /= scale
                product += part.T @ part
        values, vectors = leading_eigenpairs(product / n, min(k, n))
        if by_rows:
            vectors = rows.T @ (vectors / xp.sqrt(xp.where(values > 1e-10 * values[:1], n * values, np.inf)))
        # Factors beyond the number of rows have no weight; EM leaves them so.
        values, vectors = (padded(a, k - a.shape[-1]) for a in (values, vectors))
        # Zeros in place of values make the covariance too small, by the share of what is observed squared.
        share = max(float(xp.sum(self.count)) / (n * p), 0.1)
        rest = max((p - float(xp.sum(values))) / max(p - k, 1), 0.05)
        weights = vectors * xp.sqrt(xp.maximum(values - rest, 0.01 * rest)) / share
        explained = xp.sum(weights**2, axis=1)
        weights *= xp.sqrt(0.95 / xp.maximum(explained, 0.95))[:, None]
        return weights * scale[:, None], self.variance * xp.maximum(1 - xp.sum(weights**2, axis=1), 0.05)


def missing_em(data: Observed, k: int, weights: Any, noise: Any, floor: Any, equal_noise: bool) -> Iterator[State]:
    """Maximise the likelihood of what is observed over W, b and psi by exact EM, accelerated.

    E-step: the posterior of every row's factors given its observed part, rows of one pattern sharing its covariance.
    M-step: with h1 = (h, 1), row j of (W, b) solves sum_n E[h1 h1'] w_j = sum_n x_nj E[h1] over the rows n in which
    column j is observed, and psi_j is the mean of E(x_nj - w_j h1)^2 over them, with equal noise over all observed
    entries (Tipping, Bishop 1999, appendix B; Ilin, Raiko, "Practical approaches to principal component analysis in the
    presence of missing values", JMLR 11, 2010, section 3.4). Missing entries are integrated out, not filled in.
    """
    xp = array_namespace(floor)
    p = floor.shape[0]
    scale = xp.sqrt(xp.maximum(data.variance, floor))
    ridge = 1 + 16 * EPS * eye(k + 1, floor)  # a column seen in few rows may make its matrix singular

    def unpack(x: Any) -> tuple[Any, Any, Any]:
        """W and b - data.mean in units of the columns' scale, log psi."""
        W = xp.reshape(x[: p * k], (p, k)) * scale[:, None]
        return W, x[p * k : p * k + p] * scale, xp.exp(xp.minimum(x[p * k + p :], 700.0))

    def pack(W: Any, shift: Any, psi: Any) -> Any:
        return xp.concat([xp.reshape(W / scale[:, None], (-1,)), shift / scale, xp.log(psi)])

    def evaluate(x: Any) -> tuple[float, Any]:
        W, shift, psi = unpack(x)
        log_likelihood, outer, cross, squares = _expectations(data, W, shift, psi)
        outer *= ridge
        solution = xp.linalg.solve(outer, cross[:, :, None])[:, :, 0]
        rest = squares - xp.sum(solution * cross, axis=1)
        new = full(p, float(xp.sum(rest) / xp.sum(data.count)), W) if equal_noise else rest / data.count
        return log_likelihood, pack(solution[:, :k], solution[:, k], xp.maximum(new, floor))

    lowest = xp.log(floor)

    def project(x: Any) -> Any:
        x[p * k + p :] = xp.maximum(x[p * k + p :], lowest)
        return x

    if equal_noise:
        noise = full(p, float(xp.mean(noise)), floor)
    start = pack(weights, zeros(p, floor), xp.maximum(noise, floor))
    slack = 1e4 * EPS * float(xp.sum(data.count)) * (1 + largest(lowest))
    for x, log_likelihood in accelerated(start, evaluate, project, slack):
        W, shift, psi = unpack(x)
        yield State(W, psi, data.mean + shift, log_likelihood)


def _expectations(data: Observed, W: Any, shift: Any, psi: Any) -> tuple[float, Any, Any, Any]:
    """The log-likelihood and, for every column over the rows where it is observed, sum E[h1 h1'], sum x E[h1], sum x^2;
    x is counted from data.mean."""
    xp = array_namespace(W)
    p, k = W.shape
    outer, cross, squares = zeros((p, (k + 1) ** 2), W), zeros((p, k + 1), W), zeros(p, W)
    log_likelihood = 0.0
    # Rows at a time so that the products of their factors fit too.
    numbers = numbers_at_a_time(p, k + 1)
    for rows, patterns in data.parts(numbers):
        observed, index = patterns
        shifted = xp.where(xp.take(observed, index, axis=0), rows - shift, 0.0)
        found = posterior(shifted, patterns, W, psi)
        log_likelihood += float(xp.sum(found.log_density))
        h1 = xp.concat([found.mean, full((rows.shape[0], 1), 1.0, W)], axis=1)
        products = _sum_by_pattern(h1, index, observed.shape[0])
        counts = products[:, k, k]
        products[:, :k, :k] += counts[:, None, None] * found.covariance
        outer += cast(observed, "float64").T @ xp.reshape(products, (-1, (k + 1) ** 2))
        cross += rows.T @ h1
        squares += xp.sum(rows**2, axis=0)
    return log_likelihood, xp.reshape(outer, (p, k + 1, k + 1)), cross, squares


def _sum_by_pattern(h1: Any, index: Any, n_patterns: int) -> Any:
    """sum of h1 h1' over the rows of each pattern."""
    if n_patterns == 1:
        return (h1.T @ h1)[None, :, :]
    index = host(index)
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(n_patterns))
    if is_numpy_array(h1):
        h1 = h1[order]
        return np.add.reduceat(h1[:, :, None] * h1[:, None, :], starts, axis=0)
    return _sums_of_groups(h1, order, starts)


def _sums_of_groups(h1: Any, order: np.ndarray, starts: np.ndarray) -> Any:
    """sum of h1 h1' over groups of rows, those of up to 1, 2, 4, ... rows by one product each: the standard adds up no
    groups. Rows of zeros fill them up."""
    xp = array_namespace(h1)
    n = h1.shape[0]
    sizes = np.diff(np.append(starts, n))
    rows = xp.concat([h1, zeros((1, h1.shape[1]), h1)])
    found, which = [], []
    width = 1
    while width < 2 * sizes.max():
        groups = np.flatnonzero((sizes <= width) & (sizes > width // 2))
        if groups.size:
            inside = np.arange(width) < sizes[groups, None]
            slots = np.where(inside, order[np.minimum(starts[groups, None] + np.arange(width), n - 1)], n)
            block = xp.reshape(xp.take(rows, moved(slots.ravel(), h1), axis=0), (*slots.shape, h1.shape[1]))
            found.append(xp.matrix_transpose(block) @ block)
            which.append(groups)
        width *= 2
    return xp.take(xp.concat(found), moved(np.argsort(np.concatenate(which)), h1), axis=0)
