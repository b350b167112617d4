"""Where linear factor models break: columns without variance, too few rows, extreme scales, fits that are cut short."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import factor_reference as reference
import tolerance
from harmonium import PPCA, FactorAnalysis

quiet_heywood = pytest.mark.filterwarnings("ignore:.*Heywood case:UserWarning")


def draw(n, p, k, seed):
    return reference.draw_rows(reference.draw_model(p, k, seed), n, seed)


# -- columns without variance ----------------------------------------------------------------------------------------


def constant_column(n):
    """0.1 in column 1: its mean over n rows is not 0.1, so a variance by arithmetic is not 0."""
    X = np.random.default_rng(0).standard_normal((n, 3))
    X[:, 1] = 0.1
    return X


@pytest.mark.parametrize("way", ["rows", "wide", "missing", "partial_fit"])
def test_a_constant_column_is_known_by_its_values(way):
    X = constant_column(1000)
    if way == "wide":
        X = np.hstack([X[:20], np.random.default_rng(1).standard_normal((20, 1100))])
    if way == "missing":
        X[3, :] = np.nan
    with pytest.warns(UserWarning, match=r"\(1\) are constant"):
        if way == "partial_fit":
            fa = FactorAnalysis(1).partial_fit(X[:7]).partial_fit(X[7:])
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*Heywood")
                fa = FactorAnalysis(1, max_iter=2000).fit(X)
    assert fa.heywood_[1]
    tolerance.exact(fa.mean_[1], np.float64(0.1))
    others = np.delete(np.nanvar(X, axis=0), 1).mean()
    tolerance.near_sum(fa.noise_variance_[1], np.float64(1e-8 * others), np.float64(1e-8 * others), X.size)


@pytest.mark.parametrize("shape", [(1000, 3), (20, 1100)], ids=str)
@pytest.mark.parametrize("model", [PPCA(1), FactorAnalysis(1)], ids=["PPCA", "FA"])
def test_rows_all_the_same_are_refused(model, shape):
    X = np.full(shape, 0.1)
    with pytest.raises(ValueError, match=f"all {shape[1]} columns of X are constant"):
        model.fit(X)
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match=f"all {shape[1]} columns of X are constant"):
        model.fit(X)
