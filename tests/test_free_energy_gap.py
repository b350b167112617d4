"""The callback that compares free energies of training and held-out rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import tolerance
from harmonium import RBM
from harmonium.callbacks import FreeEnergyGap


@pytest.fixture(scope="module")
def digits():
    return (load_digits().data > 7).astype(np.float64)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, pd.DataFrame, np.ndarray.tolist])
def test_the_gap_is_the_difference_of_log_likelihoods(digits, form):
    """Exactly that of the model after the last epoch, Z being the same for both."""
    train, valid = digits[:100], digits[100:150]
    gap = FreeEnergyGap(form(valid))
    rbm = RBM(10, n_iter=3, random_state=0).set_callbacks(gap).fit(form(train))
    assert len(gap.gap_) == len(gap.train_) == len(gap.valid_) == 3
    difference = rbm.log_likelihood(train).mean() - rbm.log_likelihood(valid).mean()
    tolerance.near_sum(np.array(gap.gap_[-1]), np.array(difference), np.array(64.0), 64 * 100)


def test_overfitting_shows_and_stops_the_fit(digits):
    gap = FreeEnergyGap(digits[30:], stop_above=5.0)
    rbm = RBM(200, n_iter=2000, learning_rate=0.3, random_state=0).set_callbacks(gap).fit(digits[:30])
    assert 2 < rbm.n_iter_ < 2000 and gap.gap_[-1] > 5 >= max(gap.gap_[:-1])


def test_rows_are_taken_evenly_and_anew_in_every_fit(digits):
    gap = FreeEnergyGap(digits[:300], max_rows=50)
    rbm = RBM(5, n_iter=2, random_state=0).set_callbacks(gap).fit(digits)
    rows = np.linspace(0, 299, 50).astype(int)
    tolerance.exact(np.array(gap.valid_[-1]), np.array(rbm.free_energy(digits[rows]).mean()))
    rbm.fit(digits)
    assert len(gap.gap_) == 2


def test_refused():
    with pytest.raises(ValueError, match="max_rows=0"):
        FreeEnergyGap(np.zeros((2, 2)), max_rows=0)
    with pytest.raises(TypeError, match="PCA has no free energy"):
        FreeEnergyGap(np.zeros((2, 2))).setup(PCA(), None)
