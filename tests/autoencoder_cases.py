"""What the tests of autoencoders share: digits, and what it means for two models to be the same."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import tolerance


def grey_digits():
    """300 digits as probabilities, float64, not to be written to."""
    X = load_digits().data[:300] / 16
    X.setflags(write=False)
    return X


def assert_same_model(a, b):
    for name in ("coefs_", "intercepts_"):
        for left, right in zip(getattr(a, name), getattr(b, name), strict=True):
            tolerance.same_bits(np.ascontiguousarray(left), np.ascontiguousarray(right))


class Callback:
    """Calls `act` with the estimator at the end of every epoch."""

    def __init__(self, act):
        self.act = act

    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context):
        return self.act(estimator) if context.task_name == "epoch" else None
