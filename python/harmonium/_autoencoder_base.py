"""A fitted autoencoder at work, from the arrays of its layers; the gradient of its loss."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from . import _core
from ._device import as_type, beside, choose_device, dtype_of, gpu_rows, host, is_on_gpu, refuse_mixed, transposed
from ._output_columns import OutputColumns, canonical, in_type
from ._validation import check_finite, check_X, float_dtype

NO_NOISE = {"corruption": None, "corruption_level": 0.0, "dropout": 0.0}


def _mirrors(W: Any, other: Any) -> bool:
    """Whether the other is W transposed; of a view of W that is known without a look."""
    interface = "__cuda_array_interface__" if is_on_gpu(W) and is_on_gpu(other) else "__array_interface__"
    ours, theirs = getattr(W, interface, None), getattr(other, interface, None)
    if ours and theirs:
        item = dtype_of(W).itemsize
        view = (item, W.shape[1] * item)
        same = (
            ours["data"] == theirs["data"]
            and ours["typestr"] == theirs["typestr"]
            and ours["shape"] == theirs["shape"][::-1]
        )
        if same and not ours.get("strides") and theirs.get("strides") == view:
            return True
    return np.array_equal(host(W), host(other).T)


class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Methods of a fitted network; the class in autoencoder.py gives it its parameters."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    code_activation_: str
    n_categories_: np.ndarray
    n_features_in_: int
    activation: str
    likelihood: Any
    tied: bool
    decoder_layer_sizes: Any
    check_range: bool
    device: str | None
    corruption: str | None
    verbose: int
    random_state: Any
    _one_hot: bool
    _n_encoder: int

    # -- parameters ----------------------------------------------------------------------------------------------------

    @property
    def components_(self) -> np.ndarray:
        """Weights of the first layer, transposed: (hidden units, columns), as linear models have them."""
        check_is_fitted(self, "coefs_")
        return transposed(self.coefs_[0] if is_on_gpu(self.coefs_[0]) else np.asarray(self.coefs_[0]))

    @property
    def _n_features_out(self) -> int:
        return np.shape(self.coefs_[self._n_encoder - 1])[1]

    def _layer_sizes(self) -> tuple[list[int], list[int]]:
        """The encoder's sizes, D first, and the decoder's between code and D, as the arrays have them: checked."""
        who = type(self).__name__
        shapes = [np.shape(W) for W in self.coefs_]
        n = self._n_encoder
        if any(len(shape) != 2 or 0 in shape for shape in shapes) or len(shapes) <= n:
            raise ValueError(
                f"{who}: coefs_ holds arrays of shapes {shapes}; {n} layers of the encoder and a decoder are needed"
            )
        for layer, (below, above) in enumerate(pairwise(shapes)):
            if below[1] != above[0]:
                raise ValueError(
                    f"{who}: coefs_[{layer}] is {below}, coefs_[{layer + 1}] is {above}; they do not follow each other"
                )
        if shapes[-1][1] != shapes[0][0]:
            raise ValueError(f"{who}: the encoder takes {shapes[0][0]} columns, the decoder gives {shapes[-1][1]}")
        biases = [np.shape(b) for b in self.intercepts_]
        if biases != [shape[1:] for shape in shapes]:
            raise ValueError(
                f"{who}: intercepts_ holds arrays of shapes {biases}, coefs_ needs {[s[1:] for s in shapes]}"
            )
        if self.tied:
            for layer in range(n):
                other = len(shapes) - 1 - layer
                if len(shapes) != 2 * n or not _mirrors(self.coefs_[layer], self.coefs_[other]):
                    raise ValueError(
                        f"{who}: tied=True, but the decoder in coefs_ does not mirror the encoder: coefs_[{other}] is "
                        f"not coefs_[{layer}] transposed"
                    )
        return [shape[0] for shape in shapes[: n + 1]], [shape[0] for shape in shapes[n + 1 :]]

    def _network(self, groups: list[tuple[str, int]] | None = None) -> _core.AutoencoderModel:
        encoder, decoder = self._layer_sizes()
        groups = self._columns().groups if groups is None else groups
        return _core.AutoencoderModel(encoder, decoder, self.activation, self.code_activation_, bool(self.tied), groups)

    def _columns(self) -> OutputColumns:
        pairs = self._pairs
        return OutputColumns(
            type(self).__name__, pairs, tuple(map(int, self.n_categories_)), self._one_hot, bool(self.check_range)
        )

    _pairs: list[tuple[str, int]]

    def _dtype(self) -> np.dtype:
        first = self.coefs_[0]
        return float_dtype(first if is_on_gpu(first) else np.asarray(first))

    def _model(self) -> tuple[_core.AutoencoderModel, np.ndarray]:
        """The network and all parameters in one vector, a copy."""
        check_is_fitted(self, "coefs_")
        network = self._network()
        theta = np.empty(network.n_parameters, self._dtype())
        for layer, (W, b) in enumerate(zip(*self._parts(network, theta), strict=True)):
            if not network.layers[layer][4]:  # else it is another's, seen in the mirror
                W[:] = host(self.coefs_[layer])
            b[:] = host(self.intercepts_[layer])
        if not np.isfinite(theta).all():
            raise ValueError(f"{type(self).__name__}: coefs_ or intercepts_ contain NaN or infinity")
        return network, theta

    @staticmethod
    def _parts(network: _core.AutoencoderModel, theta: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Weights (inputs, outputs) and biases of every layer as views of theta; the decoder's tied ones transposed."""
        coefs, intercepts = [], []
        for inputs, outputs, weights, bias, mirrored in network.layers:
            part = theta[weights : weights + inputs * outputs]
            coefs.append(part.reshape(outputs, inputs).T if mirrored else part.reshape(inputs, outputs))
            intercepts.append(theta[bias : bias + outputs])
        return coefs, intercepts

    # -- what a fitted model does --------------------------------------------------------------------------------------

    def _checked_rows(self, who: str, columns: OutputColumns, X: Any) -> Any:
        """X after scikit-learn's checks; choices may come in the form that the fit did not have. What is on a GPU stays
        there, but for choices, which the host encodes."""
        refuse_mixed(who.removesuffix(": X"), X, "coefs_ of the model", self.coefs_[0])
        if is_on_gpu(X):
            rows = gpu_rows(who, X, floats=True)
            return host(rows) if columns.categories else rows
        try:
            shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
        except ValueError:  # scikit-learn says what is wrong
            shape = ()
        if len(shape) != 2 or columns.of_width(shape[1]).n_columns == self.n_features_in_:
            return check_X(self, X, reset=False)
        return check_array(X, dtype="numeric", ensure_all_finite=False, estimator=self, input_name="X")

    def _device(self, X: Any = None) -> str:
        return choose_device(type(self).__name__, self.device, X)

    def _states(self, method: str, X: Any, dtype: np.dtype) -> _core.States:
        columns, who = self._columns(), f"{type(self).__name__}.{method}: X"
        return columns.encode(who, self._checked_rows(who, columns, X), dtype)

    def transform(self, X: Any) -> np.ndarray:
        """The codes h of the rows of X: the encoder's output.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`

        Returns
        -------
        H : array of shape (n_samples, n_code), in the dtype of the model
        """
        network, theta = self._model()
        states = self._states("transform", X, theta.dtype)
        return beside(_core.autoencoder_encode(network, theta, states, self._device(X)), X)

    def inverse_transform(self, H: Any) -> np.ndarray:
        """The mean of x given every row h of H: the decoder's output.

        Parameters
        ----------
        H : array-like of shape (n_samples, n_code)
            Codes, as `transform` gives them.

        Returns
        -------
        X : array of shape (n_samples, n_features), in the dtype of the model
            Categorical columns as probabilities of their categories, side by side.
        """
        network, theta = self._model()
        who = f"{type(self).__name__}.inverse_transform"
        refuse_mixed(who, H, "coefs_ of the model", self.coefs_[0])
        there = is_on_gpu(H)
        if there:
            H = gpu_rows(f"{who}: H", H, floats=True)
            check_finite(f"{who}: H", H)
        else:
            H = check_array(H, dtype="numeric", ensure_all_finite=True, input_name="H", estimator=self)
        if H.shape[1] != self._n_features_out:
            raise ValueError(f"{who}: H has {H.shape[1]} columns, the code {self._n_features_out} units")
        codes = as_type(H, theta.dtype) if there else in_type(f"{who}: H", H, theta.dtype)
        return _core.autoencoder_decode(network, theta, _core.States.from_dense(codes), self._device(H))

    def reconstruct(self, X: Any) -> np.ndarray:
        """The mean of x given the code of every row of X: ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`

        Returns
        -------
        X_mean : array of shape (n_samples, n_features), as of `inverse_transform`
        """
        network, theta = self._model()
        states, device = self._states("reconstruct", X, theta.dtype), self._device(X)
        codes = _core.autoencoder_encode(network, theta, states, device)
        return beside(_core.autoencoder_decode(network, theta, _core.States.from_dense(codes), device), X)

    def score_samples(self, X: Any) -> np.ndarray:
        """log p(x | h) of every row at its own code h, in nats.

        It measures reconstruction and is no density of x. Bernoulli: sum of x log p + (1 - x) log(1 - p); gaussian:
        variance 1; laplace: scale 1; of categorical and poisson columns the log-probability.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`

        Returns
        -------
        log_likelihood : array of shape (n_samples,), float64
        """
        return beside(self._scores("score_samples", X), X)

    def _scores(self, method: str, X: Any) -> np.ndarray:
        network, theta = self._model()
        return -_core.autoencoder_score(network, theta, self._states(method, X, theta.dtype), self._device(X))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`: higher is better.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`
        y : ignored

        Returns
        -------
        log_likelihood : float
        """
        return float(self._scores("score", X).mean())

    def jacobian_norm(self, X: Any) -> np.ndarray:
        """The Frobenius norm of dh / dx at every row: how much the code moves with its input (Rifai et al. 2011).

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`
            Of categorical columns the derivative is by the one-hot columns.

        Returns
        -------
        norm : array of shape (n_samples,), float64
        """
        network, theta = self._model()
        states = self._states("jacobian_norm", X, theta.dtype)
        return beside(np.sqrt(_core.autoencoder_jacobian(network, theta, states, self._device(X))), X)

    def flat_parameters(self) -> np.ndarray:
        """All parameters in one vector, a copy: weights (row by row) and biases of each layer of the encoder, then of
        the decoder, there without weights if they are tied.

        Returns
        -------
        parameters : array of shape (n_parameters,)
        """
        return self._model()[1]

    def loss_and_gradient(self, X: Any, parameters: Any = None) -> tuple[float, np.ndarray]:
        """The loss that `fit` minimises, over all of X, and its exact gradient: what SciPy's optimisers take.

        Mean over rows of -log p(x | h) + contraction norm(dh / dx)^2, plus alpha / 2 times the squared weights.
        Corruption and dropout are those of the first step, the same in every call; what salt and pepper are is read
        from X.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`
        parameters : array-like of shape (n_parameters,) or None, default=None
            As of `flat_parameters`; None: those of the model.

        Returns
        -------
        loss : float
        gradient : array of shape (n_parameters,), in the dtype of the model
        """
        network, theta = self._model()
        if parameters is not None:
            given = np.array(parameters, dtype=theta.dtype).ravel()
            if given.size != theta.size:
                raise ValueError(
                    f"{type(self).__name__}.loss_and_gradient: {given.size} parameters, the model has {theta.size}"
                )
            theta = given
        who, columns = f"{type(self).__name__}.loss_and_gradient: X", self._columns()
        rows = canonical(who, self._checked_rows(who, columns, X))
        states = columns.encode(who, rows, theta.dtype)
        limits = columns.of_width(rows.shape[1]).limits(rows) if self.corruption == "salt_and_pepper" else None
        gradient = np.empty_like(theta)
        settings = self._settings(limits)
        return _core.autoencoder_loss(network, states, theta, gradient, settings, self._device(X)), gradient

    def _settings(self, limits: tuple[np.ndarray, np.ndarray] | None) -> dict[str, Any]:
        raise NotImplementedError

    # -- scikit-learn --------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Layers as single arrays, `coef_0_`, `intercept_0_`, ...: tied weights stay one array, files hold tensors.
        Arrays on a GPU as NumPy's: whoever reads them may have none."""
        state = dict(super().__getstate__())
        coefs, intercepts = state.pop("coefs_", None), state.pop("intercepts_", None)
        if coefs is not None:
            n = self._n_encoder if self.tied and len(coefs) == 2 * self._n_encoder else len(coefs)
            mirrored = all(_mirrors(coefs[layer], coefs[-1 - layer]) for layer in range(n)) if n < len(coefs) else True
            state |= {f"coef_{layer}_": host(W) for layer, W in enumerate(coefs) if not mirrored or layer < n}
            state |= {f"intercept_{layer}_": host(b) for layer, b in enumerate(intercepts)}
        if "_kept" in state:
            state["_kept"] = state["_kept"].copy()  # training writes to it: a shallow copy needs its own
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        coefs: list[np.ndarray] = []
        intercepts: list[np.ndarray] = []
        while f"coef_{len(coefs)}_" in state:
            coefs.append(state.pop(f"coef_{len(coefs)}_"))
        while f"intercept_{len(intercepts)}_" in state:
            intercepts.append(state.pop(f"intercept_{len(intercepts)}_"))
        if coefs:
            state["coefs_"] = coefs + [W.T for W in coefs[::-1]][: len(intercepts) - len(coefs)]
            state["intercepts_"] = intercepts
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = bool(self.check_range) and str(self.likelihood) in ("bernoulli", "poisson")
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
