"""The record that an autoencoder keeps of its epochs, and when they are to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_LEAST_RATE = 1e-6  # where learning_rate="adaptive" gives up


@dataclass
class Progress:
    """What is known of the epochs of one call, and when it is to end."""

    tol: float
    patience: int
    adaptive: bool
    best: float = np.inf
    stale: int = 0
    kept: np.ndarray | None = field(default=None, repr=False)

    def stop(self, loss: float, rate_factor: np.ndarray, rate: float) -> bool:
        self.stale = 0 if loss < self.best - self.tol else self.stale + 1
        self.best = min(self.best, loss)
        if self.stale < self.patience:
            return False
        if self.adaptive and rate / 5 > _LEAST_RATE:
            rate_factor[0] /= 5
            self.stale = 0
            return False
        return True


class Record:
    """Brings an estimator's `history_` and counters to the epoch that the arrays are of."""

    def __init__(self, estimator: Any, names: tuple[str, ...]) -> None:
        self.estimator, self.names, self.first, self._done = estimator, names, estimator.n_iter_, 0
        before = estimator.history_
        # What earlier passes did not record, or these do not, is NaN there.
        estimator.history_ = {name: list(before.get(name, [np.nan] * self.first)) for name in (*names, *before)}
        self._rows: Callable[[int], list[dict[str, float]]] = lambda done: []
        self._others: Callable[[], None] = lambda: None

    def follow(self, rows: Callable[[int], list[dict[str, float]]], others: Callable[[], None]) -> None:
        """rows(k): what the epochs behind the k-th of this call are recorded with; others(): sets the rest."""
        self._rows, self._others = rows, others

    def catch_up(self) -> None:
        """As often as one likes, and again if it was interrupted."""
        rows = self._rows(self._done)
        for name, values in self.estimator.history_.items():
            values[self.first + self._done :] = [row.get(name, np.nan) for row in rows]
        self._others()
        self._done += len(rows)
        self.estimator.n_iter_ = self.first + self._done

    def last(self) -> dict[str, float]:
        return {name: self.estimator.history_[name][-1] for name in self.names}
