"""The training loop: against the same loop in NumPy, and its promises about seeds, threads and batches."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import threadpoolctl
from sklearn.datasets import load_digits

import tolerance
from harmonium import RBM, _core
from plain_training import NAMES, PlainTraining

LEARNED = [*NAMES, "h_samples_"]


@pytest.fixture(scope="module")
def digits():
    return (load_digits().data > 7).astype(np.float32)


def assert_same_model(a, b, names=LEARNED):
    for name in names:
        tolerance.same_bits(np.ascontiguousarray(getattr(a, name)), np.ascontiguousarray(getattr(b, name)))


# -- the loop, step by step ----------------------------------------------------------------------------------------


LOOPS = {
    "pcd": {},
    "cd": {"method": "cd"},
    "cd-3": {"method": "cd", "n_gibbs_steps": 3},
    "pcd-2, momentum, decay": {"n_gibbs_steps": 2, "momentum": 0.75, "weight_decay": 0.125},
    "linear": {"annealing": "linear"},
    "exponential": {"method": "cd", "annealing": "exponential"},
    "cd, momentum, not centred": {"method": "cd", "momentum": 0.5, "centering": False},
    "one chain": {"n_chains": 1, "centering": False},
    "more chains than rows": {"n_chains": 70},
    "in order": {"shuffle": False},
    "one batch": {"batch_size": 1000, "n_chains": 5},
    "one row a batch": {"batch_size": 1, "n_iter": 1},
    "drawn data": {"draw_data": True},
    "drawn data, cd-2": {"draw_data": True, "method": "cd", "n_gibbs_steps": 2, "n_chains": 5},
    "the last step": {"averaging": None},
    "no annealing": {"annealing": None, "averaging": 0.5},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["binary", "grey", "CSR"])
@pytest.mark.parametrize("loop", LOOPS)
def test_against_the_reference(digits, loop, kind, dtype):
    X = digits[:43, 10:50].astype(dtype)  # the last of three batches has 11 rows
    if kind == "grey":
        X = X * dtype(0.75) + dtype(0.125)
    options = {"batch_size": 16, "n_iter": 2, "learning_rate": 0.25, **LOOPS[loop]}
    rbm = RBM(n_components=70, random_state=3, **options).fit(sp.csr_matrix(X) if kind == "CSR" else X)
    plain = PlainTraining(rbm, X, dtype)
    tolerance.exact(rbm.h_samples_, plain.chains.astype(dtype))
    terms = min(options["batch_size"], 43) + max(len(plain.chains), 16) + 2 * 70 + 20  # as for one rbm_step
    for name, key in NAMES.items():
        tolerance.near_sum(getattr(rbm, name), plain.learned[key].T, plain.magnitude[key].T, terms)


# -- seeds, threads, batches -------------------------------------------------------------------------------------------


OPTIONS = {
    "pcd": {},
    "cd": {"method": "cd"},
    "momentum, decay": {"momentum": 0.5, "weight_decay": 0.01},
    "not centred, k": {"centering": False, "n_gibbs_steps": 3},
    "chains": {"n_chains": 7},
    "drawn data": {"draw_data": True},
    "the last step": {"averaging": None},
}


def make(name, **parameters):
    return RBM(**{"n_components": 130, "batch_size": 48, "n_iter": 3, "random_state": 5, **OPTIONS[name], **parameters})


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_any_number_of_threads_learns_the_same_bits(digits, options, grey):
    X = digits[:300] * 0.5 if grey else digits[:300]
    models = []
    for threads in (1, 2, 3):
        with threadpoolctl.threadpool_limits(threads, user_api="harmonium"):
            assert _core.get_num_threads() == threads
            models.append(make(options).fit(X))
            models[-1].drawn = models[-1].sample(20, n_steps=3), models[-1].score_samples(X)
    for model in models[1:]:
        assert_same_model(models[0], model)
        assert model.history_ == models[0].history_
        for a, b in zip(models[0].drawn, model.drawn, strict=True):
            tolerance.same_bits(a, b)


SCRIPT = """
import sys, numpy as np, threadpoolctl
from sklearn.datasets import load_digits
from harmonium import RBM
threads = [c["num_threads"] for c in threadpoolctl.threadpool_info() if c["user_api"] == "harmonium"]
X = (load_digits().data > 7).astype(np.float32)[:300]
rbm = RBM(130, batch_size=48, n_iter=3, random_state=5).fit(X)
np.savez(sys.argv[1], threads=threads, W=rbm.components_, b=rbm.intercept_visible_, c=rbm.intercept_hidden_)
"""


@pytest.mark.parametrize(
    ("variable", "threads"), [("HARMONIUM_NUM_THREADS", 1), ("HARMONIUM_NUM_THREADS", 3), ("OMP_NUM_THREADS", 2)]
)
def test_threads_from_the_environment(digits, variable, threads, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model.npz")]
    done = subprocess.run(command, env={**environment, variable: str(threads)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rbm = make("pcd").fit(digits[:300])
    with np.load(tmp_path / "model.npz") as model:
        assert list(model["threads"]) == [threads]
        for name, array in (("W", rbm.components_), ("b", rbm.intercept_visible_), ("c", rbm.intercept_hidden_)):
            tolerance.same_bits(model[name], array)


def test_seeds(digits):
    X = digits[:100]
    a = make("pcd", random_state=np.random.RandomState(5)).fit(X)
    assert_same_model(a, make("pcd").fit(X))
    other = make("pcd", random_state=6).fit(X)
    assert (a.components_ != other.components_).any() and (a.h_samples_ != other.h_samples_).any()
    unseeded = make("pcd", random_state=None)
    first = unseeded.fit(X).components_
    assert (first != unseeded.fit(X).components_).any()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_fit_is_so_many_times_partial_fit(digits, options, shuffle):
    X = digits[:200]
    whole = make(options, shuffle=shuffle).fit(X)
    parts = make(options, shuffle=shuffle)
    for _ in range(3):
        parts.partial_fit(X)
    assert_same_model(whole, parts)
    assert whole.history_ == parts.history_ and whole.n_iter_ == parts.n_iter_ == 3
    tolerance.same_bits(whole.sample(5, n_steps=2), parts.sample(5, n_steps=2))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_fit_in_order_is_partial_fit_over_the_batches(digits, options, grey):
    X = digits[:200] * 0.5 if grey else digits[:200]  # the last batch has 8 rows
    whole = make(options, shuffle=False).fit(X)
    parts = make(options, shuffle=False)
    for _ in range(3):
        for first in range(0, 200, 48):
            parts.partial_fit(X[first : first + 48])
    assert_same_model(whole, parts)


def test_the_order_of_the_rows_matters_only_unshuffled_or_shuffled(digits):
    X = digits[:200]
    in_order, shuffled = make("pcd", shuffle=False).fit(X), make("pcd").fit(X)
    assert (in_order.components_ != shuffled.components_).any()
    one_batch = [make("pcd", batch_size=200, shuffle=shuffle).fit(X) for shuffle in (False, True)]
    assert_same_model(*one_batch)


def test_no_passes_leave_the_initial_parameters(digits):
    rbm = make("pcd", n_iter=0).fit(digits[:48])
    assert rbm.n_iter_ == 0 and rbm.history_ == {name: [] for name in rbm.history_}
    # 0 on the side that training is on: there the columns that are mostly 1 are 1 - x.
    mostly_on = rbm.visible_offset_ > 0.5
    mirrored = -rbm.components_[:, mostly_on].astype(np.float64)
    tolerance.near_sum(rbm.intercept_hidden_, mirrored.sum(axis=1), np.abs(mirrored).sum(axis=1), mostly_on.sum())
    assert 0 < np.abs(rbm.components_).max() < 0.01 * np.sqrt(12)
    assert rbm.transform(digits[:5]).shape == (5, 130) and np.isfinite(rbm.score(digits))
    assert_same_model(rbm.partial_fit(digits[:48]), make("pcd", n_iter=1).fit(digits[:48]))


def test_history(digits):
    """One batch: hidden_activity is of the model before the pass, the others after it. Few rows are all scored."""
    X = digits[:30]
    rbm = make("pcd", n_iter=0).fit(X)
    for _ in range(3):
        before = rbm.transform(X).mean(dtype=np.float64)
        rbm.partial_fit(X)
        last = {name: values[-1] for name, values in rbm.history_.items()}
        magnitude = np.array(64 * 64.0)
        tolerance.near_sum(last["pseudo_log_likelihood"], np.array(rbm.score(X)), magnitude, 50, dtype=np.float32)
        tolerance.near_sum(last["hidden_activity"], np.array(before), np.array(1.0), 70, dtype=np.float32)
        rms = np.sqrt((rbm.components_.astype(np.float64) ** 2).mean())
        tolerance.near_sum(last["weight_rms"], np.array(rms), np.array(rms), 64 * 130)


# -- it learns -------------------------------------------------------------------------------------------------------


def mean_log_likelihood(rbm, X):
    return rbm.log_likelihood(X).mean()


@pytest.mark.parametrize("options", OPTIONS)
def test_the_exact_log_likelihood_rises(digits, options):
    rbm = make(options, n_components=16, n_iter=0, learning_rate=0.1).fit(digits)
    independent = digits.mean(axis=0, dtype=np.float64).clip(1e-3, 1 - 1e-3)
    baseline = np.where(digits == 1, np.log(independent), np.log1p(-independent)).sum(axis=1).mean()
    reached = [mean_log_likelihood(rbm, digits)]
    for _ in range(3):
        for _ in range(10):
            rbm.partial_fit(digits)
        reached.append(mean_log_likelihood(rbm, digits))
    assert np.diff(reached).min() > 0, reached
    assert reached[-1] > baseline + 3, (reached, baseline)


@pytest.mark.filterwarnings("ignore:RBM. of 16 hidden units")  # so bad is it without centring
def test_centring_learns_flipped_data_equally_well(digits):
    """Centred, learning from 1 - X is the same as from X, seed by seed; without, it is not."""
    reached = {}
    for centering in (True, False):
        for name, X in (("plain", digits), ("flipped", 1 - digits)):
            rbms = [RBM(16, n_iter=30, batch_size=10, centering=centering, random_state=seed) for seed in range(5)]
            reached[centering, name] = np.array([mean_log_likelihood(rbm.fit(X), X) for rbm in rbms])

    plain, flipped = reached[True, "plain"], reached[True, "flipped"]
    tolerance.near_sum(flipped, plain, np.full(5, 64.0), 64 * 16, dtype=np.float32)
    assert flipped.min() > reached[False, "flipped"].max()


FORMS = {"dense": lambda X: X, "CSR": sp.csr_matrix, "grey": lambda X: 0.9 * X + 0.05}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("more", [{}, {"method": "cd", "momentum": 0.5}, {"l1": 1e-3}, {"draw_data": True}], ids=str)
def test_the_mirror_image_is_learned_from_the_mirror_image(digits, form, more):
    """All columns of 1 - X are the others' mirror images: so is all that is learned from them, in one call or two."""
    rbm = RBM(20, n_iter=2, batch_size=16, random_state=0, **more).fit(FORMS[form](digits[:100].astype(np.float64)))
    image = RBM(20, n_iter=2, batch_size=16, random_state=0, **more)
    X = FORMS[form](1 - digits[:100].astype(np.float64))
    image.partial_fit(X).partial_fit(X)
    W = rbm.components_
    assert 0 < (rbm.visible_offset_ > 0.5).sum() < 64
    tolerance.near_sum(-image.components_, W, np.abs(W) + 1e-3, 100 * 64)
    tolerance.near_sum(-image.intercept_visible_, rbm.intercept_visible_, 1 + np.abs(rbm.intercept_visible_), 100 * 64)
    expected = rbm.intercept_hidden_ + W.sum(axis=1)
    tolerance.near_sum(image.intercept_hidden_, expected, 1 + np.abs(W).sum(axis=1), 100 * 64)
    tolerance.exact(image.h_samples_, rbm.h_samples_)


def test_training_goes_on_from_an_assigned_model_behind_the_mirror(digits):
    """Parameters that are changed between calls are used, not what was kept of them."""
    X = 1 - digits[:100]
    rbm = RBM(20, batch_size=16, random_state=0).partial_fit(X)
    again = RBM(20, batch_size=16, random_state=0).partial_fit(X)
    again.intercept_hidden_ = np.full_like(again.intercept_hidden_, -3)
    rbm.partial_fit(X)
    again.partial_fit(X)
    assert again.transform(X).mean() < 0.5 * rbm.transform(X).mean()


def test_the_mean_of_the_steps_is_the_better_model(digits):
    """Chains that move at a constant rate drive the last step's parameters around; by how much is what is gained."""
    options = {"n_components": 16, "n_iter": 60, "batch_size": 10, "annealing": None}
    for seed in range(3):
        mean = RBM(averaging=3, random_state=seed, **options).fit(digits)
        last = RBM(averaging=None, random_state=seed, **options).fit(digits)
        tolerance.exact(mean.h_samples_, last.h_samples_)  # the training is the same
        assert mean_log_likelihood(mean, digits) > mean_log_likelihood(last, digits) + 0.5


def test_averaging_starts_again_where_the_model_is_not_the_mean(digits):
    """Training goes on from the last step while the model is the steps' mean, and else from the model as it is."""
    X = digits[:300]
    rbm = make("pcd").fit(X)
    weights = rbm.components_.copy()
    rbm.components_ = weights * np.float32(2)
    rbm.set_params(learning_rate=1e-30).partial_fit(X)
    tolerance.exact(rbm.components_, weights * np.float32(2))
    last = make("pcd", averaging=None).fit(X)
    assert not np.array_equal(last.components_, weights)
    switched = make("pcd").fit(X).set_params(averaging=None, learning_rate=1e-30).partial_fit(X)
    tolerance.exact(switched.components_, weights)
    switched.set_params(averaging=3).partial_fit(X)
    tolerance.exact(switched.components_, weights)


def test_drawn_data_give_the_likelihood_of_drawn_data():
    """Means of pixels are no binary image: a model of them is a worse one of the images drawn."""
    grey = (load_digits().data / 16).astype(np.float32)
    drawn = np.random.default_rng(0).random(grey.shape) < grey
    reached = {}
    for draw in (True, False):
        rbms = [RBM(16, n_iter=60, batch_size=10, draw_data=draw, random_state=seed) for seed in range(4)]
        reached[draw] = [mean_log_likelihood(rbm.fit(grey), drawn) for rbm in rbms]
    assert min(reached[True]) > max(reached[False])


@pytest.mark.parametrize(("off", "on"), [(4, 0), (0, 3), (2, 2), (1, 1), (0, 0)])
def test_units_that_never_change_are_told_of(digits, off, on, recwarn):
    rbm = RBM(20, n_iter=0, batch_size=1, random_state=0).fit(digits[:700])
    rbm.intercept_hidden_[:off], rbm.intercept_hidden_[20 - on :] = -50, 50
    rbm.set_params(learning_rate=1e-4).partial_fit(digits[:700])
    said = [str(warning.message) for warning in recwarn]
    if off + on > 2:
        assert len(said) == 1
        assert f"RBM: of 20 hidden units {off} are always off and {on} always on" in said[0]
        assert "smaller learning_rate (now 0.0001)" in said[0]
        assert recwarn.pop(UserWarning).filename == __file__
    else:
        assert not said


def test_momentum_and_decay_do_what_they_say(digits):
    X = digits[:500]
    plain, decayed, faster = (
        make("pcd", n_iter=10, **more).fit(X) for more in ({}, {"weight_decay": 0.1}, {"momentum": 0.9})
    )
    assert decayed.history_["weight_rms"][-1] < 0.9 * plain.history_["weight_rms"][-1]
    assert faster.history_["weight_rms"][-1] > 2 * plain.history_["weight_rms"][-1]
    assert faster.score(X) > plain.score(X)


def test_units_without_weights_are_told_of(digits):
    """A penalty that is larger than the gradient leaves nothing of the weights; activities stay at one half."""
    with pytest.warns(UserWarning, match=r"20 of 20 hidden units have no weight .* l1=0.1"):
        RBM(20, l1=0.1, n_iter=20, random_state=0).fit(digits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RBM(20, n_iter=0, random_state=0).fit(digits)
