"""Training of RBMs over the core's loop, on top of their sampling and scoring."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from . import _core
from ._callbacks import CallbackMixin, EpochLoop, epoch_loop
from ._device import as_kept, beside, choose_device, gpu_rows, host, is_on_gpu, refuse_mixed
from ._mirror import TrainingSide, exchange, flat, parts
from ._rbm_sampling import new_seed
from ._rbm_scores import ScoringRBM
from ._validation import bit_words, check_choice, check_flag, check_number, check_X, float_dtype, states

_HARDLY = 0.005  # of a mean activity: the unit is taken to be always off, or on
_NO_WEIGHT = 0.001  # all weights start ten times larger


class BaseRBM(CallbackMixin, ScoringRBM):
    """Methods of the Bernoulli-Bernoulli machine; the classes in rbm.py give them their parameters."""

    n_components: int
    method: str
    n_gibbs_steps: int
    n_chains: int | None
    learning_rate: Any
    annealing: float | str | None
    averaging: float | None
    momentum: float
    weight_decay: float
    centering: bool
    batch_size: int
    n_iter: int
    shuffle: bool
    draw_data: bool
    n_iter_: int
    _steps: int
    _travelled: float
    _averaged: int
    _mirrored: np.ndarray
    _kept: np.ndarray
    history_: dict[str, list[float]]

    def fit(self, X: Any, y: Any = None) -> Any:
        """Train on X from the start, for `n_iter` passes.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            States, 0 or 1 (of any dtype, packed to bits once), or probabilities in [0, 1] such as grey pixels. An array
            on a GPU is trained on there, and is not copied to the host.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad parameters, NaN, infinity, values outside [0, 1]; nothing has been changed then.
        DivergenceError
            When the parameters leave every sensible range; those of the last whole epoch are kept, as they are
            on Ctrl-C and when a callback raises.
        """
        data, dtype = self._check_fit(X, fresh=True)
        with self._as_before_unless_begun():
            self._start(X, data.cols, dtype)
            return self._train(data, self.n_iter, X, y)

    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """Train on with one pass over X, in batches; the first call starts as `fit` does.

        ``fit`` with n_iter=k is the same, bit for bit, as k calls with the same X, and with ``shuffle=False``
        the same as calls with its batches one by one.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`
        y : ignored

        Returns
        -------
        self
        """
        fresh = not hasattr(self, "components_")
        data, dtype = self._check_fit(X, fresh=fresh)
        with self._as_before_unless_begun():
            if fresh:
                self._start(X, data.cols, dtype)
            return self._train(data, 1, X, y)

    @contextmanager
    def _as_before_unless_begun(self) -> Iterator[None]:
        """Undo a start whose training fails before the core has filled in the first parameters."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            if not getattr(self, "_initialised", True):
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _check_parameters(self) -> None:
        who = type(self).__name__
        check_number(who, "n_components", self.n_components, Integral, low=1)
        check_choice(who, "method", self.method, ("cd", "pcd"))
        check_number(who, "n_gibbs_steps", self.n_gibbs_steps, Integral, low=1)
        if self.n_chains is not None:
            check_number(who, "n_chains", self.n_chains, Integral, low=1)
        check_number(who, "learning_rate", self.learning_rate, Real, low=0, open_low=True)
        if isinstance(self.annealing, str):
            check_choice(who, "annealing", self.annealing, ("linear", "exponential"))
        elif self.annealing is not None:
            check_number(who, "annealing", self.annealing, Real, low=0, open_low=True)
        if self.averaging is not None:
            check_number(who, "averaging", self.averaging, Real, low=0, open_low=True)
        check_number(who, "momentum", self.momentum, Real, low=0, high=1)
        check_number(who, "weight_decay", self.weight_decay, Real, low=0)
        check_number(who, "batch_size", self.batch_size, Integral, low=1)
        check_number(who, "n_iter", self.n_iter, Integral, low=0)
        for name in ("centering", "shuffle", "draw_data", "check_range"):
            check_flag(who, name, getattr(self, name))
        if not isinstance(self.verbose, (bool, np.bool_)):
            check_number(who, "verbose", self.verbose, Integral, low=0)
        choose_device(who, self.device)

    def _check_fit(self, X: Any, *, fresh: bool) -> tuple[_core.States, np.dtype]:
        """All checks of parameters and X; nothing is changed."""
        self._check_parameters()
        who = f"{type(self).__name__}.{'fit' if fresh else 'partial_fit'}"
        choose_device(who, self.device, X)
        if not fresh:
            refuse_mixed(who, X, "components_ of the model", self.components_)
        if is_on_gpu(X):
            checked = gpu_rows(f"{who}: X", X)
        elif fresh:
            checked = check_array(
                X, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, estimator=self, input_name="X"
            )
        else:
            checked = check_X(self, X, reset=False)
        dtype = float_dtype(checked) if fresh else self._model()[0].dtype
        if not fresh and checked.shape[1] != self.components_.shape[1]:
            raise ValueError(f"{who}: X has {checked.shape[1]} columns, the model has {self.components_.shape[1]}")
        return states(f"{who}: X", checked, dtype, check_range=self.check_range), dtype

    def _start(self, X: Any, n_features: int, dtype: np.dtype) -> None:
        """Memory for a new model, which the core fills from the first batch; all of it, or an error and no change."""
        seed = new_seed(self.random_state)
        shape = (n_features, self.n_components)
        start = {
            "components_": np.zeros(shape, dtype).T,
            "intercept_visible_": np.zeros(n_features, dtype),
            "intercept_hidden_": np.zeros(self.n_components, dtype),
            **self._beside_the_model(n_features, self.n_components, dtype),
            "_initialised": False,
            "_seed": seed,
        }
        validate_data(self, X, reset=True, skip_check_array=True)
        for name, value in start.items():
            setattr(self, name, value)

    def _beside_the_model(self, n_features: int, n_components: int, dtype: np.dtype) -> dict[str, Any]:
        """What training keeps beside weights and biases, before any step."""
        return {
            "visible_offset_": np.full(n_features, 0.5, dtype),
            "hidden_offset_": np.full(n_components, 0.5, dtype),
            "h_samples_": np.zeros((self.n_chains or self.batch_size, n_components), dtype),
            "n_iter_": 0,
            "history_": {},
            "_mirrored": np.zeros((1, -(-n_features // 64)), np.uint64),
            "_kept": np.zeros(0, dtype),
            "_velocity": np.zeros(0, dtype),
            "_last": np.zeros(0, dtype),
            "_mean": np.zeros(0, dtype),
            "_steps": 0,
            "_travelled": 0.0,
            "_averaged": 0,
            "_n_draws": 0,
        }

    def __getstate__(self) -> dict[str, Any]:
        return as_kept(super().__getstate__())

    def _train(self, data: Any, n_epochs: int, X: Any, y: Any) -> Any:
        weights, visible_bias, hidden_bias = self._model(writeable=True)
        n_features, n_components = weights.shape
        dtype = weights.dtype
        # A model put together by assignment trains on from where it stands.
        for name, value in self._beside_the_model(n_features, n_components, dtype).items():
            if not hasattr(self, name):
                setattr(self, name, value)
        if not hasattr(self, "_seed"):
            self._seed = new_seed(self.random_state)
        visible_offset = self._own("visible_offset_", (n_features,), dtype)
        hidden_offset = self._own("hidden_offset_", (n_components,), dtype)
        chains = self._chains(data, self._own("h_samples_", (-1, n_components), dtype))
        model = flat(weights, visible_bias, hidden_bias)
        velocity, last = self._velocity_of(model), self._last_step(model)
        mirrored = np.array(self._mirrored)
        if mirrored.any() and not self.centering:  # only a centred gradient is the same on both sides
            for parameters in (last, velocity):
                if parameters.size:
                    exchange(parts(parameters, weights.shape), _core.unpack(mirrored, n_features)[0].astype(bool))
            mirrored[:] = 0
        begins = not getattr(self, "_initialised", True) and bool(self.centering)
        side = TrainingSide((weights, visible_bias, hidden_bias), visible_offset, mirrored, begins, self._kept)

        def show() -> None:
            """The learned arrays as attributes: what the core trains itself, or copies of it on X's GPU."""
            self.components_ = beside(weights.T, X)
            self.intercept_visible_, self.intercept_hidden_ = beside(visible_bias, X), beside(hidden_bias, X)
            self.visible_offset_, self.hidden_offset_ = beside(visible_offset, X), beside(hidden_offset, X)

        show()
        self.n_features_in_ = self._columns(n_features)

        self._velocity, self._last, self._mirrored = velocity, last, mirrored
        counters = np.array(
            [self._steps, self.n_iter_, getattr(self, "_initialised", True), self._averaged], dtype=np.int64
        )
        travelled = np.array([self._travelled])
        names, first = self._quantities(data), self.n_iter_
        quantities = np.zeros((n_epochs, len(names)))
        # What earlier passes did not record, or these will not, is NaN there.
        before = {name: list(self.history_.get(name, [np.nan] * first)) for name in (*names, *self.history_)}

        def catch_up() -> None:
            """Bring the attributes to the epoch that the core's arrays are of; as often as one likes."""
            self._steps, self.n_iter_ = int(counters[0]), int(counters[1])
            self._travelled, self._averaged = float(travelled[0]), int(counters[3])
            self._initialised = bool(counters[2])
            side.give_back()
            self._kept = side.keep().astype(dtype, copy=False)
            self._mean = flat(weights, visible_bias, hidden_bias) if self.averaging else last
            new = dict(zip(names, quantities[: self.n_iter_ - first].T.tolist(), strict=True))
            none = [np.nan] * (self.n_iter_ - first)
            self.history_ = {name: values + new.get(name, none) for name, values in before.items()}
            self.h_samples_ = beside(self._chain_states(chains, n_components, dtype), X)

        def on_epoch() -> bool:
            catch_up()
            if is_on_gpu(X):
                show()
            now = dict(zip(names, quantities[self.n_iter_ - first - 1].tolist(), strict=True))
            return loop.epoch_end(now, self._fitted_attributes)

        loop: EpochLoop
        with epoch_loop(self, n_epochs, X=X, y=y) as loop:
            try:
                self._run(
                    data, side.model, parts(last, weights.shape),
                    (side.visible_offset, hidden_offset, mirrored), parts(velocity, weights.shape), chains,
                    (counters, travelled, quantities), on_epoch,
                )  # fmt: skip
            except _core.DivergenceError as error:
                raise _core.DivergenceError(f"{type(self).__name__}: {error}") from None
            finally:
                catch_up()
                if is_on_gpu(X):
                    show()
        self._warn_of_saturation()
        return self

    def _columns(self, n_units: int) -> int:
        """Columns of X that so many visible units stand for."""
        return n_units

    def _chains(self, data: Any, chains: np.ndarray) -> np.ndarray:
        """The persistent chains' hidden states as the core keeps them."""
        return bit_words(f"{type(self).__name__}: h_samples_", chains)

    def _chain_states(self, chains: np.ndarray, n_components: int, dtype: np.dtype) -> np.ndarray:
        return _core.unpack(chains, n_components).astype(dtype, copy=False)

    def _run(
        self, data: Any, model: Any, last: Any, offsets: Any, velocity: Any, chains: Any, progress: Any, on_epoch: Any
    ) -> None:
        """One crossing into the core, which changes all these arrays."""
        arrays = (*model, *last, *offsets, *velocity, chains, *progress)
        _core.rbm_train(  # type: ignore[call-arg]
            data, *arrays,
            self.method, self.n_gibbs_steps, self.batch_size, self._rate(), *self._schedule(),
            float(self.averaging or 0), float(self.momentum), float(self.weight_decay), bool(self.centering),
            bool(self.shuffle), bool(self.draw_data), 1000.0 if self.check_range else np.inf, self._seed, on_epoch,
            choose_device(type(self).__name__, self.device) if data.gpu < 0 else f"cuda:{data.gpu}",
        )  # fmt: skip

    def _quantities(self, data: Any) -> tuple[str, ...]:
        """What `history_` records of every epoch."""
        return ("pseudo_log_likelihood", "hidden_activity", "weight_rms")

    def _rate(self) -> float:
        return float(self.learning_rate)

    def _schedule(self) -> tuple[str, float, int]:
        """How the rate falls, by its name in the core; the hyperbola's length; the passes that a fit has."""
        passes = max(self.n_iter, 1)
        if isinstance(self.annealing, str):
            return self.annealing, 1.0, passes
        return ("hyperbolic", float(self.annealing), passes) if self.annealing else ("constant", 1.0, passes)

    def _warn_of_saturation(self) -> None:
        """Say so where many hidden units are the same for (nearly) all data of the last hundred batches."""
        l1 = float(getattr(self, "l1", 0))
        # A penalty that wins drives weights to and fro across 0; without one, small weights are only how a unit began.
        none = max(_NO_WEIGHT, 1.1 * l1 * self._rate()) if l1 or self.weight_decay else 0.0
        weights = host(self.components_)
        dead = int((np.abs(weights).max(axis=1) < none).sum())
        if 10 * dead > len(weights):
            warnings.warn(
                f"{type(self).__name__}: {dead} of {len(weights)} hidden units have no weight of "
                f"{none:g} or more, they tell nothing about the data; try smaller penalties "
                f"(weight_decay={self.weight_decay:g}, l1={l1:g}) or fewer n_components",
                UserWarning,
                stacklevel=4,
            )
        if getattr(self, "hidden", "bernoulli") != "bernoulli":
            return
        activity = host(self.hidden_offset_)
        off, on = (int((level < _HARDLY).sum()) for level in (activity, 1 - activity))
        if 10 * (off + on) > len(activity):
            warnings.warn(
                f"{type(self).__name__}: of {len(activity)} hidden units {off} are always off and {on} "
                f"always on (mean activity within {_HARDLY} of 0 or 1), they tell nothing about the data; try a "
                f"smaller learning_rate (now {self._rate():g}), centering=True (now {bool(self.centering)}), "
                "weight_decay, or fewer n_components",
                UserWarning,
                stacklevel=4,
            )

    def _own(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A learned array that training goes on with, of this shape (-1: any) and finite."""
        array = np.require(host(getattr(self, name)), dtype, ["C", "W"])
        if array.ndim != len(shape) or any(s not in (-1, n) for s, n in zip(shape, array.shape, strict=True)):
            raise ValueError(f"{type(self).__name__}: {name} is {array.shape}, the model needs {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{type(self).__name__}: {name} contains NaN or infinity")
        return array

    def _last_step(self, model: np.ndarray) -> np.ndarray:
        """The last step's parameters, which training goes on from; the model itself where it is not their mean."""
        if not self.averaging:
            self._averaged = 0
            return np.zeros(0, model.dtype)
        if not (self._averaged and self._last.size == model.size and np.array_equal(self._mean, model)):
            self._averaged = 0
            return model.copy()
        return np.require(self._last, model.dtype, ["C", "W"])

    def _velocity_of(self, model: np.ndarray) -> np.ndarray:
        """Memory for the velocities, kept from call to call while there is momentum; empty without."""
        if not self.momentum:
            return np.zeros(0, model.dtype)
        kept = self._velocity if self._velocity.size == model.size else np.zeros_like(model)
        return np.require(kept, model.dtype, ["C", "W"])

    def _fitted_attributes(self) -> dict[str, Any]:
        private = (
            "_mirrored", "_kept", "_velocity", "_last", "_mean", "_steps", "_travelled", "_averaged", "_seed",
            "_n_draws", "_initialised", "_one_hot", "_n_columns", "_mean_words",
        )  # fmt: skip
        return {
            name: value
            for name, value in vars(self).items()
            if (name.endswith("_") and not name.startswith("_")) or name in private
        }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = self.check_range
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]
