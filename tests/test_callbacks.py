"""Callbacks and the progress bar: the mechanism on a toy estimator, then the RBM that uses it.

The toy runs twice, on scikit-learn's own callback support (where the installed version has it) and on the
stand-in for older versions, which so is tested whatever the version.
"""

from __future__ import annotations

import importlib.util
import pickle
import sys
import warnings
from unittest import mock

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer

from harmonium import RBM, _callbacks

HOOKS = ["setup", "on_fit_task_begin", "on_fit_task_end", "teardown"]


def import_stand_in():
    """A second copy of the module, imported as if scikit-learn had no callbacks."""
    spec = importlib.util.spec_from_file_location("callbacks_stand_in", _callbacks.__file__)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look it up
    with mock.patch.dict(sys.modules, {"sklearn.callback": None}):
        spec.loader.exec_module(module)
    return module


stand_in = import_stand_in()


class ToyBase(BaseEstimator):
    """Counts its epochs in an array that it changes in place, as the training in C++ does."""

    def __init__(self, n_iter=3, verbose=0, converges_after=None):
        self.n_iter = n_iter
        self.verbose = verbose
        self.converges_after = converges_after

    def _fitted_attributes(self):
        self.n_built_ += 1
        return {"count_": self.count_}

    def fit(self, X, y=None):
        self.count_ = np.zeros(1)
        self.n_built_ = 0
        with self.module.epoch_loop(self, self.n_iter, X=X, y=y) as loop:
            for epoch in range(self.n_iter):
                if epoch == self.converges_after:
                    break
                self.count_ += 1
                if loop.epoch_end({"loss": 1 / 3, "epoch": float(epoch)}, self._fitted_attributes):
                    break
        return self


class InstalledToy(_callbacks.CallbackMixin, ToyBase):
    module = _callbacks


class StandInToy(stand_in.CallbackMixin, ToyBase):
    module = stand_in


class Recorder:
    """Writes down every call; stops or fails on demand. Asks for nothing, so nothing is built for it."""

    def __init__(self, stop_at=None, fail_in=()):
        self.calls = []
        self.quantities = []
        self.stop_at = stop_at
        self.fail_in = fail_in

    def _record(self, hook, context):
        self.calls.append((hook, context.task_name, context.task_id))
        if hook in self.fail_in:
            raise RuntimeError(f"from {hook}")

    def setup(self, estimator, context):
        self._record("setup", context)

    def on_fit_task_begin(self, estimator, context):
        self._record("on_fit_task_begin", context)

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.quantities.append(getattr(context, "quantities", None))
        self._record("on_fit_task_end", context)
        return context.task_name == "epoch" and context.task_id == self.stop_at

    def teardown(self, estimator, context):
        self._record("teardown", context)

    def hooks(self):
        return [hook for hook, _, _ in self.calls]


class Snapshots(Recorder):
    """Keeps what it is handed at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.kept = []
        self.data = []

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        if context.task_name == "epoch":
            self.kept.append(fitted_estimator)
            self.data.append((X, y, metadata))
        return super().on_fit_task_end(estimator, context)


@pytest.fixture(params=[InstalledToy, StandInToy])
def toy(request):
    return request.param


def epoch_calls(n_epochs):
    return [(hook, "epoch", i) for i in range(n_epochs) for hook in ("on_fit_task_begin", "on_fit_task_end")]


def fit_calls(n_epochs):
    begin = [("setup", "fit", 0), ("on_fit_task_begin", "fit", 0)]
    return [*begin, *epoch_calls(n_epochs), ("on_fit_task_end", "fit", 0), ("teardown", "fit", 0)]


@pytest.mark.parametrize("n_iter", [0, 1, 3])
def test_hooks_come_in_order_and_nothing_is_printed(toy, n_iter, capfd):
    recorder = Recorder()
    toy(n_iter=n_iter).set_callbacks(recorder).fit([[0]])
    assert recorder.calls == fit_calls(n_iter)
    assert recorder.quantities == [{"loss": 1 / 3, "epoch": float(i)} for i in range(n_iter)]
    assert capfd.readouterr() == ("", "")


def test_context_places_the_task(toy):
    contexts = []
    recorder = Recorder()
    recorder._record = lambda hook, context: contexts.append(context)
    toy(n_iter=2).set_callbacks(recorder).fit([[0]])
    fit, epoch = contexts[0], contexts[2]
    assert (fit.estimator_name, fit.parent, fit.max_subtasks) == (toy.__name__, None, 2)
    assert (epoch.estimator_name, epoch.parent, epoch.max_subtasks) == (toy.__name__, fit, 0)
    assert epoch.root_uuid == fit.root_uuid
    assert epoch.init_time >= fit.init_time


def test_true_stops_after_all_callbacks_were_called(toy):
    first, second = Recorder(stop_at=1), Recorder()
    model = toy(n_iter=5).set_callbacks(first, second).fit([[0]])
    assert model.count_ == 2
    assert first.calls == second.calls == fit_calls(2)


def test_convergence_before_n_iter_closes_the_epoch_that_had_begun(toy):
    recorder = Snapshots()
    toy(n_iter=5, converges_after=2).set_callbacks(recorder).fit([[0]])
    assert recorder.calls == fit_calls(3)
    assert recorder.kept[2] is None  # the mark of an epoch that never ran


def test_hooks_get_what_they_name(toy):
    X, y = [[0]], [1]
    snapshots = Snapshots()
    toy(n_iter=2).set_callbacks(snapshots).fit(X, y)
    for data in snapshots.data:
        assert all(got is given for got, given in zip(data, (X, y, None), strict=True))


def test_fitted_estimator_is_a_copy(toy):
    snapshots = Snapshots()
    model = toy(n_iter=3).set_callbacks(snapshots).fit([[0]])
    assert [float(kept.count_[0]) for kept in snapshots.kept] == [1, 2, 3]
    assert all(type(kept) is toy and kept is not model for kept in snapshots.kept)


def test_fitted_estimator_is_built_once_a_task_and_only_on_demand(toy):
    assert toy(n_iter=3).set_callbacks(Recorder()).fit([[0]]).n_built_ == 0
    # Three epochs, and the fit as a whole.
    assert toy(n_iter=3).set_callbacks(Snapshots(), Recorder(), Snapshots()).fit([[0]]).n_built_ == 4


@pytest.mark.parametrize("hook", HOOKS)
def test_errors_pass_through_and_teardown_runs(toy, hook):
    before, failing, after = Recorder(), Recorder(fail_in=[hook]), Recorder()
    model = toy().set_callbacks(before, failing, after)
    with pytest.raises(RuntimeError, match=f"from {hook}"):
        model.fit([[0]])
    assert before.hooks().count("teardown") == failing.hooks().count("teardown") == 1
    # A callback that was never set up has nothing to tear down.
    assert after.hooks().count("teardown") == (0 if hook == "setup" else 1)
    assert not [name for name in vars(model) if "ctx" in name or "teardown" in name]
    failing.fail_in = ()
    model.fit([[0]])
    assert model.count_ == 3


def test_error_of_the_training_passes_through_and_teardown_runs(toy):
    recorder = Recorder()
    model = toy().set_callbacks(recorder)
    with pytest.raises(KeyboardInterrupt), model.module.epoch_loop(model, 3):
        raise KeyboardInterrupt
    assert recorder.hooks() == ["setup", "on_fit_task_begin", "on_fit_task_begin", "teardown"]


def test_error_in_teardown_does_not_hide_the_one_before(toy):
    failing = [Recorder(fail_in=["on_fit_task_begin", "teardown"]), Recorder(fail_in=["teardown"])]
    # RuntimeError, or a group of them where scikit-learn collects
    with pytest.raises(Exception, match="teardown") as raised:
        toy().set_callbacks(*failing).fit([[0]])
    chain = [raised.value]
    while chain[-1].__context__:
        chain.append(chain[-1].__context__)
    assert str(chain[-1]) == "from on_fit_task_begin"
    assert [recorder.hooks()[-1] for recorder in failing] == ["teardown", "teardown"]


@pytest.mark.parametrize("bad", [Recorder, object(), None], ids=["class", "no hooks", "None"])
def test_set_callbacks_refuses_what_is_not_a_callback(toy, bad):
    with pytest.raises(TypeError, match="callback"):
        toy().set_callbacks(bad)


def test_set_callbacks_without_any_removes_them(toy):
    recorder = Recorder()
    model = toy().set_callbacks(recorder).set_callbacks()
    model.fit([[0]])
    assert recorder.calls == []
    assert "_skl_callbacks" not in vars(model)


def test_clone_shares_callbacks(toy):
    recorder = Recorder()
    clone(toy(n_iter=1).set_callbacks(recorder)).fit([[0]])
    assert recorder.calls == fit_calls(1)
    clone(toy())  # nothing to share


def test_pickle_keeps_callbacks(toy):
    model = pickle.loads(pickle.dumps(toy(n_iter=1).set_callbacks(Recorder()).fit([[0]])))
    assert model.count_ == 1
    assert model._skl_callbacks[0].calls == fit_calls(1)


class Checkpoints(Recorder):
    """Pickles the model at the end of each epoch, itself and its context included."""

    def __init__(self):
        super().__init__()
        self.pickles = []

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch":
            self.pickles.append(pickle.dumps(fitted_estimator))


def test_fitted_estimator_pickles_during_fit(toy):
    checkpoints = Checkpoints()
    toy(n_iter=2).set_callbacks(checkpoints).fit([[0]])
    assert [float(pickle.loads(saved).count_[0]) for saved in checkpoints.pickles] == [1, 2]


@pytest.mark.parametrize("verbose", [1, 2, True])
def test_verbose_shows_a_bar_with_the_quantities(toy, capfd, verbose):
    toy(verbose=verbose).fit([[0]])
    err = capfd.readouterr().err
    last = err.strip().split("\r")[-1]
    for part in (toy.__name__, "3/3", "loss=0.3333", "epoch=2"):
        assert part in last
    assert err.endswith("\n")


def test_bar_is_closed_after_an_error(toy, capfd):
    with pytest.raises(RuntimeError) as raised:
        toy(verbose=1).set_callbacks(Recorder(fail_in=["on_fit_task_end"])).fit([[0]])
    err = capfd.readouterr().err
    # Closed by us: the traceback kept here would keep an open bar alive.
    assert err.endswith("\n")
    assert raised.tb


# The RBM


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:200] > 7).astype(np.float32), y[:200]


def make_rbm(**kwargs):
    return RBM(n_components=8, batch_size=50, n_iter=4, random_state=0, **kwargs)


LEARNED = ["components_", "intercept_hidden_", "intercept_visible_", "h_samples_"]


def assert_same_model(a, b):
    for name in LEARNED:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.n_iter_ == b.n_iter_
    assert a.history_ == b.history_


def test_rbm_reports_its_history(digits):
    recorder = Recorder()
    rbm = make_rbm().set_callbacks(recorder).fit(digits[0])
    assert recorder.calls == fit_calls(4)
    assert recorder.quantities == [{name: values[i] for name, values in rbm.history_.items()} for i in range(4)]


def test_rbm_stops(digits):
    rbm = make_rbm().set_callbacks(Recorder(stop_at=1)).fit(digits[0])
    assert rbm.n_iter_ == 2
    assert {len(values) for values in rbm.history_.values()} == {2}


def test_rbm_learns_the_same_with_callbacks(digits):
    rbm = make_rbm().set_callbacks(Snapshots()).fit(digits[0])
    assert_same_model(rbm, make_rbm().fit(digits[0]))
    assert_same_model(rbm, pickle.loads(pickle.dumps(rbm)))


def test_rbm_fitted_estimator_is_the_fit_stopped_there(digits):
    X, _ = digits
    snapshots = Snapshots()
    make_rbm().set_callbacks(snapshots).fit(X)
    for epoch, kept in enumerate(snapshots.kept):
        stopped = make_rbm().set_callbacks(Recorder(stop_at=epoch)).fit(X)
        assert_same_model(kept, stopped)
        np.testing.assert_array_equal(kept.transform(X), stopped.transform(X))
        assert kept.score(X) == stopped.score(X)


def test_rbm_keeps_its_last_whole_epoch_when_a_callback_fails(digits):
    class FailsAtSecond(Recorder):
        def on_fit_task_end(self, estimator, context):
            if context.task_id == 1:
                raise RuntimeError("disk full")

    rbm = make_rbm().set_callbacks(FailsAtSecond())
    with pytest.raises(RuntimeError, match="disk full"):
        rbm.fit(digits[0])
    assert_same_model(rbm, make_rbm().set_callbacks(Recorder(stop_at=1)).fit(digits[0]))
    assert_same_model(rbm.set_callbacks().fit(digits[0]), make_rbm().fit(digits[0]))


def test_rbm_bar(digits, capfd):
    make_rbm().fit(digits[0])
    assert capfd.readouterr() == ("", "")
    make_rbm(verbose=1).fit(digits[0])
    err = capfd.readouterr().err
    assert "4/4" in err
    assert "pseudo_log_likelihood=" in err


def test_rbm_with_scoring_monitor(digits):
    callback = pytest.importorskip("sklearn.callback")
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(digits[0]).add_prefix("pixel")
    monitor = callback.ScoringMonitor(scoring={"pll": lambda model, X, y: model.score(X)})
    snapshots = Snapshots()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="X does not have valid feature names")
        # scikit-learn 1.9 scores only where y is given.
        make_rbm().set_callbacks(monitor, snapshots).fit(X, digits[1])
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert [row["pll"] for row in rows] == [kept.score(X) for kept in snapshots.kept]


def test_rbm_with_scikit_learn_progress_bar(digits, capfd):
    callback = pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    make_rbm().set_callbacks(callback.ProgressBar()).fit(digits[0])
    assert "100%" in capfd.readouterr().out


def test_rbm_in_a_pipeline_gets_the_callbacks_of_the_pipeline(digits):
    pytest.importorskip("sklearn.callback")

    class Propagated(Recorder):
        max_propagation_depth = None

    recorder = Propagated()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The estimator Binarizer does not support callbacks")
        make_pipeline(Binarizer(), make_rbm()).set_callbacks(recorder).fit(*digits)
    assert [call for call in recorder.calls if call[1] == "epoch"] == epoch_calls(4)
