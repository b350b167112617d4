"""log Z of machines with units of any type: by enumeration, in closed form, or by annealing."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp

from . import _core
from ._device import host
from ._log_partition import LogPartition, Progress, estimate
from ._units import TYPES, UnitStates

_CHUNK = 2**18
_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)

UnitModel = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # W, b, c, visible and hidden groups


def enumerable(model: UnitModel) -> tuple[int, bool]:
    """How many states the smaller layer that can be enumerated has (0: none can), and whether it is the hidden one."""
    hidden, visible = (_core.unit_count_states(groups) for groups in (model[4], model[3]))
    by_hidden = bool(hidden) and (not visible or hidden <= visible)
    return (hidden if by_hidden else visible), by_hidden


def of_words(terms: np.ndarray, words: float) -> float:
    """log Z of a bag of so many words from `terms`, which are of one."""
    return float(logsumexp(words * terms))


def is_gaussian(model: UnitModel) -> bool:
    return all(set(groups[:, 0]) == {TYPES["gaussian"]} for groups in model[3:])


def check_proper(who: str, model: UnitModel) -> None:
    """Refuse machines whose exponential has no integral: real units on both sides with too strong weights."""
    real = {TYPES["gaussian"], TYPES["relu"]}
    rows = np.concatenate([np.arange(f, f + n) for t, f, n in model[3] if t in real] or [np.zeros(0, int)])
    if rows.size and set(model[4][:, 0]) & real:
        norm = float(np.linalg.norm(model[0][rows].astype(np.float64), 2))
        if norm >= 1:
            raise ValueError(
                f"{who}: the largest singular value of the weights is {norm:.4g}; with gaussian visible and gaussian "
                "or relu hidden units the joint density is proper below 1 only (there a gaussian one's precision is "
                "positive definite)"
            )


def terms(model: UnitModel, progress: Progress, device: str) -> np.ndarray:
    """-E summed or integrated over one layer, for every state of the other; in double."""
    weights, visible_bias, hidden_bias = (part.astype(np.float64) for part in model[:3])
    count, by_hidden = enumerable(model)
    out = np.empty(count)
    for first in range(0, count, _CHUNK):
        n = min(_CHUNK, count - first)
        own, others = _core.unit_enumerate(
            weights, visible_bias, hidden_bias, model[3], model[4], by_hidden, first, n, None, device
        )
        out[first : first + n] = own + others
        if progress is not None:
            progress((first + n) / count)
    return out


def exact(model: UnitModel, progress: Progress, device: str) -> LogPartition:
    if is_gaussian(model):
        value = _gaussian(model)
    else:
        value = float(logsumexp(terms(model, progress, device)))
    return LogPartition(value, 0.0, value, value, np.inf, "exact")


def _gaussian(model: UnitModel) -> float:
    weights, b, c = (part.astype(np.float64) for part in model[:3])
    precision = np.block([[np.eye(len(b)), -weights], [-weights.T, np.eye(len(c))]])
    natural = np.concatenate([b, c])
    log_det = np.linalg.slogdet(precision)[1]
    quadratic = natural @ np.linalg.solve(precision, natural)
    return float(natural.size * _HALF_LOG_2PI + 0.5 * (quadratic - log_det - natural @ natural))


def _groups(groups: np.ndarray) -> Any:
    return ((kind, slice(first, first + n)) for kind, first, n in groups)


def base_biases(model: UnitModel, means: np.ndarray | None) -> np.ndarray:
    """Of the independent model that annealing starts from: the biases whose means are the data's.

    A model put together by assignment has none: there, those that typical hidden states leave. Its own biases alone
    are the means of one of its modes, and annealing from there may never see the others.
    """
    if means is None:
        typical = np.zeros(len(model[2]))
        for kind, units in _groups(model[4]):
            typical[units] = {TYPES["bernoulli"]: 0.5, TYPES["relu"]: np.sqrt(2 / np.pi)}.get(kind, 0.0)
        return model[1].astype(np.float64) + model[0].astype(np.float64) @ typical
    base = np.array(host(means), dtype=np.float64)
    for kind, units in _groups(model[3]):
        if kind == TYPES["bernoulli"]:
            p = np.clip(base[units], 0.005, 0.995)
            base[units] = np.log(p) - np.log1p(-p)
        elif kind != TYPES["gaussian"]:
            # A tenth of the mean, and of empty bags equal shares: every word can be drawn.
            p = np.maximum(base[units], max(0.1 * base[units].mean(), 1e-30))
            base[units] = np.log(p / p.sum())
    return base


def base_log_partition(model: UnitModel, base: np.ndarray, words: np.ndarray) -> np.ndarray:
    """log Z of that model in natural parameters, for each number of words."""
    visible = np.zeros(len(words))
    for kind, units in _groups(model[3]):
        a = base[units]
        if kind == TYPES["bernoulli"]:
            visible += np.logaddexp(0, a).sum()
        elif kind == TYPES["gaussian"]:
            visible += (0.5 * a**2 + _HALF_LOG_2PI).sum()
        else:
            visible += logsumexp(a) * (words if kind == TYPES["count"] else 1)
    for kind, units in _groups(model[4]):
        n = units.stop - units.start
        visible += (
            n
            * {
                TYPES["bernoulli"]: np.log(2),
                TYPES["gaussian"]: _HALF_LOG_2PI,
                TYPES["relu"]: _HALF_LOG_2PI - np.log(2),
            }[kind]
        )
    return visible


def squares(model: UnitModel, words: np.ndarray) -> np.ndarray:
    """What the energies of gaussian units hold beside their natural parameters."""
    total = np.zeros(len(words))
    for bias, groups, times in ((model[1], model[3], 1), (model[2], model[4], words)):
        for kind, units in _groups(groups):
            if kind == TYPES["gaussian"]:
                total += 0.5 * times * (bias[units].astype(np.float64) ** 2).sum()
    return total


def annealed(
    model: UnitModel,
    base: np.ndarray,
    betas: np.ndarray,
    n_runs: int,
    seed: int,
    start: UnitStates | None,
    words: float,
    progress: Progress,
    device: str = "cpu",
) -> LogPartition:
    """By annealing from the base model, or with `start` back to it; of a bag of so many words."""
    log_w, constants, _ = annealed_runs(model, base, betas, n_runs, seed, start, np.array([words]), progress, device)
    return estimate(log_w[0], float(constants[0]), downwards=start is not None)


def annealed_runs(
    model: UnitModel,
    base: np.ndarray,
    betas: np.ndarray,
    n_runs: int,
    seed: int,
    start: UnitStates | None,
    words: np.ndarray,
    progress: Progress,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bags of each of these sizes: the runs' log weights (sizes, n_runs), log Z of the bases, the last states."""
    steps = betas[::-1].copy() if start is not None else betas
    given = None if start is None else start.states
    exposure = np.repeat(words, n_runs).astype(model[0].dtype) if model[3][0, 0] == TYPES["count"] else None
    log_w, v = _core.unit_anneal(*model, base, steps, given, exposure, seed, n_runs * len(words), progress, device)
    constants = base_log_partition(model, base, words) - squares(model, words)
    return log_w.reshape(len(words), n_runs), constants, v
