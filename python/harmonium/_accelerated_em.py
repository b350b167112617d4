"""Extrapolation from pairs of EM steps, and what a solver says when it cannot go on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ._arrays import array_namespace, linalg_errors, norm, where_told


class Stalled(Exception):
    """Raised by a solver that has to end before the maximum; the states it gave before are good."""


def accelerated(
    start: Any, evaluate: Callable[[Any], tuple[float, Any]], project: Callable[[Any], Any], slack: float
) -> Iterator[tuple[Any, float]]:
    """Squared extrapolation of an EM algorithm, kept monotone (Varadhan, Roland, "Simple and globally convergent
    methods for accelerating the convergence of any EM algorithm", Scandinavian J. Statistics 35, 2008, scheme S3).

    `evaluate` gives the log-likelihood at a point and the point that an EM step leads to. A pair of steps r, v sets the
    length a = -|r| / |v|; where x - 2 a r + a^2 v is no higher than two plain steps, or cannot be evaluated, these are
    taken. Ends where the log-likelihood no longer grows; where it falls by more than `slack`, what rounding may do, or
    a plain step cannot be evaluated, by `Stalled`.
    """

    def attempt(x: Any) -> tuple[float, Any] | None:
        """`evaluate`, None where a matrix is singular or a number not finite."""
        try:
            with np.errstate(all="ignore"), where_told(x):
                value, image = evaluate(x)
        except linalg_errors():
            return None
        xp = array_namespace(image)
        return (value, image) if math.isfinite(value) and xp.all(xp.isfinite(image)) else None

    x, at = start, attempt(start)
    if at is None:
        raise Stalled("the log-likelihood of the start cannot be computed")
    value, image = at
    yield x, value
    while True:
        first = attempt(image)
        if first is None:
            raise Stalled("rounding errors leave no step that can be computed")
        value_1, image_1 = first
        r = image - x
        v = image_1 - image - r
        curvature = norm(v)
        a = -max(1.0, norm(r) / curvature) if curvature > 0 else -1.0
        trial, new = image_1, None
        if a < -1:
            trial = project(x - 2 * a * r + a * a * v)
            new = attempt(trial)
        if new is None or not new[0] >= value_1:
            trial = image_1
            new = attempt(trial)
        if new is None or not new[0] >= value_1:  # not even the second step: the first alone
            trial, new = image, first
        if not new[0] >= value:  # as high as rounding lets it be
            if new[0] < value - slack:
                raise Stalled(f"rounding errors make a step lower by {value - new[0]:.3g} nats")
            return
        x, (value, image) = trial, new
        yield x, value
