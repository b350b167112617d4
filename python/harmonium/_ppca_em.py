"""Maximum likelihood of probabilistic PCA: its value, and EM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._accelerated_em import accelerated
from ._arrays import EPS, add_to_diagonal, array_namespace, full, moved
from ._factor_solvers import Covariance, Rows, State

_POWERS = 3  # multiplications by S that the start of EM is made with


def ppca_log_likelihood(values: Any, total: float, noise: float, p: int, n: int) -> float:
    """Of n rows whose covariance has these leading eigenvalues and this trace, W being the best for `noise`."""
    xp = array_namespace(values)
    used = values[values > noise]
    k = used.shape[0]
    logarithms = float(xp.sum(xp.log(used))) + (p - k) * math.log(noise)
    return -n / 2 * (p * math.log(2 * math.pi) + logarithms + k + (total - float(xp.sum(used))) / noise)


def ppca_em(data: Covariance | Rows, k: int, floor: float, mean: Any, seed: int) -> Iterator[State]:
    """EM for equal noise, accelerated (Tipping, Bishop, "Probabilistic principal component analysis", JRSS B 61, 1999,
    eqs. 25 to 28).

    With F'F = S, W = U D V' and Z = F U D (D^2 + s2)^-1, the posterior means in the axes V: W <- F'Z (Z'Z + s2 (D^2 +
    s2)^-1)^-1 V', s2 <- the mean of (F - Z W')^2 and of what the posterior's covariance adds. Sums of squares: no trace
    is subtracted from another, so s2 keeps its digits where it is 1e-8 of the variance.
    """
    F = data.root()
    xp = array_namespace(F)
    p = F.shape[1]

    def pack(W: Any, log_noise: float) -> Any:
        return xp.concat([xp.reshape(W, (-1,)), full(1, log_noise, W)])

    def unpack(x: Any) -> tuple[Any, float]:
        return xp.reshape(x[:-1], (p, k)), math.exp(min(float(x[-1]), 700.0))

    def evaluate(x: Any) -> tuple[float, Any]:
        W, s2 = unpack(x)
        U, d, turn = xp.linalg.svd(W, full_matrices=False)
        marginal = d**2 + s2
        Z = (F @ U) * (d / marginal)
        quadratic = float(xp.sum((F - Z @ (U * d).T) ** 2)) / s2 + float(xp.sum(Z**2))
        log_det = (p - k) * math.log(s2) + float(xp.sum(xp.log(marginal)))
        value = -data.n / 2 * (p * math.log(2 * math.pi) + log_det + quadratic)
        spread = s2 / marginal
        new = xp.linalg.solve(add_to_diagonal(Z.T @ Z, spread), Z.T @ F).T
        left = float(xp.sum((F - Z @ new.T) ** 2)) + float(xp.sum(new**2, axis=0) @ spread)
        return value, pack(new @ turn, math.log(max(left / p, floor)))

    def project(x: Any) -> Any:
        x[-1] = max(float(x[-1]), math.log(floor))
        return x

    weights, noise = _start(data, F, k, floor, seed)
    start = pack(weights, math.log(noise))
    slack = 1e4 * EPS * data.n * p * (1 + abs(math.log(noise)))
    for x, value in accelerated(start, evaluate, project, slack):
        W, s2 = unpack(x)
        yield State(W, full(p, s2, W), mean, value)


def _start(data: Covariance | Rows, F: Any, k: int, floor: float, seed: int) -> tuple[Any, float]:
    """W and s2: random directions of the columns' own scale, turned towards the principal axes by multiplications with
    S, and the best lengths and noise for these. From lengths that are all the same EM would take thousands of steps
    where the variances of the axes differ by orders of magnitude."""
    xp = array_namespace(F)
    p = F.shape[1]
    draws = np.random.default_rng(seed).standard_normal((p, k))
    U = moved(draws, F) * xp.sqrt(data.variance)[:, None]
    for _ in range(_POWERS):
        U = xp.linalg.qr(F.T @ (F @ U))[0]
    H = F @ U
    values, turn = xp.linalg.eigh(H.T @ H)
    rest = float(xp.sum((F - H @ U.T) ** 2))
    noise = max(rest / (p - k), floor) if k < p else floor
    # Never 0: EM keeps a column of W that is.
    return (U @ turn) * xp.sqrt(xp.maximum(values - noise, 0.01 * noise)), noise
