"""Callbacks and the progress bar of the estimators that train epoch by epoch.

Callbacks follow scikit-learn's protocol (``sklearn.callback``, new in 1.9). Where the installed version has
it, `CallbackMixin` is scikit-learn's own, so its ``ProgressBar`` and ``ScoringMonitor`` work too; before 1.9
a stand-in calls the same hooks, in the same order, with the same arguments.
"""

from __future__ import annotations

import copy
import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

_HOOKS = ("setup", "on_fit_task_begin", "on_fit_task_end", "teardown")


@dataclass(eq=False)
class _FallbackContext:
    """Stands in for ``sklearn.callback.CallbackContext``: one task of a fit, as callbacks see it."""

    _callbacks: list[Any] = field(repr=False)
    estimator_name: str
    max_subtasks: int
    task_name: str = "fit"
    task_id: int = 0
    parent: _FallbackContext | None = field(default=None, repr=False)
    sequential_subtasks: bool = True
    root_uuid: uuid.UUID = field(default_factory=uuid.uuid4)
    init_time: datetime = field(init=False, default_factory=lambda: datetime.now(timezone.utc))
    _n_subtasks: int = field(init=False, default=0, repr=False)

    def subcontext(self, task_name: str) -> _FallbackContext:
        task = replace(self, task_name=task_name, task_id=self._n_subtasks, max_subtasks=0, parent=self)
        self._n_subtasks += 1
        return task

    def call_on_fit_task_begin(self, **arguments: Any) -> None:
        self._call("on_fit_task_begin", **arguments)

    def call_on_fit_task_end(self, **arguments: Any) -> bool:
        return self._call("on_fit_task_end", **arguments)

    def _call(
        self,
        hook_name: str,
        estimator: Any,
        reconstruction_attributes: Callable[[], dict[str, Any]] | None = None,
        **values: Any,
    ) -> bool:
        values.update(metadata=None, fitted_estimator=None)
        stop = False
        for callback in self._callbacks:
            hook = getattr(callback, hook_name)
            wanted = [p.name for p in inspect.signature(hook).parameters.values() if p.kind is p.KEYWORD_ONLY]
            # Built for the first callback that asks, then shared: it costs a copy of the parameters.
            if "fitted_estimator" in wanted and reconstruction_attributes is not None:
                values["fitted_estimator"] = copy.copy(estimator)
                for name, value in reconstruction_attributes().items():
                    setattr(values["fitted_estimator"], name, value)
                reconstruction_attributes = None
            stop |= bool(hook(estimator, self, **{name: values[name] for name in wanted if name in values}))
        return stop


class _FallbackMixin:
    """Stands in for ``sklearn.callback.CallbackSupportMixin``, attribute names included."""

    def set_callbacks(self, *callbacks: Any) -> Any:
        """Set the callbacks that `fit` calls, in place of those set before; none removes them.

        Parameters
        ----------
        *callbacks : objects
            Each with the four hooks of scikit-learn's ``FitCallback`` protocol: `setup`, `on_fit_task_begin`,
            `on_fit_task_end` (a true answer stops the fit) and `teardown`.

        Returns
        -------
        self : estimator
        """
        for callback in callbacks:
            missing = [name for name in _HOOKS if not callable(getattr(callback, name, None))]
            if missing or isinstance(callback, type):
                reason = f"has no {', '.join(missing)}" if missing else "is a class, not an instance"
                raise TypeError(f"{type(self).__name__}.set_callbacks: {callback!r} {reason}")
        self._skl_callbacks = list(callbacks)
        if not callbacks:
            del self._skl_callbacks
        return self

    def __sklearn_clone__(self) -> Any:
        # Clones share their callbacks, so that one set before a cross-validation sees every fit.
        twin = super().__sklearn_clone__()  # type: ignore[misc]
        return twin.set_callbacks(*getattr(self, "_skl_callbacks", ()))

    def _init_callback_context(self, *, max_subtasks: int) -> _FallbackContext:
        callbacks = getattr(self, "_skl_callbacks", [])
        self._callback_fit_ctx = context = _FallbackContext(callbacks, type(self).__name__, max_subtasks)
        self._skl_callbacks_to_teardown: list[Any] = []
        for callback in callbacks:
            self._skl_callbacks_to_teardown.append(callback)
            callback.setup(estimator=self, context=context)
        return context

    def _teardown_callbacks(self) -> None:
        try:
            while self._skl_callbacks_to_teardown:
                callback = self._skl_callbacks_to_teardown.pop(0)
                callback.teardown(estimator=self, context=self._callback_fit_ctx)
        except BaseException:
            self._teardown_callbacks()  # those that are left
            raise
        del self._skl_callbacks_to_teardown, self._callback_fit_ctx


try:
    from sklearn.callback import CallbackSupportMixin as CallbackMixin
    from sklearn.callback import with_callbacks

    # The decorator tears down when the function returns: around one that does nothing, it tears down on call.
    _teardown_callbacks = with_callbacks(lambda estimator: None)
except ImportError:  # scikit-learn < 1.9
    CallbackMixin = _FallbackMixin
    _teardown_callbacks = _FallbackMixin._teardown_callbacks


class EpochLoop:
    """What an estimator reports its epochs to; made by `epoch_loop`.

    To callbacks a fit is a task named "fit" with one subtask named "epoch" for each epoch. When an epoch
    ends, its context has an attribute `quantities`, the dict given to `epoch_end`.
    """

    def __init__(self, estimator: Any, n_iter: int, X: Any, y: Any) -> None:
        self._n_iter = n_iter
        self._n_done = 0
        self._bar: Any = None
        self._reconstruct: Callable[[], dict[str, Any]] | None = None
        self._arguments = {"estimator": estimator, "X": X, "y": y}
        self._fit = estimator._init_callback_context(max_subtasks=n_iter)
        self._fit.call_on_fit_task_begin(**self._arguments)
        self._epoch: Any = None
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        # The training loop only reports ends: an epoch begins as soon as the one before has ended.
        if self._n_done < self._n_iter:
            self._epoch = self._fit.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._arguments)

    def _end(self, task: Any) -> bool:
        return bool(task.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._reconstruct))

    def epoch_end(
        self, quantities: Mapping[str, float], reconstruct: Callable[[], dict[str, Any]] | None = None
    ) -> bool:
        """Report the end of an epoch; true means that a callback wants no more of them.

        `reconstruct` returns all fitted attributes as of now, by name. It is called only when a callback
        asks for `fitted_estimator`, and its values are copied: training may go on in the same arrays.
        """
        self._n_done += 1
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in quantities.items()}, refresh=False)
            self._bar.update()
        self._reconstruct = None if reconstruct is None else lambda: copy.deepcopy(reconstruct())
        epoch, self._epoch = self._epoch, None
        epoch.quantities = dict(quantities)
        stop = self._end(epoch)
        if not stop:
            self._begin_epoch()
        return stop


@contextmanager
def progress_bar(what: str, verbose: int) -> Iterator[Callable[[float], None] | None]:
    """What one long call into the core reports its share of work done to: a bar if verbose >= 1, else None."""
    if verbose < 1:
        yield None
        return
    from tqdm.auto import tqdm  # as below

    with tqdm(total=100, desc=what, unit="%", bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as bar:

        def show(done: float) -> None:
            bar.n = round(100 * done)
            bar.refresh()

        yield show
        show(1.0)


@contextmanager
def epoch_loop(estimator: Any, n_iter: int, *, X: Any = None, y: Any = None) -> Iterator[EpochLoop]:
    """Run callbacks, and a progress bar if ``estimator.verbose >= 1``, around at most `n_iter` epochs.

    X and y are what callbacks receive: best the very arguments of `fit`, which still have feature names.
    Errors raised by callbacks pass through. However the block is left, the bar is closed and every callback
    whose `setup` was called has its `teardown` called.
    """
    with ExitStack() as stack:
        stack.callback(_teardown_callbacks, estimator)  # before the first setup, which may raise
        loop = EpochLoop(estimator, n_iter, X, y)
        if estimator.verbose >= 1:
            from tqdm.auto import tqdm  # only now: it looks for a notebook and starts a thread

            loop._bar = stack.enter_context(tqdm(total=n_iter, desc=type(estimator).__name__, unit="epoch"))
        yield loop
        if loop._epoch is not None:  # training converged before n_iter: the epoch just begun is an empty task
            loop._epoch.call_on_fit_task_end(estimator=estimator, X=X, y=y)
        loop._end(loop._fit)
