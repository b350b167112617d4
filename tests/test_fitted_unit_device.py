"""RBMs with units of any type on a GPU, or on the emulated one, against the same on the CPU: the same draws.

How bernoulli machines do is in test_rbm_device.py.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tolerance
from device_arrays import device_under_test
from harmonium import RBM, RBMClassifier, _core
from harmonium._device import is_on_gpu
from unit_machines import KINDS, machine

needs_gpu = pytest.mark.skipif(not _core.cuda_available(), reason=f"GPU {_core.cuda_status()}")
LEARNED = ("components_", "intercept_visible_", "intercept_hidden_")
ROWS = 5


@pytest.fixture
def gpu(request):
    return device_under_test("cuda", request.config.getoption("--require-gpu"))


def rows_of(rbm, kind):
    words = {"n_words": np.arange(ROWS)} if kind.visible == "count" else {}
    return rbm.sample(ROWS, n_steps=2, random_state=0, **words)


def near(actual, expected, dtype):
    """Of a model of this type, at most 20 times sums of 9 terms below 10 in another order; draws of few values are the
    same."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if (expected == np.round(expected)).all():
        tolerance.exact(actual, expected)
    else:
        tolerance.near_sum(actual, expected, 10 + np.abs(expected), 20 * 9, dtype=dtype)


def calls_of(rbm, X, kind):
    """Every method that computes on a GPU, of that machine and rows in its place."""
    counts = kind.visible == "count"
    words = {"n_words": 3} if counts else {}
    H = rbm.transform(X)
    yield lambda m, move: m.transform(move(X))
    yield lambda m, move: m.inverse_transform(move(H))
    yield lambda m, move: m.free_energy(move(X))
    yield lambda m, move: m.score_samples(move(X))
    yield lambda m, move: m.gibbs(move(X), 3, random_state=1)
    yield lambda m, move: m.sample(ROWS, n_steps=3, random_state=1, **words)
    yield lambda m, move: m.sample(ROWS, n_steps=2, init=move(X), random_state=1)
    yield lambda m, move: m.sample(ROWS, n_steps=4, sampler="annealed", random_state=1, **words)
    if not counts:
        mask = np.arange(X.shape[1]) % 2 == 0
        yield lambda m, move: m.sample(ROWS, n_steps=3, clamp=(move(mask), move(X)), random_state=1)
    if kind.hidden == "bernoulli" and not counts:
        yield lambda m, move: m.sample(ROWS, n_steps=4, sampler="pt", random_state=1)


@needs_gpu
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_machines_of_any_units_draw_and_score_what_the_cpu_does(kind):
    dtype = (np.float32, np.float64)[KINDS.index(kind) % 2]
    cpu, gpu = (machine(kind, dtype=dtype).set_params(device=device) for device in ("cpu", "cuda"))
    X = rows_of(cpu, kind)
    for call in calls_of(cpu, X, kind):
        near(call(gpu, np.asarray), call(cpu, np.asarray), dtype)
    if hasattr(cpu, "swap_rates_"):
        tolerance.exact(gpu.swap_rates_, cpu.swap_rates_)
    words = {"n_words": 3} if kind.visible == "count" else {}
    for method in ("ais", "reverse_ais"):
        z = [m.log_partition(method, n_runs=4, n_betas=4, random_state=0, **words).value for m in (gpu, cpu)]
        near(*z, dtype)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[3], KINDS[9]], ids=str)
def test_a_machine_on_a_gpu_takes_and_gives_arrays_of_its_library(kind, gpu):
    here = machine(kind, dtype=np.float32).set_params(device="cuda")
    there = copy.deepcopy(here).set_params(device=None)
    for name in LEARNED:
        setattr(there, name, gpu.array(getattr(here, name)))
    X = rows_of(here, kind)
    H = here.transform(X)
    more = (
        lambda m, move: m.log_likelihood(move(X)),
        lambda m, move: m.energy(move(X), move(H)),
    )
    for call in (*calls_of(here, X, kind), *more):
        found = call(there, gpu.array)
        assert is_on_gpu(found)
        tolerance.same_bits(gpu.host(found), np.ascontiguousarray(call(here, np.asarray)))
    for m, rows in ((there, X), (here, gpu.array(X))):
        for method in ("transform", "free_energy", "gibbs", "score_samples", "log_likelihood"):
            with pytest.raises(ValueError, match=rf"RBM\.{method}: \w is .*, components_ of the model is .*; move one"):
                getattr(m, method)(rows)


@needs_gpu
def test_chains_of_a_long_run_agree():
    """Many rows and units, as many as do not fit a warp or a block."""
    rng = np.random.default_rng(0)
    rbms = []
    for device in ("cpu", "cuda"):
        rbm = RBM(70, visible=[("bernoulli", 40), ("categorical", 30)], n_categories=[3] * 30, device=device)
        rbm.components_, rbm.intercept_visible_ = 0.3 * rng.standard_normal((70, 130)), rng.standard_normal(130)
        rbm.intercept_hidden_ = rng.standard_normal(70)
        rng = np.random.default_rng(0)
        rbms.append(rbm)
    tolerance.exact(*(rbm.sample(150, n_steps=3, random_state=0) for rbm in rbms[::-1]))


def test_a_classifier_learns_and_predicts_on_a_gpu(gpu):
    rng = np.random.default_rng(0)
    X, y = (rng.random((60, 12)) < 0.5).astype(np.float32), rng.integers(3, size=60) + 4
    here = RBMClassifier(RBM(5, n_iter=2, batch_size=30, random_state=0, device="cuda")).fit(X, y)
    there = RBMClassifier(RBM(5, batch_size=30, random_state=0))
    for labels in (y, gpu.array(y)):
        there.partial_fit(gpu.array(X), labels, classes=[4, 5, 6])
    for name in LEARNED:
        tolerance.same_bits(gpu.host(getattr(there.rbm_, name)), np.ascontiguousarray(getattr(here.rbm_, name)))
    for call in (
        lambda m, move: m.predict(move(X)),
        lambda m, move: m.predict_proba(move(X)),
        lambda m, move: m.predict_log_proba(move(X)),
        lambda m, move: m.transform(move(X)),
        lambda m, move: m.sample(4, y=move(y[:4]), n_steps=2, random_state=0),
    ):
        found = call(there, gpu.array)
        assert is_on_gpu(found)
        tolerance.same_bits(gpu.host(found), np.ascontiguousarray(call(here, np.asarray)))
    assert there.score(gpu.array(X), gpu.array(y)) == here.score(X, y)
    with pytest.raises(ValueError, match=r"RBMClassifier.predict: X is a NumPy array, components_ of the machine"):
        there.predict(X)
