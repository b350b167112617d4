"""What happens when training is interrupted, diverges, shares the process or has little memory."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.datasets import load_digits

import tolerance
from harmonium import RBM, _core

LEARNED = ["components_", "intercept_hidden_", "intercept_visible_", "visible_offset_", "hidden_offset_", "h_samples_"]


@pytest.fixture(scope="module")
def digits():
    return (load_digits().data > 7).astype(np.float32)


def assert_same_model(a, b):
    for name in LEARNED:
        tolerance.same_bits(np.ascontiguousarray(getattr(a, name)), np.ascontiguousarray(getattr(b, name)))
    assert a.n_iter_ == b.n_iter_ and a.history_ == b.history_


def make(**parameters):
    defaults = {"n_components": 70, "batch_size": 48, "n_iter": 3, "momentum": 0.5, "random_state": 5}
    return RBM(**{**defaults, **parameters})


def run_python(script, *arguments, timeout=60):
    """In a process of its own, which fails when it has not ended in `timeout` seconds."""
    command = [sys.executable, "-c", SCRIPT_HEAD + textwrap.dedent(script), " ".join(LEARNED), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


SCRIPT_HEAD = """
import os, signal, sys, threading, time
import numpy as np
from sklearn.datasets import load_digits
from harmonium import RBM, _core
X = (load_digits().data > 7).astype(np.float32)
LEARNED = sys.argv.pop(1).split()

class PressCtrlC:
    # When the epoch with this number ends, from another thread, a while later: in the middle of what follows.
    def __init__(self, epoch=None, delay=0.2):
        self.epoch, self.delay = epoch, delay
        if epoch is None:
            self.press()
    def press(self):
        threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    def setup(self, estimator, context): pass
    def on_fit_task_begin(self, estimator, context): pass
    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch" and context.task_id == self.epoch:
            self.press()
    def teardown(self, estimator, context): pass

def assert_same_model(a, b):
    for name in LEARNED:
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert a.n_iter_ == b.n_iter_ and a.history_ == b.history_

def interrupted(call):
    try:
        call()
    except KeyboardInterrupt:
        return
    raise AssertionError("was not interrupted")
"""


# -- Ctrl-C: each script would run for hours -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cd", "pcd"])
def test_interrupt_between_short_epochs_leaves_the_last_whole_one(method):
    done = run_python(
        """
        make = lambda n_iter: RBM(8, n_iter=n_iter, method=sys.argv[1], batch_size=50, momentum=0.5, random_state=0)
        rbm = make(10**9).set_callbacks(PressCtrlC(epoch=20))
        interrupted(lambda: rbm.fit(X[:200]))
        assert rbm.n_iter_ > 20, rbm.n_iter_
        assert {len(values) for values in rbm.history_.values()} == {rbm.n_iter_}
        whole = make(rbm.n_iter_).fit(X[:200])
        assert_same_model(rbm, whole)
        # Training goes on as if nothing had happened.
        rbm.set_callbacks()
        assert_same_model(rbm.partial_fit(X[:200]), whole.partial_fit(X[:200]))
        """,
        method,
    )
    assert done.returncode == 0, done.stderr


LONG_EPOCHS = {
    "many batches": "rbm.set_params(batch_size=1, n_gibbs_steps=500)",
    "long chains": "rbm.set_params(batch_size=1000, n_gibbs_steps=10**7)",
}


@pytest.mark.parametrize("kind", LONG_EPOCHS)
def test_interrupt_within_a_long_epoch_leaves_the_epoch_before(kind):
    done = run_python(
        f"""
        rbm = RBM(300, n_iter=3, momentum=0.5, random_state=0).fit(X)
        whole = RBM(300, n_iter=3, momentum=0.5, random_state=0).fit(X)
        {LONG_EPOCHS[kind]}
        PressCtrlC()
        interrupted(lambda: [rbm.partial_fit(X) for _ in range(10**9)])
        assert rbm.n_iter_ == 3, rbm.n_iter_
        assert_same_model(rbm, whole)
        """
    )
    assert done.returncode == 0, done.stderr


def test_interrupt_within_the_first_epoch_leaves_the_initial_parameters():
    done = run_python(
        """
        make = lambda: RBM(300, n_iter=0, random_state=0, batch_size=1, n_gibbs_steps=500)
        rbm = make().set_params(n_iter=1)
        PressCtrlC()
        interrupted(lambda: rbm.fit(X))
        assert_same_model(rbm, make().fit(X))
        assert rbm.transform(X).shape == (len(X), 300) and np.isfinite(rbm.score(X))
        rbm.set_params(n_gibbs_steps=1, batch_size=50).partial_fit(X)
        assert rbm.n_iter_ == 1
        """
    )
    assert done.returncode == 0, done.stderr


def test_interrupt_of_other_long_calls():
    done = run_python(
        """
        rbm = RBM(100, n_iter=1, random_state=0).fit(X)
        small = RBM(24, n_iter=1, random_state=0).fit(X)
        before = rbm.components_.copy()
        for call in (
            lambda: rbm.sample(10, n_steps=10**9),
            lambda: rbm.gibbs(X, n_steps=10**9),
            lambda: rbm.log_partition("ais", n_betas=10**7),
            lambda: rbm.log_partition("ais", n_runs=10**6),
            lambda: rbm.log_partition("reverse_ais", n_betas=10**7),
            lambda: [small.log_partition("exact") for _ in range(10**6)],
            lambda: [rbm.score_samples(X) for _ in range(10**6)],
        ):
            PressCtrlC()
            interrupted(call)
            assert np.array_equal(rbm.components_, before)
            assert rbm.sample(3, n_steps=2).shape == (3, 64)
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_handler_of_ones_own_raises_its_own_error():
    done = run_python(
        """
        class Stop(Exception): pass
        def handler(number, frame): raise Stop("enough")
        signal.signal(signal.SIGINT, handler)
        PressCtrlC()
        try:
            RBM(8, n_iter=10**9).fit(X)
        except Stop as error:
            assert str(error) == "enough"
        else:
            raise AssertionError("was not interrupted")
        """
    )
    assert done.returncode == 0, done.stderr


def test_errors_of_callbacks_leave_the_epoch_that_just_ended(digits):
    class Failing:
        def setup(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_end(self, estimator, context):
            if context.task_id == 1:
                raise OSError("disk full")

    rbm = make().set_callbacks(Failing())
    with pytest.raises(OSError, match="disk full"):
        rbm.fit(digits[:200])
    assert_same_model(rbm, make(n_iter=2).fit(digits[:200]))


# -- divergence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e6, 1e30, 1e300])
@pytest.mark.parametrize("method", ["cd", "pcd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_divergence_keeps_the_last_whole_epoch(digits, dtype, method, rate):
    X = digits[:200].astype(dtype)
    rbm = make(method=method).fit(X)
    with pytest.raises(_core.DivergenceError, match=r"RBM: training diverged in epoch 4: .* learning_rate=1e\+\d+"):
        rbm.set_params(learning_rate=rate).partial_fit(X)
    whole = make(method=method).fit(X)
    assert_same_model(rbm, whole)
    rbm.set_params(learning_rate=whole.learning_rate)
    assert_same_model(rbm.partial_fit(X), whole.partial_fit(X))


@pytest.mark.parametrize("rate", [1e6, 1e30])
def test_divergence_in_the_first_epoch_leaves_the_initial_parameters(digits, rate):
    X = digits[:200]
    rbm = make(learning_rate=rate)
    with pytest.raises(ArithmeticError, match="diverged in epoch 1"):
        rbm.fit(X)
    assert_same_model(rbm, make(n_iter=0).fit(X))
    assert np.isfinite(rbm.score(X)) and rbm.sample(2, n_steps=2).shape == (2, 64)
    assert_same_model(rbm.set_params(learning_rate=make().learning_rate).partial_fit(X), make(n_iter=1).fit(X))


# -- several fits at a time ------------------------------------------------------------------------------------------


def fit_and_use(X, seed):
    rbm = make(n_iter=10, random_state=seed).fit(X)
    return rbm, rbm.sample(5, n_steps=20), rbm.log_partition("ais", n_runs=20, n_betas=50).value


def assert_same_outcomes(outcomes, expected):
    for (rbm, drawn, value), (rbm_, drawn_, value_) in zip(outcomes, expected, strict=True):
        assert_same_model(rbm, rbm_)
        tolerance.same_bits(drawn, drawn_)
        assert value == value_


@pytest.fixture(scope="module")
def serial(digits):
    return [fit_and_use(digits[:300], seed) for seed in range(4)]


def test_fits_in_python_threads_at_once(digits, serial):
    outcomes = [None] * 4
    barrier = threading.Barrier(4)

    def work(seed):
        barrier.wait()
        outcomes[seed] = fit_and_use(digits[:300], seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same_outcomes(outcomes, serial)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_fits_in_joblib_workers(digits, serial, backend):
    outcomes = Parallel(n_jobs=2, backend=backend)(delayed(fit_and_use)(digits[:300], seed) for seed in range(4))
    assert_same_outcomes(outcomes, serial)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_fits_in_forked_processes_after_one_in_the_parent(serial):
    # A process of its own: pytest's may have threads, with which newer Pythons warn of forking.
    done = run_python(
        """
        import multiprocessing
        def work(seed):
            return RBM(70, n_iter=10, random_state=seed).fit(X[:300])
        expected = [work(seed) for seed in range(4)]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for rbm, again in zip(expected, pool.map(work, range(4)), strict=True):
                assert_same_model(rbm, again)
        """
    )
    assert done.returncode == 0, done.stderr


# -- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the high-water mark of memory is read from /proc")
@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_a_large_fit_adds_little_memory(dtype):
    done = run_python(
        """
        def status(name):
            with open("/proc/self/status") as lines:
                return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
        rng = np.random.default_rng(0)
        X = np.empty((60_000, 784), dtype=sys.argv[1])
        for first in range(0, len(X), 1000):
            X[first : first + 1000] = rng.random((1000, 784), dtype=np.float32) < 0.13
        RBM(500, n_iter=1, batch_size=100).fit(X[:1000])
        try:
            with open("/proc/self/clear_refs", "w") as reset:
                reset.write("5")  # the mark starts anew from what is in use
        except OSError:
            pass
        before = status("VmRSS")
        RBM(500, n_iter=1, batch_size=1000).fit(X)
        print(status("VmHWM") - before)
        """,
        dtype,
    )
    assert done.returncode == 0, done.stderr
    # MB. X has 45, as float32 180; its bits have 6, the parameters and their copies 3 each.
    assert 0 < float(done.stdout) < 100


# -- what fails after a start ---------------------------------------------------------------------------------------


def test_an_error_of_the_core_before_the_first_step_leaves_the_estimator_as_it_was(digits):
    """2^30 states are refused by the core only, when the new model has been allocated."""
    rbm = RBM(30, n_iter=2, random_state=0).fit(digits[:50])
    before = {name: np.copy(getattr(rbm, name)) for name in ("components_", "intercept_hidden_", "h_samples_")}
    with pytest.raises(ValueError, match="states"):
        rbm.set_params(method="exact").fit(digits[:50])
    assert rbm.n_iter_ == 2
    for name, value in before.items():
        tolerance.same_bits(np.ascontiguousarray(getattr(rbm, name)), np.ascontiguousarray(value))
    never = RBM(30, method="exact", random_state=0)
    with pytest.raises(ValueError, match="states"):
        never.fit(digits[:50])
    assert not hasattr(never, "components_")
    never.set_params(method="cd").partial_fit(digits[:50])
    assert np.ptp(never.components_, axis=0).max() > 0


@pytest.mark.parametrize("change", [{"l1": 1e-3}, {"method": "pt"}, {"method": "fpcd"}], ids=str)
def test_history_goes_on_when_the_way_of_training_changes(digits, change):
    rbm = RBM(5, n_iter=2, random_state=0).fit(digits[:50])
    rbm.set_params(**change)
    rbm.partial_fit(digits[:50])
    rbm.set_params(l1=0, method="cd").partial_fit(digits[:50])
    assert rbm.n_iter_ == 4 and {len(values) for values in rbm.history_.values()} == {4}
    assert np.isnan(rbm.history_["pseudo_log_likelihood"]).tolist() == [False, False, True, False]
    assert np.isnan(rbm.history_["reconstruction_error"]).tolist() == [True, True, False, True]
