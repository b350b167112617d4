"""The posterior of the factors, and densities, of rows whose missing entries are integrated out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ._arrays import array_namespace, cast, cholesky, device, eye, host, largest
from ._moments import NUMBERS_AT_A_TIME, chunks

_LARGEST_TABLE = 2**22  # numbers in the table of products of weights: 32 MB
_ILL_CONDITIONED = 1e6


class Patterns(NamedTuple):
    """Which entries of which rows are observed, every pattern once."""

    observed: Any  # (u, p) bool
    index: Any  # (n,) int: the pattern of every row


class Posterior(NamedTuple):
    """p(h | observed part of x) of every row, and the density of that part."""

    mean: Any  # (n, k)
    covariance: Any  # (u, k, k), one for every pattern
    log_density: Any  # (n,)


def find_patterns(observed: Any) -> Patterns:
    """Group rows of a mask (n, p) by equality."""
    xp = array_namespace(observed)
    n = observed.shape[0]
    if xp.all(observed):
        return Patterns(observed[:1, :], xp.zeros(n, dtype=xp.int64, device=device(observed)))
    # On the host: the standard has no unique rows, and the mask is a byte an entry.
    packed = np.ascontiguousarray(np.packbits(host(observed), axis=1))
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, *found = np.unique(keys, return_index=True, return_inverse=True)
    first, index = (xp.asarray(part.reshape(-1), device=device(observed)) for part in found)
    return Patterns(xp.take(observed, first, axis=0), index)


def posterior(deviation: Any, patterns: Patterns, weights: Any, noise: Any) -> Posterior:
    """Of rows x - b with 0 in place of what is missing.

    With O the observed columns, M = I + W_O' psi_O^-1 W_O, the posterior of h is N(M^-1 W_O' psi_O^-1 (x_O - b_O),
    M^-1), and log N(x_O; b_O, W_O W_O' + psi_O) follows from log det = sum log psi_O + log det M and the quadratic form
    sum (x_O - b_O - W_O h)^2 / psi_O + h'h at the posterior mean h: sums of squares, from which nothing cancels however
    small psi (Tipping, Bishop 1999, section 3.3 and appendix A; the matrix identities: Woodbury 1950).
    """
    xp = array_namespace(weights)
    observed, index = patterns
    scaled = weights / noise[:, None]
    M = _precisions(observed, weights, scaled)
    covariance, log_det = _inverses(M)
    B = deviation @ scaled
    mean = apply(covariance, index, B)
    if largest(M) > _ILL_CONDITIONED:
        # An explicit inverse loses digits where noise is tiny; a step of refinement brings them back.
        mean = mean + apply(covariance, index, B - apply(M, index, mean))
    residual = deviation - mean @ weights.T
    if observed.shape[0] > 1 or not xp.all(observed):
        residual *= cast(xp.take(observed, index, axis=0), "float64")
    quadratic = (residual**2) @ (1 / noise) + xp.sum(mean**2, axis=1)
    constant = cast(observed, "float64") @ (xp.log(noise) + math.log(2 * math.pi)) + log_det
    return Posterior(mean, covariance, -0.5 * (xp.take(constant, index) + quadratic))


def _precisions(observed: Any, weights: Any, scaled: Any) -> Any:
    """M of every pattern (u, k, k)."""
    xp = array_namespace(weights)
    u, p = observed.shape
    k = weights.shape[1]
    identity = eye(k, weights)
    if u > 4 and p * k * k <= _LARGEST_TABLE:
        table = xp.reshape(scaled[:, :, None] * weights[:, None, :], (p, k * k))
        return identity + xp.reshape(cast(observed, "float64") @ table, (u, k, k))
    rows = [observed[i, :] for i in range(u)]
    return xp.stack([identity + (scaled[row].T @ weights[row]) for row in rows])


def _inverses(M: Any) -> tuple[Any, Any]:
    """Of every matrix in M (u, k, k) the inverse and the logarithm of the determinant."""
    xp = array_namespace(M)
    root = cholesky(M)
    if root is not None:
        inverse = xp.linalg.inv(root)
        log_det = 2 * xp.sum(xp.log(xp.linalg.diagonal(root)), axis=1)
        return xp.matrix_transpose(inverse) @ inverse, log_det
    # Next to 1 / eps the identity in M is lost; its eigenvalues are known to be 1 at least.
    values, vectors = xp.linalg.eigh(M)
    values = xp.maximum(values, 1.0)
    return (vectors / values[:, None, :]) @ xp.matrix_transpose(vectors), xp.sum(xp.log(values), axis=1)


def apply(matrices: Any, index: Any, vectors: Any) -> Any:
    """matrices[index[i]] @ vectors[i] for every row i."""
    if matrices.shape[0] == 1:
        return vectors @ matrices[0, :, :].T
    xp = array_namespace(vectors)
    result = xp.empty_like(vectors)
    step = max(1, NUMBERS_AT_A_TIME // max(1, matrices.shape[1] ** 2))
    for first in range(0, vectors.shape[0], step):
        part = slice(first, min(first + step, vectors.shape[0]))
        result[part, :] = (xp.take(matrices, index[part], axis=0) @ vectors[part, :, None])[:, :, 0]
    return result


def numbers_at_a_time(p: int, k: int) -> int:
    """Of a chunk of X of which every row may have a posterior covariance (k, k) of its own."""
    return max(1, NUMBERS_AT_A_TIME * p // max(p, k * k))


def centred_chunks(X: Any, mean: Any, n_numbers: int) -> Iterator[tuple[slice, Any, Patterns]]:
    """Consecutive rows of X: where they are, x - mean in float64 with 0 where NaN, and their patterns."""
    xp = array_namespace(X)
    for first, rows in chunks(X, n_numbers):
        observed = ~xp.isnan(rows)
        rows -= mean
        if not xp.all(observed):
            rows[~observed] = 0.0
        yield slice(first, first + rows.shape[0]), rows, find_patterns(observed)
