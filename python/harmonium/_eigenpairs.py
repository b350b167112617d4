"""The leading eigenpairs of large symmetric matrices, of which only products with a few vectors are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._arrays import array_namespace, cholesky, leading_eigenpairs, moved

# Of eigenvalues and of the norms of their vectors' residuals: an error in units of what is allowed.
Error = Callable[[Any, Any], float]

# Of Krylov subspaces: vectors beyond those asked for; numbers of blocks after which to look; the share of all
# dimensions up to which they grow.
FURTHER, _LOOK, _MOST = 5, (2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48), 1 / 2
# Times the vectors: of fewer dimensions LAPACK is faster, where subspaces begin anew and where they begin near.
SMALL, _SMALL_AGAIN = 24, 8
_SKEW = 1e-5  # of the diagonal of a Cholesky factor: below, its block is turned by Householder's reflections


class Operator(NamedTuple):
    """A symmetric positive semi-definite matrix by its products with blocks of vectors, or as a whole."""

    size: int
    times: Callable[[Any], Any]
    whole: Callable[[], Any]


class LeadingEigenpairs:
    """Of one operator after another, each little different from the one before, the k largest eigenvalues in falling
    order and their eigenvectors: by block Krylov subspaces that begin with the last ones (Golub, Van Loan, "Matrix
    computations", 2013, section 10.3.6) and grow until the `error` is at most 1, else by LAPACK.

    A Ritz value is the Rayleigh quotient of its vector: what a likelihood makes of them is that of a model, and no more
    than that of the eigenpairs.
    """

    def __init__(self) -> None:
        self._last: Any = None

    def __call__(self, A: Operator, k: int, like: Any, error: Error) -> tuple[Any, Any]:
        xp = array_namespace(like)
        more = k + FURTHER
        near = self._last is not None and self._last.shape == (A.size, more)
        if k == 0 or A.size < (_SMALL_AGAIN if near else SMALL) * more:
            return self._whole(A, k, more)
        start = self._last if near else moved(np.random.default_rng(0).standard_normal((A.size, more)), like)
        Q = xp.linalg.qr(start)[0]
        V, AV = Q, A.times(Q)
        most, before = int(_MOST * A.size / more), (0, math.inf)
        for blocks in range(1, most + 1):
            if blocks in _LOOK:
                values, turn = leading_eigenpairs(V.T @ AV, more)
                vectors = V @ turn
                residuals = xp.linalg.vector_norm(AV @ turn - vectors * values, axis=0)
                now = error(values, residuals)
                if now <= 1:
                    self._last = vectors
                    return values[:k], vectors[:, :k]
                # It falls faster and faster: twice the blocks that this rate would take are let be.
                rate = math.log(max(before[1] / now, 1 + 1e-9)) / (blocks - before[0])
                if blocks > 3 and blocks + math.log(now) / rate > 2 * most:
                    break
                before = blocks, now
            Q = AV[:, -more:]
            for _ in range(2):  # twice is enough: what is left along V is rounding errors
                Q = orthonormal(Q - V @ (V.T @ Q))
            V, AV = xp.concat([V, Q], axis=1), xp.concat([AV, A.times(Q)], axis=1)
        return self._whole(A, k, more)

    def _whole(self, A: Operator, k: int, more: int) -> tuple[Any, Any]:
        some = more if 0 < k and more <= A.size else k
        values, vectors = leading_eigenpairs(A.whole(), some)
        self._last = vectors
        return values[:k], vectors[:, :k]


def orthonormal(B: Any) -> Any:
    """An orthonormal basis of B's columns, and of something else where they are dependent.

    By a Cholesky factor of B'B, three times as fast as by reflections; called again on its result it is as orthogonal
    (Yamamoto and others, "Roundoff error analysis of the CholeskyQR2 algorithm", ETNA 44, 2015).
    """
    xp = array_namespace(B)
    root = cholesky(B.T @ B)
    if root is not None:
        diagonal = xp.linalg.diagonal(root)
        if float(xp.min(diagonal)) > _SKEW * float(xp.max(diagonal)):
            return B @ xp.linalg.inv(root).T
    return xp.linalg.qr(B)[0]


def small_residuals(k: int, share: float) -> Error:
    """1 where the first k residuals are at most this share of the largest eigenvalue: the error of an eigenvalue is the
    residual's square, over the distance to the next, the error of a vector the residual over the distance."""

    def error(values: Any, residuals: Any) -> float:
        return float(array_namespace(values).max(residuals[:k])) / (share * float(values[0]))

    return error
