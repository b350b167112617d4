"""Small machines with known parameters, for tests of what is exact."""

from __future__ import annotations

import numpy as np

from harmonium import RBM


def draw_parameters(visible, hidden, scale=1.0, seed=0, dtype=np.float64):
    """W (D, H), b, c: normal, of standard deviation `scale`, in values that `dtype` holds."""
    rng = np.random.default_rng(seed)
    shapes = [(visible, hidden), (visible,), (hidden,)]
    return tuple((scale * rng.standard_normal(shape)).astype(dtype) for shape in shapes)


def machine(W, b, c, **parameters):
    """An RBM put together by assignment."""
    rbm = RBM(n_components=len(c), **parameters)
    rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_ = W.T, b, c
    return rbm


def widened(parameters):
    """The same values in float64."""
    return tuple(part.astype(np.float64) for part in parameters)
