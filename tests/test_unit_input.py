"""What users pass to machines with units of any type, and what they get back: forms, types, refusals, first steps."""

from __future__ import annotations

import numpy as np
import pytest

import tolerance
from harmonium import RBM
from unit_machines import Kind, Truth


def assigned(weights, visible_bias, hidden_bias, **parameters):
    """A machine with these components_ (H, D), b and c."""
    rbm = RBM(len(hidden_bias), **parameters)
    rbm.components_ = np.array(weights, dtype=float)
    rbm.intercept_visible_, rbm.intercept_hidden_ = np.array(visible_bias, float), np.array(hidden_bias, float)
    return rbm


# -- draws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clamp", [False, True])
def test_the_first_step_is_independent_of_the_start(clamp):
    """The law of v after one step v -> h -> v from independent draws, of two units (and a third that is clamped)."""
    weights, b, n = [[2.0, 2.0, 0.0]], [-0.5, 0.3, 0.0], 200_000
    rbm = assigned(weights, b, [-2.0], visible=[("bernoulli", 3)])
    truth = Truth(rbm, Kind(rbm.visible, "bernoulli", (("bernoulli", 3),), 1))
    start = np.exp(truth.v @ b) / np.prod(1 + np.exp(b))
    h_given_v, v_given_h = truth.p / truth.p_v[:, None], (truth.p / truth.p_h).T
    law = start @ h_given_v @ v_given_h
    settings = {"clamp": (np.array([False, False, True]), np.zeros(3))} if clamp else {}
    drawn = rbm.sample(n, n_steps=1, random_state=1, **settings)
    found = drawn[:, 0] + 2 * drawn[:, 1]
    expected = np.bincount((truth.v[:, 0] + 2 * truth.v[:, 1]).astype(int), law)
    tolerance.statistical(tolerance.chi_square(np.bincount(found.astype(int), minlength=4), expected))
