"""The model of an RBM as its methods read it, its conditionals and draws from it."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from . import _core
from ._callbacks import progress_bar
from ._device import beside, choose_device, gpu_rows, host, is_on_gpu, refuse_mixed
from ._validation import bit_words, check_number, check_X, float_dtype, states

Model = tuple[np.ndarray, np.ndarray, np.ndarray]


class SamplingRBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Conditionals and sampling, from the three arrays of the model."""

    components_: np.ndarray
    check_range: bool
    verbose: int
    random_state: Any
    device: str | None

    def _model(self, *, writeable: bool = False) -> Model:
        """Weights (n_features, n_components) and both biases, as the core reads them: views where possible, copies of
        arrays on a GPU."""
        check_is_fitted(self, "components_")
        who = type(self).__name__
        components = host(self.components_)
        dtype = float_dtype(components)
        visible_bias, hidden_bias = host(self.intercept_visible_), host(self.intercept_hidden_)
        weights, visible_bias, hidden_bias = (
            np.require(part, dtype, ["C", "W"] if writeable else ["C"])
            for part in (components.T, visible_bias, hidden_bias)
        )
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

    def _device(self) -> str:
        """Where methods of bernoulli units compute, as the core names it: where the model is, if `device` is None."""
        return choose_device(type(self).__name__, self.device, self.components_)

    def _beside_model(self, array: np.ndarray) -> Any:
        """As an array of the model's library, on its GPU if it is on one."""
        return beside(array, self.components_)

    def _refuse_mixed(self, method: str, X: Any, name: str) -> None:
        who = f"{type(self).__name__}.{method}"
        refuse_mixed(who, X, "components_ of the model", self.components_, name=name)

    def _on_the_gpu(self, method: str, X: Any, name: str = "X") -> Any:
        """X as rows on the model's GPU; None where it is not on one, nor the model."""
        self._refuse_mixed(method, X, name)
        return gpu_rows(f"{type(self).__name__}.{method}: {name}", X) if is_on_gpu(X) else None

    def _visible(self, method: str, X: Any) -> tuple[_core.States, Model]:
        model, checked = self._model(), self._on_the_gpu(method, X)
        if checked is None:
            checked = check_X(self, X, reset=False)
        return self._states(method, checked, model[0].shape[0], model[0].dtype), model

    def _states(self, method: str, X: Any, n_columns: int, dtype: np.dtype, name: str = "X") -> _core.States:
        who = f"{type(self).__name__}.{method}"
        if X.shape[1] != n_columns:
            raise ValueError(f"{who}: {name} has {X.shape[1]} columns, the model has {n_columns}")
        return states(f"{who}: {name}", X, dtype, check_range=self.check_range)

    def _hidden(self, method: str, H: Any, n_columns: int, dtype: np.dtype) -> _core.States:
        checked = self._on_the_gpu(method, H, "H")
        if checked is None:
            checked = check_array(H, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, input_name="H")
        return self._states(method, checked, n_columns, dtype, "H")

    def _draw_seed(self, random_state: Any = None) -> int:
        """A seed for one call: from random_state, or the next of the fit's own sequence."""
        if random_state is not None:
            return new_seed(random_state)
        self._n_draws = getattr(self, "_n_draws", 0) + 1
        if not hasattr(self, "_seed"):
            self._seed = new_seed(self.random_state)
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
        return self._beside_model(_core.rbm_probability(*model, data, False, self._device()))

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
        hidden = self._hidden("inverse_transform", H, model[0].shape[1], model[0].dtype)
        return self._beside_model(_core.rbm_probability(*model, hidden, True, self._device()))

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
        device = self._device()
        seed = self._draw_seed(random_state)
        with progress_bar(f"{type(self).__name__}.gibbs", self.verbose) as progress:
            words = _core.rbm_gibbs(*model, data, False, n_steps, seed, None, None, progress, device)
        return self._beside_model(_core.unpack(words, data.cols).astype(bool))

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
        model, device = self._model(), self._device()
        n_features, dtype = model[0].shape[0], model[0].dtype
        mask, values = self._clamp(who, clamp, (n_samples, n_features))
        start = None
        if init is not None:
            self._refuse_mixed("sample", init, "init")
            init = host(init) if is_on_gpu(init) else init
            init = check_array(init, dtype="numeric", ensure_all_finite=False, input_name="init")
            start = self._states("sample", init, n_features, dtype, "init")
            if start.rows != n_samples:
                raise ValueError(f"{who}: init has {start.rows} rows, n_samples={n_samples}")
            if mask is not None and not start.is_bits():
                raise ValueError(f"{who}: with clamp, init must be 0 or 1")
        from_hidden = init is None and mask is None and np.shape(getattr(self, "h_samples_", ()))[0] > 0
        if from_hidden:
            # Each chain once, twice, ... : equal starts part at the first draw, their rows differ.
            chains = host(self.h_samples_)
            chains = chains[np.arange(n_samples) % len(chains)]
            if chains.ndim != 2 or chains.shape[1] != model[0].shape[1]:
                raise ValueError(f"{who}: h_samples_ is {chains.shape}, the model has {model[0].shape[1]} hidden units")
            start = states(f"{who}: h_samples_", chains, dtype)
        seed = self._draw_seed(random_state)
        if start is None:
            zeros = np.zeros((n_samples, n_features), dtype)
            start = _core.States.from_bits(_core.bernoulli(zeros, model[1], 1.0, seed, 2, 0, 0)[1], n_features)
        if mask is not None:
            start = _core.States.from_bits((start.words() & ~mask) | (values & mask), n_features)
        with progress_bar(who, self.verbose) as progress:
            words = _core.rbm_gibbs(*model, start, from_hidden, n_steps, seed, mask, values, progress, device)
        return self._beside_model(_core.unpack(words, n_features).astype(dtype, copy=False))

    @staticmethod
    def _clamp(who: str, clamp: Any, shape: tuple[int, int]) -> tuple[Any, Any]:
        if clamp is None:
            return None, None
        if not isinstance(clamp, (tuple, list)) or len(clamp) != 2:
            raise TypeError(f"{who}: clamp is {clamp!r:.60}, a pair (mask, values) is needed")
        mask, values = (host(part) if is_on_gpu(part) else np.asarray(part) for part in clamp)
        if mask.dtype != bool:
            raise TypeError(f"{who}: the mask of clamp is of type {mask.dtype}, bool is needed")
        try:
            mask, values = np.broadcast_to(mask, shape), np.broadcast_to(values, shape)
        except ValueError:
            raise ValueError(f"{who}: clamp is {mask.shape} and {values.shape}, it must fit {shape}") from None
        return bit_words(f"{who}: mask", mask), bit_words(f"{who}: values of clamp", np.where(mask, values, 0))


def new_seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(np.iinfo(np.int64).max, dtype=np.int64))
