"""Lets test modules and the scripts that they start import what stands beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def same_draws_every_time():
    """What draws without a seed (random_state=None, scikit-learn's checks) draws from NumPy's global generator."""
    np.random.seed(0)  # noqa: NPY002 (what scikit-learn draws from)


@pytest.fixture
def set_threads():
    """A function that sets the number of threads; the environment's is back after the test."""
    from harmonium import _core

    yield _core.set_num_threads
    _core.set_num_threads(0)
