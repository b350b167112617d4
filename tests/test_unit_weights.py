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
    settings = {"method": "cd", "batch_size": 200, "n_iter": 5, "learn_variance": "gaussian" in dict(kind.blocks)}
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


def test_learned_variances_start_from_weighted_ones_over_all_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3)) * [1, 40, 1e-6] + [0, 0, 1e-3]
    X[:45, 0] = 0  # all of the first batch
    weight = rng.integers(0, 4, 90)
    rbm = RBM(2, visible="gaussian", learn_variance=True, n_iter=0, batch_size=30, shuffle=False)
    tolerance.near_sum(rbm.fit(X).visible_scale_, X.std(axis=0), X.std(axis=0), 1e3)
    expected = np.repeat(X, weight, axis=0).std(axis=0)
    tolerance.near_sum(rbm.fit(X, sample_weight=weight).visible_scale_, expected, expected, 1e3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_variance_of_a_constant_column_stays_1_with_a_warning(dtype):
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(dtype)
    X[:, 1] = 4.2
    X[7, 1] = np.nextafter(dtype(4.2), dtype(5))
    X[8, 1] = 1e3
    rbm = RBM(2, visible="gaussian", learn_variance=True, batch_size=50, random_state=0)
    with pytest.warns(UserWarning, match=r"stays 1: X has the same value in column 1$"):
        rbm.fit(X, sample_weight=np.arange(200) != 8)
    assert rbm.visible_scale_[1] == 1 and (np.abs(rbm.visible_scale_[[0, 2]] - 1) < 0.3).all()
    assert abs(rbm.intercept_visible_[1] - 4.2) < 0.1


@pytest.mark.filterwarnings("error")
def test_rows_of_weight_0_are_not_warned_of():
    X = np.random.default_rng(0).normal(size=(50, 3))
    X[3] = 1e4
    RBM(2, visible="gaussian", n_iter=0).fit(X, sample_weight=np.arange(50) != 3)


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if kind.hidden == "bernoulli"], ids=str)
@pytest.mark.parametrize("settings", [{}, {"sparsity_cost": 0.5, "momentum": 0.5}, {"centering": False}], ids=str)
def test_a_weight_of_2_is_two_rows_and_one_of_0_none(kind, settings):
    """Exact gradients of all rows at once; of real columns with their variances."""
    X = random_data(kind, 50)
    weight = np.random.default_rng(0).integers(0, 3, 50)
    settings = {
        "method": "exact",
        "batch_size": 200,
        "n_iter": 10,
        "learning_rate": 0.1,
        "learn_variance": "gaussian" in dict(kind.blocks),
        **settings,
    }
    weighted = make(kind, **settings).fit(X, sample_weight=weight)
    same_but_for_rounding(weighted, make(kind, **settings).fit(np.repeat(X, weight, axis=0)))
