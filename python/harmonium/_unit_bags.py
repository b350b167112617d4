"""log Z of bags of words of many sizes: some sizes are annealed, those between are reached from their neighbours.

With t(h) = c.h + log sum_k exp(b_k + W_k h), Z(N) = sum_h exp(N t(h)). So Z(M) = Z(N) E[exp((M - N) t(h))] over the h
of bags of N words. Annealing ends with such h, weighted (Neal 2001, sec. 2); these weights times exp((M - N) t(h))
average to Z(M). They scatter the more the further M is from N, which the error bar sees. From above: log Z(M) is
convex, it lies below the line between two sizes around M.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from . import _core
from ._log_partition import LogPartition, Progress, bracket, estimate, schedule
from ._unit_partition import UnitModel, annealed_runs
from ._units import UnitStates

N_RUNS = 100  # of each size that is annealed
MOST_BETAS, FEWEST_BETAS, SHARED_BETAS = 5000, 1000, 20_000  # of one size; of one among many; of all together
_REACH = 1.1  # between neighbours' sizes: (M - N) t(h) then scatters by a few per cent of what N t(h) does
_MOST_STATES = 2**23  # visible units in all chains of one call

Sample = Callable[[np.ndarray, int, Progress], UnitStates]  # bags of so many words each, drawn with this seed


def annealed_sizes(sizes: np.ndarray) -> np.ndarray:
    """The first, the last, and as few of those between as leave neighbours within reach of one another."""
    chosen = [sizes[0]]
    while chosen[-1] < sizes[-1]:
        near = sizes[(sizes > chosen[-1]) & (sizes <= _REACH * chosen[-1])]
        chosen.append(near[-1] if near.size else sizes[sizes > chosen[-1]][0])
    return np.array(chosen)


def of_sizes(
    model: UnitModel,
    base: np.ndarray,
    sizes: np.ndarray,
    seed: int,
    sample: Sample | None,
    progress: Progress,
    device: str = "cpu",
) -> list[LogPartition]:
    """For each of these sizes, which rise, by annealing; between bounds from both sides where `sample` draws bags."""
    at = annealed_sizes(sizes)
    betas = schedule(max(FEWEST_BETAS, min(MOST_BETAS, SHARED_BETAS // len(at))))
    step = max(1, _MOST_STATES // (N_RUNS * model[0].shape[0]))
    starts = range(0, len(at), step)
    per_call = 1 if sample is None else 3
    runs: list[np.ndarray] = []  # of each call: log weights with log Z of the base, (sizes, n_runs), and t(h)
    per_word: list[np.ndarray] = []
    downs: list[LogPartition] = []

    def part(k: int) -> Progress:
        return None if progress is None else (lambda done: progress((k + done) / (per_call * len(starts))))

    for number, first in enumerate(starts):
        words, k = at[first : first + step], per_call * number
        own = [int(s) for s in np.random.SeedSequence([seed, number]).generate_state(3, np.uint64)]
        log_w, constants, v = annealed_runs(model, base, betas, N_RUNS, own[0], None, words, part(k), device)
        runs.append(log_w + constants[:, None])
        per_word.append(_per_word(model, v, np.repeat(words, N_RUNS), own[1]).reshape(log_w.shape))
        if sample is not None:
            bags = sample(np.repeat(words, N_RUNS), own[2], part(k + 1))
            log_w, constants, _ = annealed_runs(model, base, betas, N_RUNS, own[2], bags, words, part(k + 2), device)
            downs += [estimate(w, float(log_z), downwards=True) for w, log_z in zip(log_w, constants, strict=True)]
    log_z, t = np.concatenate(runs), np.concatenate(per_word)
    ups = []
    for size in sizes:
        near = (size <= _REACH * at) & (at <= _REACH * size)  # at least one: it or a neighbour within reach
        reached = log_z[near] + (size - at[near, None]) * t[near]
        ups.append(estimate(reached.ravel(), 0.0, downwards=False))
    if sample is None:
        return ups
    return [bracket(up, down) for up, down in zip(ups, _between(sizes, at, downs), strict=True)]


def _per_word(model: UnitModel, v: np.ndarray, words: np.ndarray, seed: int) -> np.ndarray:
    """t(h) of hidden states drawn given these bags."""
    weights, b, c = (part.astype(np.float64) for part in model[:3])
    activation = _core.binary_gemm(_core.States.from_dense(v), model[0], False).astype(np.float64)
    _, bits = _core.bernoulli(activation + words[:, None] * c, np.zeros_like(c), 1.0, seed, 0, 0, 0)
    h = _core.States.from_bits(bits, len(c))
    others = logsumexp(_core.binary_gemm(h, weights, True) + b, axis=1)
    return _core.binary_gemm(h, c[:, None], False)[:, 0] + others


def _between(sizes: np.ndarray, at: np.ndarray, found: list[LogPartition]) -> list[LogPartition]:
    """On the lines between the sizes `at`, where something was found: from above, if that is."""
    value, error, upper, effective = (
        np.array([getattr(z, name) for z in found]) for name in ("value", "std_error", "upper", "effective_sample_size")
    )
    out = []
    for size in sizes:
        right = int(np.searchsorted(at, size))
        ends = [right] if at[right] == size else [right - 1, right]
        worst, least = float(error[ends].max()), float(effective[ends].min())
        on_line, above = (float(np.interp(size, at, numbers)) for numbers in (value, upper))
        out.append(LogPartition(on_line, worst, on_line - 3 * worst, above, least, "reverse_ais"))
    return out
