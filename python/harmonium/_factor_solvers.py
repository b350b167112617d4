"""Maximum likelihood of linear Gaussian factor models, given the covariance of the data.

The model is x = W h + b + noise, h ~ N(0, I_k), noise ~ N(0, diag(psi)), so x ~ N(b, W W' + diag(psi)). A solver is a
generator of `State`, one an iteration, the log-likelihood in it never lower than the one before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

from ._accelerated_em import accelerated
from ._arrays import (
    TINY,
    array_namespace,
    cholesky,
    count,
    device,
    eye,
    full,
    padded,
    with_diagonal,
    zeros,
)
from ._eigenpairs import FURTHER, Error, LeadingEigenpairs, Operator, small_residuals

_SHRINK, _GROW = 1 / 20, 1.5  # a variance falls to no less than a 20th in one step, and grows by no more than exp(1.5)
_MOST_BOUNDS = 10  # solutions of a step, each with more variances at the ends of their ways
_LARGE = 1e4  # of an eigenvalue
RESIDUAL = 1e-7  # of eigenvectors, of the largest eigenvalue
_MANY = 28  # rows for each vector of a subspace, beyond which products with it cost less than those of rows with rows


class State(NamedTuple):
    """The model after an iteration."""

    weights: Any  # W (p, k)
    noise: Any  # psi (p,)
    mean: Any  # b (p,)
    log_likelihood: float  # of all rows, in nats


class Data(Protocol):
    """The data as a solver sees them."""

    n: int
    variance: Any  # of every column (p,)
    constant: Any  # columns without variance

    def leading(self, noise: Any, k: int, error: Error | None = None) -> tuple[Any, Any]:
        """The k largest eigenvalues of diag(noise)^-1/2 S diag(noise)^-1/2, in falling order, and eigenvectors (p, k);
        `error`: of what is iterated for."""
        ...

    def quadratic(self, weights: Any, noise: Any) -> float:
        """Mean of (x - b)' (W W' + psi)^-1 (x - b) as a sum of positive terms: with h = G (x - b) the posterior mean,
        that of (x - b - W h)' psi^-1 (x - b - W h) + h'h."""
        ...


class Covariance:
    """The data as their covariance S (p, p): an iteration costs p^3 at most, whatever the number of rows."""

    def __init__(self, S: Any, n: int, constant: Any = None) -> None:
        self.S, self.n = S, n
        xp = array_namespace(S)
        self.variance = xp.asarray(xp.linalg.diagonal(S), copy=True)
        self.constant = self.variance < 0 if constant is None else constant
        self._eigenpairs = LeadingEigenpairs()

    def root(self) -> Any:
        """F (p, p) with F'F = S."""
        xp = array_namespace(self.S)
        values, vectors = xp.linalg.eigh(self.S)
        return xp.sqrt(xp.maximum(values, 0.0))[:, None] * vectors.T

    def leading(self, noise: Any, k: int, error: Error | None = None) -> tuple[Any, Any]:
        d = (1 / array_namespace(noise).sqrt(noise))[:, None]
        A = Operator(noise.shape[0], lambda Q: d * ((d * Q).T @ self.S).T, lambda: self.S * d * d[:, 0])
        return self._eigenpairs(A, k, noise, error or small_residuals(k, RESIDUAL))

    def quadratic(self, weights: Any, noise: Any) -> float:
        xp = array_namespace(noise)
        G = posterior_map(weights, noise)
        SG = self.S @ G.T
        R = eye(noise.shape[0], noise) - weights @ G
        return float(xp.sum((R @ self.S) * R, axis=1) @ (1 / noise) + xp.sum(G.T * SG))


class Rows:
    """The data as centred rows, float64 (n, p), fewer than columns or of many columns. An iteration costs n p k or n^2
    p."""

    def __init__(self, centred: Any, constant: Any = None) -> None:
        self.X, self.n = centred, centred.shape[0]
        self.variance = array_namespace(centred).sum(centred**2, axis=0) / self.n
        self.constant = self.variance < 0 if constant is None else constant
        self._eigenpairs = LeadingEigenpairs()

    def root(self) -> Any:
        """F (n, p) with F'F = S."""
        return self.X / math.sqrt(self.n)

    def leading(self, noise: Any, k: int, error: Error | None = None) -> tuple[Any, Any]:
        """As `Data.leading`; of fewer rows than columns from the eigenvectors of the rows' products."""
        xp = array_namespace(noise)
        X, n, p = self.X, self.n, noise.shape[0]
        weight = 1 / (noise[:, None] * n)
        d = xp.sqrt(weight)
        error = error or small_residuals(k, RESIDUAL)

        def whole() -> Any:
            scaled = X * d[:, 0]
            return scaled @ scaled.T if n < p else scaled.T @ scaled

        # Blocks of vectors stand on the left: BLAS is half as fast where the result has few columns.
        if n >= p:
            return self._eigenpairs(Operator(p, lambda Q: d * (((d * Q).T @ X.T) @ X).T, whole), k, noise, error)
        if n > _MANY * (k + FURTHER):
            A = Operator(n, lambda Q: (((Q.T @ X) * weight[:, 0]) @ X.T).T, whole)
        else:
            products = whole()
            A = Operator(n, lambda Q: products @ Q, lambda: products)
        values, left = self._eigenpairs(A, min(k, n), noise, error)
        # Directions of eigenvalue 0 have no image among the columns; they carry no weight either.
        directions = d * (X.T @ (left / xp.sqrt(xp.maximum(values, TINY))))
        missing = k - values.shape[0]
        return padded(values, missing), padded(directions, missing)

    def quadratic(self, weights: Any, noise: Any) -> float:
        xp = array_namespace(noise)
        H = self.X @ posterior_map(weights, noise).T
        residual = self.X - H @ weights.T
        return float(xp.sum(residual**2, axis=0) @ (1 / noise) + xp.sum(H**2)) / self.n


def posterior_map(weights: Any, noise: Any) -> Any:
    """G (k, p), (I + W' psi^-1 W)^-1 W' psi^-1."""
    scaled = weights / noise[:, None]
    identity = eye(weights.shape[1], weights)
    return array_namespace(noise).linalg.solve(identity + scaled.T @ weights, scaled.T)


def canonical(weights: Any, noise: Any) -> Any:
    """W turned so that W' diag(psi)^-1 W is diagonal, in falling order, the largest loading of a column positive.

    The likelihood does not see the turn (Lawley, Maxwell, "Factor analysis as a statistical method", 1971, section
    2.3); with equal noise the columns are principal axes.
    """
    xp = array_namespace(weights)
    _, _, turn = xp.linalg.svd(weights / xp.sqrt(noise)[:, None], full_matrices=False)
    return weights @ turn.T * signs(weights @ turn.T)


def signs(weights: Any) -> Any:
    """+1 or -1 for every column: with it, the entry of the largest size is positive."""
    xp = array_namespace(weights)
    k = weights.shape[1]
    ones = full(k, 1.0, weights)
    if 0 in weights.shape:
        return ones
    where = xp.argmax(xp.abs(weights), axis=0) * k + xp.arange(k, device=device(weights))
    return xp.where(xp.take(xp.reshape(weights, (-1,)), where) < 0, -ones, ones)


# -- factor analysis -------------------------------------------------------------------------------------------------


class _Profile(NamedTuple):
    """The likelihood at one psi, W being the best for it."""

    noise: Any
    objective: float  # -2 / n times the log-likelihood, without p log(2 pi)
    values: Any  # of the scaled covariance, those above 1
    directions: Any
    explained: Any  # diag(W W')


def _profile(data: Data, noise: Any, k: int) -> _Profile:
    """Maximise over W at fixed psi: W = psi^1/2 U (L - 1)^1/2, L and U the k leading eigenpairs of the scaled
    covariance, those above 1 (Lawley, Maxwell 1971, eq. 4.10; Barber, "Bayesian reasoning and machine learning", 2012,
    section 21.2.1)."""
    xp = array_namespace(noise)
    values, directions = data.leading(noise, k)
    used = count(values > 1)  # the first: they fall
    values, directions = values[:used], directions[:, :used]
    explained = noise * (directions**2 @ (values - 1))
    objective = xp.sum(xp.log(noise)) + xp.sum(1 + xp.log(values) - values) + xp.sum(data.variance / noise)
    return _Profile(noise, float(objective), values, directions, explained)


def objective(data: Data, noise: Any, k: int) -> float:
    """-2 / n times the highest log-likelihood with this noise, without p log(2 pi)."""
    return _profile(data, noise, k).objective


def _state(data: Data, at: _Profile, k: int, mean: Any) -> State:
    xp = array_namespace(at.noise)
    p = at.noise.shape[0]
    weights = zeros((p, k), at.noise)
    used = at.values.shape[0]
    weights[:, :used] = xp.sqrt(at.noise)[:, None] * at.directions * xp.sqrt(at.values - 1)
    weights *= signs(weights)
    objective = at.objective
    if used and float(at.values[0]) > _LARGE:
        # Some noise is next to nothing: there 1 + log l - l and S_ii / psi_i cancel, sums of squares do not.
        objective = float(xp.sum(xp.log(at.noise)) + xp.sum(xp.log(at.values))) + data.quadratic(weights, at.noise)
    return State(weights, at.noise, mean, -data.n / 2 * (objective + p * math.log(2 * math.pi)))


def start_noise(data: Data, k: int) -> Any:
    """(1 - k / 2p) / (S^-1)_jj: what the other columns leave of each (Joreskog 1967, eq. 26), or of its variance."""
    p = data.variance.shape[0]
    share = 1 - k / (2 * p)
    if isinstance(data, Covariance) and data.n > p <= 1000:
        xp = array_namespace(data.S)
        root = cholesky(data.S)
        if root is not None:
            return share / xp.sum(xp.linalg.inv(root) ** 2, axis=0)
    return share * data.variance


def fit_noise(data: Data, k: int, noise: Any, floor: Any, mean: Any) -> Iterator[State]:
    """Factor analysis: maximise the likelihood over psi >= floor, W being the best for psi.

    With x = log psi, the gradient of the objective is g_i = 1 - (S_ii - (W W')_ii) / psi_i and, where model and data
    agree, its second derivatives are the elementwise product of I - U U' and A - U L U', A the scaled covariance
    (Joreskog, "Some contributions to maximum likelihood factor analysis", Psychometrika 32, 1967; Clarke, "A rapidly
    convergent method for maximum-likelihood factor analysis", BJMSP 23, 1970). Newton steps with that matrix, which is
    never indefinite, within bounds; where a step has to be cut short, also the step of ECM, psi = diag(S - W W') (Zhao,
    Yu, Jiang, "ML estimation for factor analysis: EM or non-EM?", Statistics and Computing 18, 2008), whichever is
    higher.
    """
    xp = array_namespace(floor)
    at = _profile(data, xp.maximum(noise, floor), k)
    state = _state(data, at, k, mean)
    yield state
    while True:
        gradient = 1 - (data.variance - at.explained) / at.noise
        step = _newton(data, at, gradient, floor)
        new, size = None, 1.0
        for _ in range(12):
            clipped = xp.minimum(size * step, _GROW)
            factor = xp.where(clipped < 0, xp.maximum(1 + clipped, _SHRINK), xp.exp(xp.maximum(clipped, 0.0)))
            trial = _profile(data, xp.maximum(at.noise * factor, floor), k)
            expected = 1e-4 * min(0.0, float(gradient @ xp.log(trial.noise / at.noise)))
            if trial.objective <= at.objective + expected:
                new = trial
                break
            size /= 2
        if new is None or size < 0.2:
            plain = _profile(data, xp.maximum(data.variance - at.explained, floor), k)
            if new is None or plain.objective < new.objective:
                new = plain
        before, at = state, new
        state = _state(data, at, k, mean)
        if not state.log_likelihood >= before.log_likelihood:  # as high as rounding lets it be
            return
        yield state


def _newton(data: Any, at: _Profile, gradient: Any, floor: Any) -> Any:
    """The step s of least g's + s'Hs/2 that takes no variance under its floor, or to less than `_SHRINK` of it, by
    active sets. H says hardly anything of a variance next to 0: free, its huge step would lead the others astray."""
    xp = array_namespace(floor)
    d = 1 / xp.sqrt(at.noise)
    U = at.directions
    H = (data.S * d[:, None] * d - (U * at.values) @ U.T) * (eye(U.shape[0], U) - U @ U.T)
    diagonal = xp.linalg.diagonal(H) * (1 + 1e-8) + 1e-12
    lowest = xp.maximum(floor / at.noise, _SHRINK) - 1
    held = (at.noise <= floor * (1 + 1e-9)) & (gradient > 0)
    bound, ends = held, xp.where(held, 0.0, lowest)
    for _ in range(_MOST_BOUNDS):
        fixed = xp.where(bound, ends, 0.0)
        free = xp.where(bound | bound[:, None], 0.0, H)
        along = xp.where(bound, fixed, -(gradient + H @ fixed))
        step = xp.linalg.solve(with_diagonal(free, xp.where(bound, 1.0, diagonal)), along)
        beyond = ~bound & (step < lowest)
        released = bound & ~held & (gradient + H @ step < 0)
        if not xp.any(beyond | released):
            break
        bound = (bound | beyond) & ~released
    return step


def best_end(
    solve: Callable[[Any], Iterator[State]],
    starts: list[Any],
    doubtful: Callable[[State], bool],
    tol: float,
    limit: int,
) -> Iterator[State]:
    """The states of `solve` from the first start; where their end is `doubtful`, also the ends from the other starts,
    of at most `limit` iterations each, and of these the highest, if it is higher.

    A likelihood has more than one maximum mostly where some noise goes to 0, and which one a solver comes to depends on
    where it begins.
    """
    last = end = None
    for state in solve(starts[0]):
        end = state
        if last is not None and state.log_likelihood - last.log_likelihood < tol:
            break
        yield state
        last = state
    assert end is not None
    best = end
    for start in starts[1:] if doubtful(end) else []:
        before = -math.inf
        for state in islice(solve(start), limit):
            if state.log_likelihood > best.log_likelihood + tol:
                best = state
            if state.log_likelihood - before < tol:
                break
            before = state.log_likelihood
    if best is not last:
        yield best


def fit_noise_by_em(data: Data, k: int, noise: Any, floor: Any, mean: Any) -> Iterator[State]:
    """As `fit_noise` by accelerated ECM alone: for so many columns that a matrix of second derivatives is too much."""

    xp = array_namespace(floor)

    def evaluate(x: Any) -> tuple[float, Any]:
        at = _profile(data, xp.exp(x), k)
        recent[:] = [*recent[-2:], (x, at)]
        return -data.n / 2 * at.objective, xp.log(xp.maximum(data.variance - at.explained, floor))

    lowest = xp.log(floor)
    recent: list[tuple[Any, _Profile]] = []
    best = -math.inf
    start = xp.log(xp.maximum(noise, floor))
    for x, _ in accelerated(start, evaluate, lambda x: xp.maximum(x, lowest), math.inf):
        at = next(profile for point, profile in recent if point is x)
        state = _state(data, at, k, mean)
        if not state.log_likelihood >= best:
            return
        best = state.log_likelihood
        yield state
