"""What is wrong with scikit-learn's BernoulliRBM (1.9) is right here; one test or more for each defect."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import reference
import tolerance
from harmonium import RBM, BernoulliRBM


@pytest.fixture(scope="module")
def digits():
    return (load_digits().data > 7).astype(np.float32)


def coins(rows, columns, seed):
    return (np.random.default_rng(seed).random((rows, columns)) < 0.5).astype(np.float32)


def assert_fair(rbm, batches, chains):
    """Every visible bias is 0 up to the noise of its gradient.

    A step moves a bias by rate (data's mean - model's mean): in the mean by -rate b / 4, with a variance of
    rate^2 / 4 (1 / batch + 1 / chains). Such a walk stays around 0 with variance rate / 2 (1 / batch + 1 / chains).
    """
    variance = rbm.learning_rate / 2 * np.mean([1 / batch + 1 / chains for batch in batches])
    tolerance.statistical(rbm.intercept_visible_ / np.sqrt(variance))


# -- 1: the negative phase was a sum over batch_size chains, divided by the number of rows ----------------------------


def test_partial_fit_of_more_rows_than_batch_size_is_unbiased():
    X = [coins(1000, 5, seed) for seed in range(20)]
    rbm = BernoulliRBM(n_components=2, batch_size=10, random_state=0)
    for call in range(2000):
        assert rbm.partial_fit(X[call % 20]) is rbm
    assert_fair(rbm, [10], 10)


@pytest.mark.parametrize("method", ["cd", "pcd"])
def test_the_short_last_batch_is_unbiased(method):
    X = reference.all_states(4)
    # Batches of 15 and of 1. With a model's mean 15 times too large in the last, the biases would end at -2.7.
    rbm = BernoulliRBM(n_components=2, batch_size=15, n_iter=3000, method=method, random_state=0).fit(X)
    assert_fair(rbm, [15, 1], 15 if method == "pcd" else 1)


@pytest.mark.parametrize("n_chains", [1, 3, 10, 64])
def test_any_number_of_chains_is_unbiased(n_chains):
    X = np.tile(reference.all_states(5), (30, 1))
    rbm = BernoulliRBM(n_components=2, n_chains=n_chains, batch_size=10, n_iter=200, random_state=0).fit(X)
    assert rbm.h_samples_.shape == (n_chains, 2)
    assert_fair(rbm, [10], n_chains)


# -- 2: by default, worse than a model that has learned nothing -----------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("model", [BernoulliRBM, RBM])
def test_two_modes_are_learned_at_the_default_rate(model, seed):
    modes = np.array([[0, 0, 0, 0], [1, 1, 1, 1]])
    X = np.tile(modes, (500, 1))
    rbm = model(n_components=4, n_iter=100, random_state=seed).fit(X)
    log_likelihood = rbm.log_likelihood(modes).mean()
    assert -4 * np.log(2) < log_likelihood < -np.log(2)  # independent coins; the data's own entropy


def test_rows_are_shuffled_by_default():
    """Rows sorted by kind: in their order, the last kind would be all that the model remembers."""
    X = np.repeat(np.eye(4), 500, axis=0)
    rbm, in_order = (
        BernoulliRBM(n_components=4, n_iter=5, averaging=None, shuffle=shuffle, random_state=0).fit(X)
        for shuffle in (BernoulliRBM().shuffle, False)
    )
    rare = [model.log_likelihood(np.eye(4)).min() for model in (rbm, in_order)]
    assert rare[0] > rare[1] + 1
    assert not np.array_equal(rbm.components_, in_order.components_)


# -- 3: score_samples flipped one random unit ----------------------------------------------------------------------


def test_score_samples_draws_nothing(digits):
    rbm = BernoulliRBM(n_components=20, n_iter=2, random_state=0).fit(digits)
    scores = rbm.score_samples(digits)
    tolerance.same_bits(rbm.score_samples(digits), scores)
    assert len(np.unique(rbm.score_samples(np.tile(digits[:1], (50, 1))))) == 1


@pytest.mark.parametrize("grey", [False, True])
def test_score_samples_of_a_row_does_not_depend_on_the_others(digits, grey):
    X = digits[:300] * 0.75 if grey else digits[:300]
    rbm = BernoulliRBM(n_components=20, n_iter=2, random_state=0).fit(digits)
    scores = rbm.score_samples(X)
    order = np.random.default_rng(0).permutation(300)
    # Rows in other company may be summed in another order: 64 log probabilities of sums of 64 terms below 64.
    one_by_one = np.concatenate([rbm.score_samples(x[None]) for x in X])
    for others in (rbm.score_samples(X[order])[order.argsort()], one_by_one):
        tolerance.near_sum(others, scores, np.full(300, 64.0), 64 + 64 + 20, dtype=np.float32)


def test_score_samples_has_no_noise_that_grows_with_the_columns(digits):
    """Independent columns: the score is the sum of theirs, however many there are."""
    rbm = BernoulliRBM()
    rbm.components_ = np.zeros((3, 64))
    rbm.intercept_hidden_ = np.zeros(3)
    rbm.intercept_visible_ = np.linspace(-3, 3, 64)
    x = digits[:100].astype(np.float64)
    terms = x * rbm.intercept_visible_ - np.log1p(np.exp(rbm.intercept_visible_))
    magnitude = 64 * (np.abs(x * rbm.intercept_visible_) + np.log1p(np.exp(3)) + 1).sum(axis=1)
    tolerance.near_sum(rbm.score_samples(x), terms.sum(axis=1), magnitude, 4)


# -- 4: no n_iter_, no free energy, one Gibbs step, any value taken, float32 lost --------------------------------------


def test_n_iter_counts_the_passes(digits):
    rbm = BernoulliRBM(n_components=2, n_iter=3, random_state=0).fit(digits[:50])
    assert rbm.n_iter_ == 3
    assert rbm.partial_fit(digits[:50]).n_iter_ == 4
    assert rbm.fit(digits[:50]).n_iter_ == 3
    assert {len(values) for values in rbm.history_.values()} == {3}


def test_free_energy_and_score_are_public(digits):
    rbm = BernoulliRBM(n_components=5, n_iter=3, random_state=0).fit(digits)
    W, b, c = (a.astype(np.float64) for a in (rbm.components_.T, rbm.intercept_visible_, rbm.intercept_hidden_))
    x = digits[:20].astype(np.float64)
    expected = -(x @ b) - np.logaddexp(0, c + x @ W).sum(axis=1)
    magnitude = x @ abs(b) + (1 + abs(c) + x @ abs(W)).sum(axis=1)
    tolerance.near_sum(rbm.free_energy(digits[:20]), expected, magnitude, 64 + 20, dtype=np.float32)
    assert rbm.score(digits) == rbm.score_samples(digits).mean()


def test_gibbs_takes_many_steps():
    """Two units that are always alike, started apart: the chain forgets its start, and not at once."""
    rbm = BernoulliRBM()
    rbm.components_ = np.array([[6.0, 6.0]])
    rbm.intercept_hidden_, rbm.intercept_visible_ = np.array([-6.0]), np.array([-3.0, -3.0])
    start = np.tile([[1.0, 1.0]], (2_000, 1))
    on = [rbm.gibbs(start, n_steps=k, random_state=0).mean() for k in (1, 10, 1000)]
    # By its symmetry under v -> 1 - v, h -> 1 - h the model has every unit on half of the time.
    tolerance.statistical((on[2] - 0.5) / np.sqrt(0.25 / 2_000))
    assert on[0] > 0.9 > on[1] > 0.55


@pytest.mark.parametrize("value", [-0.001, 1.001, 255.0])
@pytest.mark.parametrize("model", [BernoulliRBM, RBM])
def test_values_outside_the_unit_interval_are_refused(digits, model, value):
    X = digits.copy()
    X[5, 7] = value
    rbm = model(n_components=2, n_iter=1, random_state=0)
    for method in ("fit", "partial_fit", "fit_transform"):
        with pytest.raises(ValueError, match=f"{value:g} in row 5, column 7"):
            getattr(rbm, method)(X)
    rbm.fit(digits)
    for method in ("partial_fit", "transform", "gibbs", "score_samples", "score", "free_energy"):
        with pytest.raises(ValueError, match=f"{value:g} in row 5, column 7"):
            getattr(rbm, method)(X)
    # Scikit-learn's way is there on request.
    assert np.isfinite(rbm.set_params(check_range=False).partial_fit(X[:20]).components_).all()


@pytest.mark.parametrize("first", [np.float32, np.float64])
@pytest.mark.parametrize("then", [np.float32, np.float64, bool])
def test_partial_fit_keeps_its_dtype(digits, first, then):
    rbm = BernoulliRBM(n_components=3, random_state=0).partial_fit(digits[:50].astype(first))
    rbm.partial_fit(digits[50:100].astype(then))
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "h_samples_"):
        assert getattr(rbm, name).dtype == first
    assert rbm.transform(digits[:5].astype(then)).dtype == first
