"""Learned arrays may be assigned, and are used from then on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import tolerance
from harmonium import RBM, BernoulliRBM

LEARNED = ["components_", "intercept_hidden_", "intercept_visible_", "visible_offset_", "hidden_offset_", "h_samples_"]
OPTIONS = {"pcd": {}, "cd": {"method": "cd"}, "momentum": {"momentum": 0.5}, "not centred": {"centering": False}}


@pytest.fixture(scope="module")
def digits():
    return (load_digits().data > 7).astype(np.float32)


def make(name, **parameters):
    return RBM(**{"n_components": 130, "batch_size": 48, "n_iter": 3, "random_state": 5, **OPTIONS[name], **parameters})


def read_only(array):
    array.setflags(write=False)
    return array


ASSIGNED = {
    "as it was": lambda W: W,
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "read-only": lambda W: read_only(W.copy()),
    "every other": lambda W: np.repeat(W, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ASSIGNED)
@pytest.mark.parametrize("options", OPTIONS)
def test_assigned_arrays_are_used(digits, options, layout, dtype):
    X = digits[:200]
    rbm, other = make(options).fit(X), make(options, random_state=8).fit(X)
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        array = getattr(other, name).astype(dtype)
        setattr(rbm, name, ASSIGNED[layout](array) if array.ndim == 2 else array)
        setattr(other, name, array.copy())
    for method in ("transform", "score_samples", "free_energy"):
        tolerance.same_bits(getattr(rbm, method)(X), getattr(other, method)(X))
    given = np.array(rbm.components_)
    rbm.set_params(learning_rate=1e-9, weight_decay=0.0, momentum=0.0).partial_fit(X)
    assert rbm.components_.dtype == dtype and rbm.intercept_visible_.dtype == dtype
    tolerance.near_sum(rbm.components_, given.astype(np.float64), 1 + np.abs(given), 1e9 * 200 * 1e-9 + 2, np.float32)
    rbm.set_params(learning_rate=0.1).partial_fit(X)
    assert (rbm.components_ != given).any()


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_training_goes_on_in_the_type_assigned(digits, momentum):
    rbm = make("pcd", momentum=momentum).fit(digits[:100])
    rbm.components_ = rbm.components_.astype(np.float64)
    rbm.partial_fit(digits[:100])
    assert {getattr(rbm, name).dtype for name in LEARNED} == {np.dtype(np.float64)}


@pytest.mark.parametrize("use_first", ["", "sample", "gibbs", "transform"])
@pytest.mark.parametrize("options", ["pcd", "cd"])
def test_a_model_made_of_assigned_arrays_trains_on(digits, options, use_first):
    X = digits[:100]
    rbm = make(options, learning_rate=1e-6)
    W = np.random.default_rng(0).normal(size=(130, 64)).astype(np.float32)
    rbm.components_, rbm.intercept_hidden_, rbm.intercept_visible_ = W.copy(), np.zeros(130), np.zeros(64)
    if use_first == "sample":
        assert rbm.sample(3, n_steps=2).shape == (3, 64)
    elif use_first:
        assert len(getattr(rbm, use_first)(X)) == 100
    rbm.partial_fit(X)
    # Three steps of 1e-6 times a centred gradient, of size at most 4.
    assert 0 < np.abs(rbm.components_ - W).max() < 3 * 4e-6 + 4 * np.finfo(np.float32).eps * np.abs(W).max()


def test_arrays_assigned_before_the_first_pass_are_used(digits):
    X = digits[:100]
    rbm = make("pcd", n_iter=0, learning_rate=1e-6).fit(X)
    W = np.full((130, 64), 0.5, np.float32)
    rbm.components_ = W.copy()
    rbm.partial_fit(X)
    assert np.abs(rbm.components_ - W).max() < 1e-4


@pytest.mark.parametrize(("first", "then"), [("cd", "pcd"), ("pcd", "cd")])
def test_the_method_may_change(digits, first, then):
    X = digits[:200]
    rbm = RBM(n_components=10, method=first, n_iter=2, random_state=0).fit(X)
    before = rbm.score(X)
    for _ in range(5):
        rbm.set_params(method=then).partial_fit(X)
    assert rbm.score(X) > before


def test_hidden_units_may_be_added_by_assignment(digits):
    X = digits[:200]
    rbm = BernoulliRBM(n_components=4, n_iter=2, momentum=0.5, random_state=0).fit(X)
    rbm.components_ = np.vstack([rbm.components_, np.zeros((2, 64), np.float32)])
    rbm.intercept_hidden_ = np.append(rbm.intercept_hidden_, np.zeros(2, np.float32))
    assert rbm.transform(X).shape == (200, 6)
    with pytest.raises(ValueError, match=r"h_samples_|hidden_offset_"):
        rbm.partial_fit(X)


NAN, INF = np.float32(np.nan), np.float32(np.inf)
BAD_ARRAYS = [
    ("components_", np.full((130, 64), NAN), "components_ holds NaN"),
    ("components_", np.zeros((130, 63)), r"components_ is \(130, 63\)"),
    ("components_", np.zeros(64), r"components_ is \(64,\)"),
    ("intercept_hidden_", np.full(130, INF), "intercept_hidden_ holds NaN or infinity"),
    ("intercept_hidden_", np.zeros(64), r"intercept_hidden_ \(64,\)"),
    ("intercept_visible_", np.zeros((64, 1)), r"intercept_visible_ \(64, 1\)"),
]
BAD_STATE = [
    ("h_samples_", np.zeros((48, 129)), "h_samples_"),
    ("h_samples_", np.zeros((48, 131)), "h_samples_"),
    ("h_samples_", np.full((48, 130), 0.5), "h_samples_"),
    ("h_samples_", np.full((48, 130), NAN), "h_samples_.*NaN"),
    ("visible_offset_", np.zeros(63), "visible_offset_"),
    ("visible_offset_", np.full(64, NAN), "visible_offset_"),
    ("hidden_offset_", np.zeros(129), "hidden_offset_"),
    ("hidden_offset_", np.full(130, INF), "hidden_offset_"),
]


@pytest.mark.parametrize(("name", "array", "match"), BAD_ARRAYS + BAD_STATE)
def test_arrays_that_do_not_fit_are_refused_by_name(digits, name, array, match):
    X = digits[:100]
    rbm, same = make("pcd").fit(X), make("pcd").fit(X)
    setattr(rbm, name, array)
    calls = [rbm.partial_fit]
    if name in ("components_", "intercept_hidden_", "intercept_visible_"):
        calls += [rbm.transform, rbm.gibbs, rbm.score_samples, rbm.free_energy, rbm.log_likelihood]
    for call in calls:
        with pytest.raises(ValueError, match=match):
            call(X)
    # Put right, it is as if nothing had been.
    setattr(rbm, name, getattr(same, name).copy())
    rbm.partial_fit(X), same.partial_fit(X)
    for learned in LEARNED:
        tolerance.same_bits(np.ascontiguousarray(getattr(rbm, learned)), np.ascontiguousarray(getattr(same, learned)))


def test_bad_chains_are_refused_by_sample(digits):
    rbm = make("pcd").fit(digits[:100])
    for array, match in ((np.zeros((48, 129)), "h_samples_"), (np.full((48, 130), NAN), "h_samples_.*NaN")):
        rbm.h_samples_ = array
        with pytest.raises(ValueError, match=match):
            rbm.sample(3, n_steps=2)
