"""Checks of an autoencoder's parameters and of the X that it is fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_array

from . import _core, ops
from ._autoencoder_base import BaseAutoencoder
from ._autoencoder_start import INITIALIZATIONS
from ._device import gpu_rows, head, host, is_on_gpu, take_rows
from ._output_columns import OutputColumns, canonical, likelihood_pairs
from ._validation import check_choice, check_flag, check_number, float_dtype

ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "softplus")
SOLVERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "lbfgs", "cg")
SCHEDULES = ("constant", "invscaling", "adaptive", "linear", "exponential")
_SPLIT_STREAM = 5


@dataclass
class TrainingData:
    """Data of one fit, checked."""

    columns: OutputColumns
    states: _core.States
    validation: _core.States | None
    limits: tuple[np.ndarray, np.ndarray]
    means: np.ndarray
    dtype: np.dtype
    rows: int
    array: Any  # the rows, categorical columns one-hot: pretraining reads it
    device: str
    like: Any  # X, whose library and GPU learned arrays are to be of

    def head(self, n: int) -> Any:
        return head(self.array, n)

    def first_rows(self, n: int) -> _core.States:
        return self.columns.one_hot_columns().encode("X", self.head(n), self.dtype)


class CheckedAutoencoder(BaseAutoencoder):
    """Adds the checks before a fit."""

    hidden_layer_sizes: Any
    code_activation: str
    n_categories: Any
    corruption: str | None
    corruption_level: float
    dropout: float
    contraction: float
    alpha: float
    initialization: str
    pretraining: str | None
    pretraining_iter: int
    solver: str
    learning_rate: str
    learning_rate_init: float | None
    power_t: float
    momentum: float
    beta_1: float
    beta_2: float
    epsilon: float
    batch_size: int
    max_iter: int
    shuffle: bool
    tol: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    n_iter_: int
    history_: dict[str, list[float]]
    _kept: np.ndarray
    _kept_rule: str
    _kept_since: int
    _steps: int
    _rate_factor: float
    _seed: int

    # -- checks --------------------------------------------------------------------------------------------------------

    def _sizes(self, name: str) -> list[int]:
        who, given = type(self).__name__, getattr(self, name)
        try:
            sizes = [given] if isinstance(given, Integral) else list(given)
        except TypeError:
            raise TypeError(f"{who}: {name}={given!r}, an integer or a sequence of integers is needed") from None
        if not sizes and name == "hidden_layer_sizes":
            raise ValueError(f"{who}: {name}={given!r} is empty, at least one hidden layer is needed")
        for layer, size in enumerate(sizes):
            check_number(who, f"{name}[{layer}]", size, Integral, low=1)
        return [int(size) for size in sizes]

    def _decoder_sizes(self) -> list[int]:
        """Between code and columns."""
        mirrored = self._sizes("hidden_layer_sizes")[-2::-1]
        if self.decoder_layer_sizes is None:
            return mirrored
        sizes = self._sizes("decoder_layer_sizes")
        if self.tied and sizes != mirrored:
            raise ValueError(
                f"{type(self).__name__}: tied=True needs a decoder that mirrors the encoder: with hidden_layer_sizes="
                f"{self.hidden_layer_sizes!r} decoder_layer_sizes is {tuple(mirrored)!r}, not "
                f"{self.decoder_layer_sizes!r}; use tied=False for another one"
            )
        return sizes

    def _check_parameters(self) -> None:
        who = type(self).__name__
        self._decoder_sizes()
        check_choice(who, "activation", self.activation, ACTIVATIONS)
        check_choice(who, "code_activation", self.code_activation, ("auto", *ACTIVATIONS))
        check_choice(who, "solver", self.solver, SOLVERS)
        check_choice(who, "learning_rate", self.learning_rate, SCHEDULES)
        check_choice(who, "initialization", self.initialization, INITIALIZATIONS)
        if self.corruption is not None:
            check_choice(who, "corruption", self.corruption, ("masking", "gaussian", "salt_and_pepper"))
        if self.pretraining is not None:
            check_choice(who, "pretraining", self.pretraining, ("rbm", "layerwise"))
        share = self.corruption != "gaussian"  # of the entries, where that is a standard deviation
        check_number(
            who, "corruption_level", self.corruption_level, Real, low=0, high=1 if share else np.inf, closed_high=share
        )
        check_number(who, "dropout", self.dropout, Real, low=0, high=1)
        for name in ("contraction", "alpha", "power_t", "tol"):
            check_number(who, name, getattr(self, name), Real, low=0, high=np.inf)
        for name in ("momentum", "beta_1", "beta_2"):
            check_number(who, name, getattr(self, name), Real, low=0, high=1)
        check_number(who, "epsilon", self.epsilon, Real, low=0, open_low=True)
        if self.learning_rate_init is not None:
            check_number(who, "learning_rate_init", self.learning_rate_init, Real, low=0, open_low=True)
        for name in ("batch_size", "n_iter_no_change"):
            check_number(who, name, getattr(self, name), Integral, low=1)
        for name in ("max_iter", "pretraining_iter"):
            check_number(who, name, getattr(self, name), Integral, low=0)
        check_number(who, "validation_fraction", self.validation_fraction, Real, low=0, high=1, open_low=True)
        for name in ("tied", "shuffle", "early_stopping", "warm_start", "check_range"):
            check_flag(who, name, getattr(self, name))
        if not isinstance(self.verbose, (bool, np.bool_)):
            check_number(who, "verbose", self.verbose, Integral, low=0)
        if self.contraction and self.dropout:
            raise ValueError(f"{who}: contraction={self.contraction} and dropout={self.dropout} exclude each other")
        likelihood_pairs(who, self.likelihood)
        self._device()

    def _check_fit(self, method: str, X: Any, seed: int, *, fresh: bool, split: bool = True) -> TrainingData:
        """All checks of parameters and X; nothing is changed."""
        self._check_parameters()
        who = f"{type(self).__name__}.{method}: X"
        device = self._device(X)
        if fresh:
            if is_on_gpu(X):
                checked = gpu_rows(who, X, floats=True)
                if any(kind == "categorical" for kind, _ in likelihood_pairs(who, self.likelihood)):
                    checked = host(checked)  # where choices are encoded
            else:
                checked = check_array(
                    X, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, estimator=self, input_name="X"
                )
            dtype = float_dtype(checked)
            if not is_on_gpu(X) and checked.dtype.kind not in "biuf":
                raise TypeError(f"{who} is of type {checked.dtype}, bool, integers or floats are needed")
            checked = canonical(who, checked)
            columns = OutputColumns.of_data(
                f"{type(self).__name__}.{method}", self.likelihood, self.n_categories, checked, bool(self.check_range)
            )
        else:
            self._check_as_started(f"{type(self).__name__}.{method}")
            columns = self._columns()
            checked = canonical(who, self._checked_rows(who, columns, X))
            dtype = self._dtype()
        train, held_out = checked, None
        if self.early_stopping and split and self.solver not in ("lbfgs", "cg"):
            train, held_out = self._split(who, checked, seed)
        own = columns.of_width(checked.shape[1])
        states = own.encode(who, train, dtype)
        validation = None if held_out is None else own.encode(who, held_out, dtype)
        limits = (
            own.limits(train) if self.corruption == "salt_and_pepper" else (np.zeros(own.n_units), np.ones(own.n_units))
        )
        if own.categories and not own.one_hot:  # of the one-hot columns; codes have no use for themselves
            train = states.dense()
        # Only a start needs them: a pass over all of X.
        means = np.empty(0)
        if fresh:
            means = _core.summarise_columns(train)[2] if is_on_gpu(train) else train.mean(axis=0, dtype=np.float64)
            means = np.asarray(means).ravel()
        return TrainingData(own, states, validation, limits, means, dtype, train.shape[0], train, device, X)

    def _check_as_started(self, who: str) -> None:
        """What only a start reads has to be what the model was started with."""
        encoder, decoder = self._layer_sizes()
        pairs = likelihood_pairs(who, self.likelihood)
        if isinstance(self.likelihood, str):
            pairs = [(self.likelihood, sum(count for _, count in self._pairs))]
        for name, wanted, there in (
            ("hidden_layer_sizes", self._sizes("hidden_layer_sizes"), encoder[1:]),
            ("decoder_layer_sizes", self._decoder_sizes(), decoder),
            ("likelihood", pairs, self._pairs),
        ):
            if wanted != there:
                raise ValueError(
                    f"{who}: {name}={getattr(self, name)!r:.60}, but the model that training goes on with has "
                    f"{there!r:.60}; set it back, or start a new model: fit with warm_start=False"
                )

    def _split(self, who: str, X: Any, seed: int) -> tuple[Any, Any]:
        n_held = int(np.ceil(self.validation_fraction * X.shape[0]))
        if n_held >= X.shape[0]:
            raise ValueError(
                f"{who} has n_samples={X.shape[0]}, validation_fraction={self.validation_fraction} of them leave none "
                "to train on"
            )
        order = np.argsort(ops.uniform((X.shape[0], 1), seed=seed, stream=_SPLIT_STREAM, dtype=np.float64)[:, 0])
        return take_rows(X, np.sort(order[n_held:])), take_rows(X, np.sort(order[:n_held]))
