"""What all RBM classes share: training, sampling and scoring over the core's loops."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _core, _log_partition
from ._callbacks import CallbackMixin, EpochLoop, epoch_loop
from ._log_partition import LogPartition
from ._validation import bit_words, check_choice, check_number, check_X, float_dtype, states

_QUANTITIES = ("pseudo_log_likelihood", "hidden_activity", "weight_rms")


class BaseRBM(CallbackMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Methods of the Bernoulli-Bernoulli machine; the classes in rbm.py give them their parameters."""

    n_components: int
    method: str
    n_gibbs_steps: int
    n_chains: int | None
    learning_rate: float
    momentum: float
    weight_decay: float
    centering: bool
    batch_size: int
    n_iter: int
    shuffle: bool
    check_range: bool
    verbose: int
    random_state: Any

    # -- training ------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Any:
        """Train on X from the start, for `n_iter` passes.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            States, 0 or 1 (of any dtype, packed to bits once), or probabilities in [0, 1] such as grey pixels.
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
        self._start(data.cols, dtype)
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
        if fresh:
            self._start(data.cols, dtype)
        return self._train(data, 1, X, y)

    def _check_parameters(self) -> None:
        who = type(self).__name__
        check_number(who, "n_components", self.n_components, Integral, low=1)
        check_choice(who, "method", self.method, ("cd", "pcd"))
        check_number(who, "n_gibbs_steps", self.n_gibbs_steps, Integral, low=1)
        if self.n_chains is not None:
            check_number(who, "n_chains", self.n_chains, Integral, low=1)
        check_number(who, "learning_rate", self.learning_rate, Real, low=0, open_low=True)
        check_number(who, "momentum", self.momentum, Real, low=0, high=1)
        check_number(who, "weight_decay", self.weight_decay, Real, low=0)
        check_number(who, "batch_size", self.batch_size, Integral, low=1)
        check_number(who, "n_iter", self.n_iter, Integral, low=0)

    def _check_fit(self, X: Any, *, fresh: bool) -> tuple[_core.States, np.dtype]:
        """All checks of a fit; only when the last has passed, n_features_in_ and feature_names_in_ are set."""
        self._check_parameters()
        who = f"{type(self).__name__}.{'fit' if fresh else 'partial_fit'}"
        checked = (
            check_array(
                X, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, estimator=self, input_name="X"
            )
            if fresh
            else check_X(self, X, reset=False)
        )
        dtype = float_dtype(checked) if fresh else self._model()[0].dtype
        if not fresh and checked.shape[1] != self.components_.shape[1]:
            raise ValueError(
                f"{who}: X has {checked.shape[1]} columns, the model has {self.components_.shape[1]}"
            )
        data = states(who, checked, dtype, check_range=self.check_range)
        if fresh:
            validate_data(self, X, reset=True, skip_check_array=True)
        return data, dtype

    def _start(self, n_features: int, dtype: np.dtype) -> None:
        """Memory for a new model; the core fills it from the first batch."""
        shape = (n_features, self.n_components)
        n_chains = self.n_chains or self.batch_size
        self.components_ = np.zeros(shape, dtype).T
        self.intercept_visible_ = np.zeros(n_features, dtype)
        self.intercept_hidden_ = np.zeros(self.n_components, dtype)
        self.visible_offset_ = np.zeros(n_features, dtype)
        self.hidden_offset_ = np.zeros(self.n_components, dtype)
        self.h_samples_ = np.zeros((n_chains if self.method == "pcd" else 0, self.n_components), dtype)
        self.n_iter_ = 0
        self.history_: dict[str, list[float]] = {name: [] for name in _QUANTITIES}
        self._velocity: dict[str, np.ndarray] = {}
        self._steps = 0
        self._seed = _new_seed(self.random_state)
        self._n_draws = 0

    def _train(self, data: _core.States, n_epochs: int, X: Any, y: Any) -> Any:
        weights, visible_bias, hidden_bias = self._model(writeable=True)
        n_features, n_components = weights.shape
        dtype = weights.dtype
        if not hasattr(self, "_seed"):  # a model put together by assignment trains on from where it stands
            self._adopt(n_features, n_components, dtype)
        visible_offset = np.require(self.visible_offset_, dtype, ["C", "W"])
        hidden_offset = np.require(self.hidden_offset_, dtype, ["C", "W"])
        chains = bit_words(f"{type(self).__name__}: h_samples_", np.asarray(self.h_samples_))
        if self.momentum and not self._velocity:
            self._velocity = {
                "weights": np.zeros_like(weights),
                "visible": np.zeros_like(visible_bias),
                "hidden": np.zeros_like(hidden_bias),
            }
        none = np.zeros((0, 0), dtype)
        velocity = self._velocity if self.momentum else dict.fromkeys(("weights", "visible", "hidden"), none)
        self.components_ = weights.T
        self.intercept_visible_, self.intercept_hidden_ = visible_bias, hidden_bias
        self.visible_offset_, self.hidden_offset_ = visible_offset, hidden_offset

        def update(steps: int) -> None:
            self._steps = steps
            self.h_samples_ = _core.unpack(chains, n_components).astype(dtype, copy=False)

        def on_epoch(steps: int, epochs: int, *quantities: float) -> bool:
            update(steps)
            self.n_iter_ = epochs
            for name, value in zip(_QUANTITIES, quantities, strict=True):
                self.history_[name].append(value)
            return loop.epoch_end(dict(zip(_QUANTITIES, quantities, strict=True)), self._fitted_attributes)

        loop: EpochLoop
        with epoch_loop(self, n_epochs, X=X, y=y) as loop:
            try:
                _core.rbm_train(
                    data, weights, visible_bias, hidden_bias, visible_offset, hidden_offset, velocity["weights"],
                    velocity["visible"], velocity["hidden"], chains, self._steps, self.n_iter_, self.method,
                    self.n_gibbs_steps, self.batch_size, float(self.learning_rate), float(self.momentum),
                    float(self.weight_decay), bool(self.centering), bool(self.shuffle), self._seed, n_epochs, on_epoch,
                )  # fmt: skip
            except _core.DivergenceError as error:
                raise _core.DivergenceError(f"{type(self).__name__}: {error}") from None
            finally:
                if self._steps == 0:  # no epoch came to its end: the parameters are the initial ones
                    update(0)
        return self

    def _adopt(self, n_features: int, n_components: int, dtype: np.dtype) -> None:
        """Whatever training needs beside the three assigned arrays."""
        means = 1 / (1 + np.exp(-np.asarray(self.intercept_visible_, dtype=np.float64)))
        defaults = {
            "visible_offset_": means.astype(dtype),
            "hidden_offset_": np.full(n_components, 0.5, dtype),
            "h_samples_": np.zeros((self.n_chains or self.batch_size, n_components), dtype),
            "history_": {name: [] for name in _QUANTITIES},
            "n_iter_": 0,
            "n_features_in_": n_features,
            "_velocity": {},
            "_steps": 1,  # 0 would have the core initialise
            "_seed": _new_seed(self.random_state),
            "_n_draws": 0,
        }
        for name, value in defaults.items():
            if not hasattr(self, name):
                setattr(self, name, value)

    def _fitted_attributes(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self).items()
            if (name.endswith("_") and not name.startswith("_")) or name in ("_velocity", "_steps", "_seed", "_n_draws")
        }

    # -- the model -----------------------------------------------------------------------------------------

    def _model(self, *, writeable: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights (n_features, n_components) and both biases, as the core reads them; views where possible."""
        check_is_fitted(self, "components_")
        who = type(self).__name__
        components = np.asarray(self.components_)
        dtype = float_dtype(components)
        flags = ["C", "W"] if writeable else ["C"]
        weights = np.require(components.T, dtype, flags)
        visible_bias = np.require(self.intercept_visible_, dtype, flags)
        hidden_bias = np.require(self.intercept_hidden_, dtype, flags)
        if weights.ndim != 2 or visible_bias.shape != weights.shape[:1] or hidden_bias.shape != weights.shape[1:]:
            raise ValueError(
                f"{who}: components_ is {components.shape}, intercept_visible_ {visible_bias.shape}, "
                f"intercept_hidden_ {hidden_bias.shape}; they must be (H, D), (D,) and (H,)"
            )
        for name, array in (
            ("components_", weights),
            ("intercept_visible_", visible_bias),
            ("intercept_hidden_", hidden_bias),
        ):
            if not np.isfinite(array).all():
                raise ValueError(f"{who}: {name} holds NaN or infinity")
        return weights, visible_bias, hidden_bias

    def _visible(self, method: str, X: Any) -> tuple[_core.States, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        model = self._model()
        checked = check_X(self, X, reset=False)
        return self._states(method, checked, model[0].shape[0], model[0].dtype), model

    def _states(self, method: str, X: Any, n_columns: int, dtype: np.dtype, name: str = "X") -> _core.States:
        who = f"{type(self).__name__}.{method}"
        if X.shape[1] != n_columns:
            raise ValueError(f"{who}: {name} has {X.shape[1]} columns, the model has {n_columns}")
        return states(who, X, dtype, check_range=self.check_range)

    def _hidden(self, method: str, H: Any, n_columns: int, dtype: np.dtype) -> _core.States:
        H = check_array(H, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, input_name="H")
        return self._states(method, H, n_columns, dtype, "H")

    def _draw_seed(self, random_state: Any = None) -> int:
        """A seed for one call: from random_state, or the next of the fit's own sequence."""
        if random_state is not None:
            return _new_seed(random_state)
        self._n_draws = getattr(self, "_n_draws", 0) + 1
        if not hasattr(self, "_seed"):
            self._seed = _new_seed(self.random_state)
        return int(np.random.SeedSequence([self._seed, self._n_draws]).generate_state(1, np.uint64)[0])

    def transform(self, X: Any) -> np.ndarray:
        """p(h = 1 | v) = sigmoid(c + v W) for every row v of X.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), in [0, 1]

        Returns
        -------
        H : array of shape (n_samples, n_components), in the dtype of the model
        """
        data, model = self._visible("transform", X)
        return _core.rbm_probability(*model, data, False)

    def inverse_transform(self, H: Any) -> np.ndarray:
        """p(v = 1 | h) = sigmoid(b + W h) for every row h of H.

        Parameters
        ----------
        H : array-like or CSR matrix of shape (n_samples, n_components)
            Hidden states, or probabilities as `transform` gives them.

        Returns
        -------
        X : array of shape (n_samples, n_features), in the dtype of the model
        """
        model = self._model()
        return _core.rbm_probability(*model, self._hidden("inverse_transform", H, model[0].shape[1], model[0].dtype), True)

    def gibbs(self, v: Any, n_steps: int = 1, *, random_state: Any = None) -> np.ndarray:
        """Alternating draws of h given v and v given h, `n_steps` times.

        Parameters
        ----------
        v : array-like or CSR matrix of shape (n_samples, n_features)
        n_steps : int, default=1
        random_state : int, RandomState or None
            None: the next draws of the sequence that the fit's random_state began, new ones at every call.

        Returns
        -------
        v_new : bool array of shape (n_samples, n_features)
        """
        check_number(f"{type(self).__name__}.gibbs", "n_steps", n_steps, Integral, low=1)
        data, model = self._visible("gibbs", v)
        words = _core.rbm_gibbs(*model, data, False, n_steps, self._draw_seed(random_state), None, None)
        return _core.unpack(words, data.cols).astype(bool)

    def sample(
        self,
        n_samples: int = 1,
        *,
        n_steps: int = 1000,
        init: Any = None,
        clamp: tuple[Any, Any] | None = None,
        random_state: Any = None,
    ) -> np.ndarray:
        """Draw visible states from the model by block Gibbs sampling, one chain for each.

        Parameters
        ----------
        n_samples : int, default=1
        n_steps : int, default=1000
            Full steps v -> h -> v from the start. Neighbouring digits of a start show until the chain has mixed.
        init : array-like of shape (n_samples, n_features) or None
            States to start from. None: the persistent chains of training, else draws from the visible biases.
        clamp : (mask, values) or None
            Units that stay: mask (n_features,) or (n_samples, n_features) of bool, values (n_samples, n_features)
            or (n_features,), 0 or 1. The others are drawn given these: fill in the missing half of an image.
        random_state : int, RandomState or None, as in `gibbs`

        Returns
        -------
        V : array of shape (n_samples, n_features) of 0 and 1, in the dtype of the model
        """
        who = f"{type(self).__name__}.sample"
        check_number(who, "n_samples", n_samples, Integral, low=1)
        check_number(who, "n_steps", n_steps, Integral, low=1)
        model = self._model()
        n_features, n_components = model[0].shape
        seed = self._draw_seed(random_state)
        mask, values = self._clamp(who, clamp, (n_samples, n_features))
        from_hidden = init is None and mask is None and len(getattr(self, "h_samples_", ())) > 0
        if from_hidden:
            # Each chain once, twice, ... : equal starts part at the first draw, their rows differ.
            rows = np.arange(n_samples) % len(self.h_samples_)
            start = states(f"{who}: h_samples_", np.asarray(self.h_samples_)[rows], model[0].dtype)
        elif init is None:
            start = _core.States.from_bits(
                _core.bernoulli(np.zeros((n_samples, n_features), model[0].dtype), model[1], 1.0, seed, 2, 0, 0)[1],
                n_features,
            )
        else:
            start = self._states("sample", check_array(init, dtype="numeric", input_name="init"), n_features, model[0].dtype, "init")
            if start.rows != n_samples:
                raise ValueError(f"{who}: init has {start.rows} rows, n_samples={n_samples}")
        if mask is not None:
            start = self._clamped_start(start, mask, values, n_features)
        words = _core.rbm_gibbs(*model, start, from_hidden, n_steps, seed, mask, values)
        return _core.unpack(words, n_features).astype(model[0].dtype, copy=False)

    @staticmethod
    def _clamp(who: str, clamp: Any, shape: tuple[int, int]) -> tuple[np.ndarray | None, np.ndarray | None]:
        if clamp is None:
            return None, None
        mask, values = (np.asarray(part) for part in clamp)
        if mask.dtype != bool:
            raise TypeError(f"{who}: the mask of clamp is of type {mask.dtype}, bool is needed")
        try:
            mask, values = np.broadcast_to(mask, shape), np.broadcast_to(values, shape)
        except ValueError:
            raise ValueError(f"{who}: clamp is {mask.shape} and {values.shape}, it must fit {shape}") from None
        return bit_words(f"{who}: mask", mask), bit_words(f"{who}: values of clamp", np.where(mask, values, 0))

    @staticmethod
    def _clamped_start(start: _core.States, mask: np.ndarray, values: np.ndarray, n_features: int) -> _core.States:
        words = start.words() if start.is_bits() else None
        if words is None:
            raise ValueError("sample: with clamp, init must be 0 or 1")
        return _core.States.from_bits((words & ~mask) | (values & mask), n_features)

    # -- scores --------------------------------------------------------------------------------------------

    def energy(self, V: Any, H: Any) -> np.ndarray:
        """E(v, h) = -b.v - c.h - v W h, row by row (Smolensky 1986).

        Parameters
        ----------
        V : array-like or CSR matrix of shape (n_samples, n_features)
        H : array-like of shape (n_samples, n_components)

        Returns
        -------
        energy : float64 array of shape (n_samples,)
        """
        weights, visible_bias, hidden_bias = (part.astype(np.float64) for part in self._model())
        V = check_X(self, V, reset=False)
        H = check_array(H, dtype="numeric", ensure_all_finite=False, input_name="H")
        for name, part, columns in (("V", V, weights.shape[0]), ("H", H, weights.shape[1])):
            self._states("energy", part, columns, weights.dtype, name)
        if V.shape[0] != H.shape[0]:
            raise ValueError(f"{type(self).__name__}.energy: V has {V.shape[0]} rows, H {H.shape[0]}")
        V = V if sp.issparse(V) else V.astype(np.float64)
        H = H.astype(np.float64)
        return -(V @ visible_bias) - H @ hidden_bias - (safe_sparse_dot(V, weights) * H).sum(axis=1)

    def free_energy(self, X: Any) -> np.ndarray:
        """F(v) = -log sum_h exp(-E(v, h)) = -b.v - sum_j softplus(c_j + (v W)_j), so p(v) = exp(-F(v)) / Z.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        free_energy : float64 array of shape (n_samples,), in nats
        """
        data, model = self._visible("free_energy", X)
        return _core.rbm_free_energy(*model, data)

    def score_samples(self, X: Any) -> np.ndarray:
        """Pseudo-log-likelihood of every row, exact: sum_i log p(v_i | all other units) (Besag 1975).

        Nothing is drawn: equal rows score equally. scikit-learn's estimates the sum from one random unit.
        Where X holds values between 0 and 1, unit i is set against its complement 1 - v_i, as there.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        pseudo_log_likelihood : float64 array of shape (n_samples,), in nats
        """
        data, model = self._visible("score_samples", X)
        return _core.rbm_pseudo_log_likelihood(*model, data)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: comparable between models of the same data, without Z."""
        return float(self.score_samples(X).mean())

    def log_likelihood(self, X: Any, *, log_partition: LogPartition | None = None) -> np.ndarray:
        """log p(v) = -F(v) - log Z of every row.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), 0 or 1
        log_partition : LogPartition or None
            What `log_partition()` returned, to compute Z once for several X. None: ``log_partition()`` is called.

        Returns
        -------
        log_likelihood : float64 array of shape (n_samples,), in nats. Every row shares the error of log Z.

        Raises
        ------
        ValueError
            If X holds values other than 0 and 1: they have no probability under this model. Binarise them.
        """
        data, model = self._visible("log_likelihood", X)
        if data.is_dense():
            raise ValueError(
                f"{type(self).__name__}.log_likelihood: X holds values between 0 and 1, the model only gives 0 and 1 "
                "a probability; binarise X, by a threshold or by drawing"
            )
        log_z = self.log_partition() if log_partition is None else log_partition
        return -_core.rbm_free_energy(*model, data) - log_z.value

    def log_partition(
        self,
        method: str = "auto",
        *,
        n_runs: int = 100,
        n_betas: int = 5000,
        betas: Any = None,
        random_state: Any = None,
    ) -> LogPartition:
        """log Z = log sum over v and h of exp(-E(v, h)).

        Parameters
        ----------
        method : {"auto", "exact", "ais", "reverse_ais"}, default="auto"
            exact: sum over all states of the smaller layer, which may have 25 units.
            ais: annealed importance sampling (Neal 2001; Salakhutdinov and Murray 2008) up from independent
            units with the data's base rates. Its weights are right on average, so log Z comes out too low more
            often than too high, and likelihoods too good.
            reverse_ais: down from samples of the model, which errs to the other side (Burda et al. 2015).
            auto: exact where that is possible, else ais.
        n_runs : int, default=100
            Independent chains.
        n_betas : int, default=5000
            Temperatures, in the proportions of Salakhutdinov and Murray's schedule.
        betas : array-like or None
            The temperatures themselves, rising from 0 to 1.
        random_state : int, RandomState or None, as in `gibbs`

        Returns
        -------
        log_partition : LogPartition
            With `value`, `std_error`, `lower`, `upper` and `effective_sample_size`.
        """
        who = f"{type(self).__name__}.log_partition"
        check_choice(who, "method", method, ("auto", "exact", "ais", "reverse_ais"))
        check_number(who, "n_runs", n_runs, Integral, low=1)
        check_number(who, "n_betas", n_betas, Integral, low=2)
        model = self._model()
        if method == "exact" or (method == "auto" and min(model[0].shape) <= _log_partition.MAX_ENUMERATED):
            return _log_partition.exact(model)
        steps = _log_partition.schedule(n_betas) if betas is None else np.array(betas, dtype=np.float64)
        if steps.ndim != 1 or len(steps) < 2 or steps[0] != 0 or steps[-1] != 1 or (np.diff(steps) < 0).any():
            raise ValueError(f"{who}: betas must rise from 0 to 1")
        seed = self._draw_seed(random_state)
        start = None
        if method == "reverse_ais":
            start = bit_words(who, self.sample(n_runs, random_state=seed % 2**32))
        return _log_partition.annealed(model, self._base_rates(model[1]), steps, n_runs, seed, start)

    def _base_rates(self, visible_bias: np.ndarray) -> np.ndarray:
        """Visible biases of the independent model that annealing starts from: those of the data's means."""
        if not hasattr(self, "visible_offset_"):
            return visible_bias.astype(np.float64)
        means = np.clip(np.asarray(self.visible_offset_, dtype=np.float64), 0.005, 0.995)
        return np.log(means) - np.log1p(-means)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = self.check_range
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]


def _new_seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(np.iinfo(np.int64).max, dtype=np.int64))
