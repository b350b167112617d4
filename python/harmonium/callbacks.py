"""Callbacks that watch a fit: given to ``estimator.set_callbacks(...)``, called after every epoch."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp

from ._validation import check_number

__all__ = ["FreeEnergyGap"]


class FreeEnergyGap:
    """The mean free energy of held-out rows minus that of training rows, epoch by epoch, for RBMs.

    Both free energies lack the same log Z, so the gap is the difference of the mean log-likelihoods, exactly and
    without any estimate of Z. While the machine learns what both have in common it stays near zero; when it grows, the
    machine overfits (Hinton 2010, sec. 6).

    Parameters
    ----------
    X_valid : array-like or CSR matrix of shape (n_samples, n_features)
        Rows that are not trained on, of the form that `fit` gets.
    max_rows : int, default=2000
        So many rows of either side are scored, evenly spread.
    stop_above : float or None, default=None
        Stop the fit after an epoch whose gap exceeds this, in nats. None: never.

    Attributes
    ----------
    gap_, train_, valid_ : lists of float, one entry an epoch, in nats
        The gap, and the mean free energies it is the difference of: valid_ - train_.

    References
    ----------
    Hinton, "A practical guide to training restricted Boltzmann machines", 2010, section 6.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from harmonium import RBM
    >>> from harmonium.callbacks import FreeEnergyGap
    >>> X = load_digits().data > 7
    >>> gap = FreeEnergyGap(X[1500:])
    >>> rbm = RBM(20, n_iter=3, random_state=0).set_callbacks(gap).fit(X[:1500])
    >>> len(gap.gap_)
    3
    """

    def __init__(self, X_valid: Any, *, max_rows: int = 2000, stop_above: float | None = None) -> None:
        check_number("FreeEnergyGap", "max_rows", max_rows, Integral, low=1)
        if stop_above is not None:
            check_number("FreeEnergyGap", "stop_above", stop_above, Real, low=-np.inf)
        self.X_valid, self.max_rows, self.stop_above = X_valid, max_rows, stop_above
        self._forget()

    def _forget(self) -> None:
        self.gap_: list[float] = []
        self.train_: list[float] = []
        self.valid_: list[float] = []

    def setup(self, estimator: Any, context: Any) -> None:
        """Called before a fit begins."""
        if not hasattr(estimator, "free_energy"):
            raise TypeError(f"FreeEnergyGap: {type(estimator).__name__} has no free energy; RBMs have")
        self._forget()

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Called when a fit or an epoch begins."""

    def on_fit_task_end(self, estimator: Any, context: Any, *, X: Any = None, fitted_estimator: Any = None) -> bool:
        """Called when an epoch, or the fit, has ended; true stops."""
        if context.task_name != "epoch" or fitted_estimator is None:
            return False
        for scores, rows in ((self.train_, X), (self.valid_, self.X_valid)):
            scores.append(float(np.mean(fitted_estimator.free_energy(self._some(rows)))))
        self.gap_.append(self.valid_[-1] - self.train_[-1])
        return self.stop_above is not None and self.gap_[-1] > self.stop_above

    def teardown(self, estimator: Any, context: Any) -> None:
        """Called when the fit has ended, however it did."""

    def _some(self, X: Any) -> Any:
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        rows = np.unique(np.linspace(0, n - 1, min(n, self.max_rows)).astype(int))
        if hasattr(X, "iloc"):
            return X.iloc[rows]
        return X[rows] if sp.issparse(X) or isinstance(X, np.ndarray) else np.asarray(X)[rows]
