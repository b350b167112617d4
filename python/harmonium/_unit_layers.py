"""RBMs with units of any type: their layers, and the means of one given the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from . import _categories, _core, _unit_missing, _unit_partition
from ._device import host, is_on_gpu
from ._rbm_base import BaseRBM
from ._units import UnitStates, VisibleLayer, hidden_groups, kinds_of, parse_visible, visible_pairs
from ._validation import check_X, states


class UnitLayersRBM(BaseRBM):
    """`BaseRBM` for all types of units; where all is plain Bernoulli, its own methods do the work."""

    visible: Any
    _n_columns: int
    _one_hot: bool
    hidden: str
    n_categories: Any
    learn_variance: bool
    l1: float
    sparsity_target: float
    sparsity_cost: float
    fast_learning_rate: float
    n_temperatures: int
    allow_missing: bool
    n_categories_: np.ndarray
    visible_scale_: np.ndarray
    swap_rates_: np.ndarray

    def _plain(self) -> bool:
        """Whether all units are Bernoulli units, in one block."""
        return isinstance(self.visible, str) and self.visible == self.hidden == "bernoulli"

    def _plain_training(self) -> bool:
        return (
            self._plain()
            and self.method in ("cd", "pcd")
            and not (self.l1 or self.sparsity_cost or self.allow_missing or self.learn_variance)
        )

    def _layer(self) -> VisibleLayer:
        who = type(self).__name__
        n_units = np.shape(self.components_)[1]
        given = getattr(self, "n_categories_", ())
        if hasattr(self, "_n_columns") and (len(given) or "categorical" not in kinds_of(self.visible)):
            blocks = parse_visible(who, self.visible, self._n_columns)
            return VisibleLayer(who, blocks, tuple(map(int, given)), self._one_hot)
        pairs = visible_pairs(who, self.visible)
        blocks, choices = _categories.in_units(who, pairs, n_units, given if len(given) else self.n_categories)
        return VisibleLayer(who, blocks, *choices)

    def _columns(self, n_units: int) -> int:
        return self._layer().n_columns

    def _check_columns(self, method: str, X: Any, name: str = "X", *, on_host: bool = False) -> Any:
        """`check_X` where categorical columns are codes or one-hot, whichever the fit had. X on the model's GPU stays
        there, or comes to the host."""
        there = self._on_the_gpu(method, X, name)
        if there is not None and not on_host:
            return there
        X = X if there is None else host(there)
        layer = self._layer()
        try:
            shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
        except ValueError:  # scikit-learn says what is wrong
            shape = ()
        if len(shape) != 2 or layer.of_width(shape[1]).n_columns == getattr(self, "n_features_in_", shape[1]):
            return check_X(self, X, reset=False)
        return check_array(
            X, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, estimator=self, input_name="X"
        )

    def _scale(self) -> np.ndarray:
        """Standard deviations of the units as they were learned or assigned: refused where they are none."""
        n_units = np.shape(self.components_)[1]
        if not hasattr(self, "visible_scale_"):
            return np.ones(n_units)
        scale = np.asarray(host(self.visible_scale_), dtype=np.float64)
        who = f"{type(self).__name__}: visible_scale_"
        if scale.shape != (n_units,):
            raise ValueError(f"{who} is {scale.shape}, the model needs {(n_units,)}")
        if not ((scale > 0) & np.isfinite(scale)).all():
            i = int(np.argmin((scale > 0) & np.isfinite(scale)))
            raise ValueError(f"{who} is {scale[i]:g} in place {i}; standard deviations are finite and greater than 0")
        for block in self._layer().blocks:
            if block.type != "gaussian" and (scale[block.units] != 1).any():
                i = block.units.start + int(np.argmax(scale[block.units] != 1))
                raise ValueError(
                    f"{who} is {scale[i]:g} in place {i}, a {block.type} unit; only gaussian ones have any"
                )
        return scale

    def _unit_model(self) -> _unit_partition.UnitModel:
        weights, visible_bias, hidden_bias = self._model()
        layer = self._layer()
        if layer.n_units != len(visible_bias):
            raise ValueError(
                f"{type(self).__name__}: components_ has {len(visible_bias)} columns, the visible layer "
                f"{layer.n_units} units"
            )
        return weights, visible_bias, hidden_bias, layer.groups, hidden_groups(self.hidden, len(hidden_bias))

    def _unit_states(self, method: str, X: Any, name: str = "X") -> UnitStates:
        return self._layer().encode(f"{type(self).__name__}.{method}: {name}", X, self._model()[0].dtype, self._scale())

    def _has_missing(self, X: Any) -> bool:
        return bool(self.allow_missing) and _unit_missing.first_missing(X) is not None

    def _refuse_missing(self, method: str, X: Any) -> None:
        if self.allow_missing and (place := _unit_missing.first_missing(X)):
            raise ValueError(
                f"{type(self).__name__}.{method}: X contains NaN in row {place[0]}, column {place[1]}. fit, "
                "partial_fit, free_energy and log_likelihood take missing entries; for other methods fill them in: "
                "sample(len(X), clamp=(~np.isnan(X), X)) draws them given what is known"
            )

    def transform(self, X: Any) -> np.ndarray:
        """The hidden units' means given every row of X: p(h = 1 | v) = sigmoid(c + v W) for bernoulli units.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`

        Returns
        -------
        H : array of shape (n_samples, n_components), in the dtype of the model
        """
        self._refuse_missing("transform", X)
        if self._plain():
            return super().transform(X)
        return self._beside_model(self._hidden_means(self._check_columns("transform", X)))

    def _hidden_means(self, X: Any) -> np.ndarray:
        """`transform` of X whose columns were checked, as NumPy's."""
        model, data = self._unit_model(), self._unit_states("transform", X)
        return _core.unit_probability(*model, data.states, data.exposure, False, self._device())

    def inverse_transform(self, H: Any) -> np.ndarray:
        """The visible units' means given every row h of H: p(v = 1 | h) = sigmoid(b + W h) for bernoulli units.

        Parameters
        ----------
        H : array-like or CSR matrix of shape (n_samples, n_components)
            Hidden states, or means as `transform` gives them.

        Returns
        -------
        X : array of shape (n_samples, n_units), in the dtype of the model
            Categorical columns as probabilities of their categories; of a bag of words, of its words.
        """
        if self._plain():
            return super().inverse_transform(H)
        model = self._unit_model()
        who = f"{type(self).__name__}.inverse_transform"
        there = self._on_the_gpu("inverse_transform", H, "H")
        if there is None:
            H = check_array(H, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, input_name="H")
        else:
            H = there
        if H.shape[1] != model[0].shape[1]:
            raise ValueError(f"{who}: H has {H.shape[1]} columns, the model has {model[0].shape[1]} hidden units")
        in_unit_interval = self.hidden == "bernoulli" and self.check_range
        given = states(f"{who}: H", H, model[0].dtype, check_range=in_unit_interval)
        lowest = _core.summarise_columns(H)[0].min() if is_on_gpu(H) else H.min()
        if self.hidden == "relu" and lowest < 0:
            raise ValueError(f"{who}: H holds values from {lowest:g}, relu units are at least 0")
        exposure = np.ones(given.rows, model[0].dtype) if self._layer().counts else None
        means = _core.unit_probability(*model, given, exposure, True, self._device())
        return self._beside_model((means * self._scale()).astype(means.dtype))
