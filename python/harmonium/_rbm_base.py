"""Training of RBMs over the core's loop, on top of their sampling and scoring."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from . import _core
from ._callbacks import CallbackMixin, EpochLoop, epoch_loop
from ._rbm_sampling import new_seed
from ._rbm_scores import ScoringRBM
from ._validation import bit_words, check_choice, check_number, check_X, float_dtype, states

_QUANTITIES = ("pseudo_log_likelihood", "hidden_activity", "weight_rms")


class BaseRBM(CallbackMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ScoringRBM):
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
        self._seed = new_seed(self.random_state)
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
            "_seed": new_seed(self.random_state),
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = self.check_range
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]
