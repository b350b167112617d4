"""Weights of rows: what two rows are, or none, whatever the units and the method."""

from __future__ import annotations

import numpy as np
import pytest

import tolerance
from harmonium import RBM
from test_unit_training import TRAINED, make, random_data

LEARNED = ["components_", "intercept_visible_", "intercept_hidden_", "visible_offset_", "hidden_offset_"]

pytestmark = pytest.mark.filterwarnings("ignore:.*(standardise X|hidden units).*:UserWarning")


def same_but_for_rounding(a, b, terms=1e4):
    for name in [*LEARNED, "visible_scale_"]:
        actual, expected = getattr(a, name), getattr(b, name)
        tolerance.near_sum(actual, expected, 1 + np.abs(expected), terms)


@pytest.mark.parametrize("kind", TRAINED, ids=str)
def test_rows_of_weight_0_draw_and_count_nothing_in_contrastive_divergence(kind):
    """They stand at the end, so that all other rows draw as without them."""
    X = random_data(kind, 40)
    settings = {"method": "cd", "batch_size": 200, "n_iter": 5}
    without = make(kind, **settings).fit(X, sample_weight=np.r_[2, np.ones(39)])
    weight = np.r_[2, np.ones(39), np.zeros(30)]
    same_but_for_rounding(make(kind, **settings).fit(np.vstack([X, X[:30]]), sample_weight=weight), without)


def test_contrastive_divergence_of_weights_is_that_of_repeated_rows():
    rng = np.random.default_rng(0)
    X = (rng.random((600, 6)) < np.repeat([0.8, 0.2], 300)[:, None]).astype(float)
    weight = np.repeat([3, 1], 300)
    repeated = np.repeat(X, weight, axis=0)
    settings = {"method": "cd", "n_iter": 300, "random_state": 0}
    likelihood = [
        RBM(3, **settings).fit(rows, sample_weight=w).log_likelihood(repeated).mean()
        for rows, w in ((X, weight), (repeated, None))
    ]
    assert abs(likelihood[0] - likelihood[1]) < 0.1, likelihood


@pytest.mark.parametrize("method", ["exact", "pcd"])
def test_weights_of_bags_of_words_of_many_sizes_are_repeated_bags(method):
    rng = np.random.default_rng(0)
    X = np.array([rng.multinomial(n, [0.5, 0.1, 0.1, 0.3]) for n in rng.integers(0, 30, 40)])
    weight = rng.integers(0, 4, 40)
    settings = {"visible": "count", "method": method, "batch_size": 500, "n_iter": 5, "learning_rate": 0.5}
    weighted = RBM(3, random_state=0, **settings).fit(X.astype(float), sample_weight=weight)
    repeated = RBM(3, random_state=0, **settings).fit(np.repeat(X, weight, axis=0).astype(float))
    same_but_for_rounding(weighted, repeated)
    words = np.average(X.sum(axis=1), weights=weight)
    tolerance.exact(weighted.sample(1, random_state=0).sum(), np.float64(round(words)))


@pytest.mark.parametrize("kind", TRAINED, ids=str)
def test_a_first_batch_without_weight_teaches_nothing_but_the_means_of_all_rows_are_known(kind):
    X = random_data(kind, 60)
    weight = np.r_[np.zeros(59), 1.0]
    rbm = make(kind, batch_size=5, shuffle=False, learning_rate=1e-3, n_iter=0).fit(X, sample_weight=weight)
    same_but_for_rounding(rbm, make(kind, batch_size=5, learning_rate=1e-3, n_iter=0).fit(X[-1:]))
    rbm = make(kind, batch_size=5, shuffle=False, learning_rate=1e-3).fit(X, sample_weight=weight)
    assert all(np.isfinite(getattr(rbm, name)).all() for name in LEARNED)
    assert np.isfinite(rbm.history_["reconstruction_error"]).all()


@pytest.mark.parametrize("kind", TRAINED, ids=str)
@pytest.mark.parametrize("weight", [np.ones(60), np.tile([0.3, 1.7, 0], 20), np.tile([1, 2, 0], 20)], ids=str)
def test_the_scale_of_the_weights_changes_nothing(kind, weight):
    X = random_data(kind, 60)
    ours, theirs = (
        make(kind, method="cd", batch_size=25).fit(X, sample_weight=scale * weight) for scale in (1, 1 / 60)
    )
    same_but_for_rounding(ours, theirs)


def test_whole_weights_smooth_the_first_biases_as_repeated_rows_do():
    X = (np.random.default_rng(0).random((40, 6)) < 0.2).astype(float)
    weight = np.r_[np.ones(20), np.full(15, 3), np.zeros(5)]
    settings = {"n_iter": 0, "l1": 1e-12, "batch_size": 500, "random_state": 0}
    weighted = RBM(3, **settings).fit(X, sample_weight=0.1 * weight)
    same_but_for_rounding(weighted, RBM(3, **settings).fit(np.repeat(X, weight.astype(int), axis=0)))
