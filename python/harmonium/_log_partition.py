"""log Z of an RBM: exactly, or by annealed importance sampling with an error bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _core

MAX_ENUMERATED = 25
PUBLISHED = "salakhutdinov-murray"  # the name of the schedule of 14,501 temperatures

Model = tuple[np.ndarray, np.ndarray, np.ndarray]
Progress = Callable[[float], None] | None


@dataclass(frozen=True)
class LogPartition:
    """The logarithm of a partition function, and how far it can be trusted.

    Attributes
    ----------
    value : float
        log Z, in nats; of a bracket, its middle.
    std_error : float
        Its standard error, on the safe side; 0 where Z was enumerated.
    lower, upper : float
        value -+ 3 std_error. Of a bracket: 3 standard errors below what annealing up from independent units gives, and
        above what annealing down from the model's samples gives, whichever of the two is lower and higher.
    effective_sample_size : float
        (sum w)^2 / sum w^2 of the importance weights w: of n_runs when all runs agree, near 1 when one
        outweighs all others and `std_error` means nothing. Infinity where Z was enumerated; of a bracket, the lesser.
    method : str
        "exact", "ais", "reverse_ais" or "bracket".
    """

    value: float
    std_error: float
    lower: float
    upper: float
    effective_sample_size: float
    method: str


def bracket(up: LogPartition, down: LogPartition) -> LogPartition:
    """AIS errs downwards and reverse AIS upwards: what lies between them, three standard errors beyond each included.

    A sixth of the width stands for the standard error: it is also what the two disagree by, which neither bar knows of.
    """
    lower, upper = min(up.lower, down.lower), max(up.upper, down.upper)
    size = min(up.effective_sample_size, down.effective_sample_size)
    return LogPartition((lower + upper) / 2, (upper - lower) / 6, lower, upper, size, "bracket")


def temperatures(betas: Any, n_betas: int) -> np.ndarray:
    """The schedule of that name, or the temperatures given, or so many in the published proportions."""
    if isinstance(betas, str):
        return schedule(14_501)
    return schedule(n_betas) if betas is None else np.array(betas, dtype=np.float64)


def schedule(n_betas: int) -> np.ndarray:
    """Inverse temperatures from 0 to 1, denser towards 1.

    The proportions of Salakhutdinov and Murray (2008): of 14,500 steps, 500 up to 0.5, 4,000 from there to 0.9
    and 10,000 in the last tenth.
    """
    if n_betas < 4:
        return np.linspace(0.0, 1.0, max(n_betas, 2))
    steps = n_betas - 1
    low = max(1, round(steps * 500 / 14500))
    middle = max(1, round(steps * 4000 / 14500))
    high = steps - low - middle
    return np.concatenate(
        [
            np.linspace(0.0, 0.5, low, endpoint=False),
            np.linspace(0.5, 0.9, middle, endpoint=False),
            np.linspace(0.9, 1.0, high + 1),
        ]
    )


def exact(model: Model, progress: Progress, device: str) -> LogPartition:
    """By summing over all states of the smaller layer."""
    value = _core.rbm_log_partition(*model, progress, device)
    return LogPartition(value, 0.0, value, value, np.inf, "exact")


def annealed(
    model: Model,
    base: np.ndarray,
    betas: np.ndarray,
    n_runs: int,
    seed: int,
    start: np.ndarray | None,
    progress: Progress,
    device: str,
) -> LogPartition:
    """By annealing from the base model, or with `start` (bits drawn from the model) back to it."""
    downwards = start is not None
    steps = betas[::-1].copy() if downwards else betas
    log_w = _core.rbm_anneal(*model, base, steps, start, seed, n_runs, progress, device)
    return estimate(log_w, _core.rbm_base_log_partition(base, model[0].shape[1]), downwards=downwards)


def estimate(log_w: np.ndarray, log_base: float, *, downwards: bool) -> LogPartition:
    """From the logarithms of the runs' weights, and log Z of the base model.

    The error bar is that of the mean of the weights, by the delta method, as if one more run had come out with twice
    the largest weight seen: a weight that one run in n has is missing among n runs in one case of three, and where it
    is, both the mean and the plain error bar are too small.
    """
    top = log_w.max()
    w = np.exp(log_w - top)
    log_ratio = top + np.log(w.mean())
    value = float(log_base + (-log_ratio if downwards else log_ratio))
    seen = np.append(w, 2 * w.max())
    std_error = float(seen.std(ddof=1) / np.sqrt(seen.size) / seen.mean()) if log_w.size > 1 else np.inf
    return LogPartition(
        value,
        std_error,
        value - 3 * std_error,
        value + 3 * std_error,
        float(w.sum() ** 2 / (w**2).sum()),
        "reverse_ais" if downwards else "ais",
    )
