"""What every linear Gaussian factor model can do once W, b and the noise are there, learned or given."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _core
from ._moments import NUMBERS_AT_A_TIME, chunks, first_missing, has_missing
from ._posterior import Patterns, apply, centred_chunks, find_patterns, numbers_at_a_time, posterior
from ._rbm_sampling import new_seed
from ._validation import check_choice, check_number, float_dtype, narrowed

_CANCELS = 1e3  # of W' psi^-1 W: so many eps are lost in a difference
_FACTOR_STREAM, _NOISE_STREAM = 6, 7  # of the random numbers


class _Parts(NamedTuple):
    """The model in float64, its factors turned into independent ones of variance 1."""

    weights: Any  # W (p, k), components_' L
    noise: Any  # psi (p,)
    mean: Any  # b (p,)
    spread: Any  # L (k, k) with L L' = factor_covariance_
    dtype: np.dtype


class LinearGaussian(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Methods of x = W h + b + noise; `components_` (W', (k, p)), `mean_`, `noise_variance_` (a number or (p,)) and,
    where factors are correlated, `factor_covariance_` are read at every call, so they may be assigned to."""

    components_: Any
    mean_: Any
    noise_variance_: Any

    # -- the marginal ------------------------------------------------------------------------------------------------

    def get_covariance(self) -> np.ndarray:
        """Covariance of x: W cov(h) W' + diag(noise).

        Returns
        -------
        covariance : array of shape (n_features, n_features)
        """
        parts = self._parts("get_covariance")
        covariance = parts.weights @ parts.weights.T
        index = np.arange(parts.noise.shape[0])
        covariance[index, index] += parts.noise
        return narrowed(covariance, parts.dtype, np.diagonal(covariance))

    def get_precision(self) -> np.ndarray:
        """Inverse of `get_covariance`, by an inverse of size n_components only.

        (W W' + psi)^-1 = psi^-1 - psi^-1 W (I + W' psi^-1 W)^-1 W' psi^-1 (Woodbury 1950).

        Returns
        -------
        precision : array of shape (n_features, n_features)
        """
        parts = self._parts("get_precision")
        self._refuse_zero_noise("get_precision", parts)
        W, psi = parts.weights, parts.noise
        scaled = W / psi[:, None]
        M = np.eye(W.shape[1]) + scaled.T @ W
        precision = -scaled @ np.linalg.solve(M, scaled.T)
        index = np.arange(psi.shape[0])
        precision[index, index] += 1 / psi
        if float(np.abs(M).max(initial=0)) > _CANCELS:
            # The difference above cancels; a Newton step P (2 I - C P) squares what it left wrong.
            correction = -(W @ (W.T @ precision) + psi[:, None] * precision)
            correction[index, index] += 2
            precision = precision @ correction
        precision = 0.5 * (precision + precision.T)
        return narrowed(precision, parts.dtype, np.diagonal(precision))

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density of every row in nats; of its observed part where it holds NaN.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_density : float64 array of shape (n_samples,)
        """
        X, missing, parts = self._rows("score_samples", X)
        self._refuse_zero_noise("score_samples", parts)
        result = np.empty(X.shape[0])
        for where, rows, patterns in _chunks(X, missing, parts):
            result[where] = posterior(rows, patterns, parts.weights, parts.noise).log_density
        return result

    def log_likelihood(self, X: Any) -> np.ndarray:
        """`score_samples`, by the name that it has in models whose score is something else."""
        return self.score_samples(X)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        log_likelihood : float
            In nats a row.
        """
        return float(self.score_samples(X).mean())

    # -- factors -----------------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> np.ndarray:
        """Posterior means of the factors, E[h | x]; NaN in X are integrated out.

        (I + W' psi^-1 W)^-1 W' psi^-1 (x - b): factor scores by regression (Thomson 1939).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        H : array of shape (n_samples, n_components), in the dtype of the model
        """
        return self._posterior_mean("transform", X)

    def posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the factors given x.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        mean : array of shape (n_samples, n_components)
        covariance : array of shape (n_components, n_components)
            The same for all rows. Where X holds NaN: (n_samples, n_components, n_components).
        """
        X, missing, parts = self._rows("posterior", X)
        self._refuse_zero_noise("posterior", parts)
        k = parts.weights.shape[1]
        mean = np.empty((X.shape[0], k), parts.dtype)
        L = parts.spread
        if not missing:
            for where, rows, patterns in _chunks(X, missing, parts):
                found = posterior(rows, patterns, parts.weights, parts.noise)
                mean[where] = found.mean @ L.T
            return mean, (L @ found.covariance[0] @ L.T).astype(parts.dtype, copy=False)
        covariance = np.empty((X.shape[0], k, k), parts.dtype)
        for where, rows, patterns in _chunks(X, missing, parts):
            found = posterior(rows, patterns, parts.weights, parts.noise)
            mean[where] = found.mean @ L.T
            covariance[where] = (L @ found.covariance @ L.T)[patterns.index]
        return mean, covariance

    def factor_scores(self, X: Any, method: str = "regression") -> np.ndarray:
        """Factor scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            With method="bartlett" without NaN.
        method : {"regression", "bartlett"}, default="regression"
            regression: the posterior mean, as `transform`; drawn to 0, of least mean squared error. bartlett:
            (W' psi^-1 W)^-1 W' psi^-1 (x - b), weighted least squares, unbiased given h (Bartlett 1937).

        Returns
        -------
        H : array of shape (n_samples, n_components), in the dtype of the model
        """
        who = f"{type(self).__name__}.factor_scores"
        check_choice(who, "method", method, ("regression", "bartlett"))
        if method == "regression":
            return self._posterior_mean("factor_scores", X)
        X, missing, parts = self._rows("factor_scores", X)
        self._refuse_zero_noise("factor_scores", parts)
        if missing:
            row, column = first_missing(X)
            raise ValueError(f"{who}: X contains NaN in row {row}, column {column}; bartlett needs complete rows")
        root = np.sqrt(parts.noise)
        # A pseudo-inverse: columns of W that are 0 carry no score.
        weighing = parts.spread @ np.linalg.pinv(parts.weights / root[:, None]) / root
        result = np.empty((X.shape[0], weighing.shape[0]), parts.dtype)
        for first, rows in chunks(X):
            result[first : first + rows.shape[0]] = (rows - parts.mean) @ weighing.T
        return result

    def inverse_transform(self, H: Any) -> np.ndarray:
        """E[x | h] = W h + b of every row h of H.

        Parameters
        ----------
        H : array-like of shape (n_samples, n_components)

        Returns
        -------
        X : array of shape (n_samples, n_features), in the dtype of the model
        """
        parts = self._parts("inverse_transform")
        H = check_array(H, dtype="numeric", input_name="H", ensure_min_features=0)
        W = np.asarray(self.components_, np.float64)
        if H.shape[1] != W.shape[0]:
            raise ValueError(
                f"{type(self).__name__}.inverse_transform: H has {H.shape[1]} columns, "
                f"the model has {W.shape[0]} factors"
            )
        return (H.astype(np.float64) @ W + parts.mean).astype(parts.dtype, copy=False)

    # -- missing entries ---------------------------------------------------------------------------------------------

    def impute(self, X: Any) -> np.ndarray:
        """X with every NaN replaced by its mean given the observed entries of its row: b_j + w_j E[h | x_observed].

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_filled : array of shape (n_samples, n_features), in the dtype of the model
            Observed entries as they are.
        """
        X, missing, parts = self._rows("impute", X)
        self._refuse_zero_noise("impute", parts)
        result = X.astype(parts.dtype)
        for where, rows, patterns in _chunks(X, missing, parts):
            if patterns.observed.all():
                continue
            holes = ~patterns.observed[patterns.index]
            found = posterior(rows, patterns, parts.weights, parts.noise)
            filled = found.mean @ parts.weights.T + parts.mean
            result[where][holes] = filled[holes]
        return result

    def sample(
        self, n_samples: int = 1, *, clamp: tuple[Any, Any] | None = None, random_state: Any = None
    ) -> np.ndarray:
        """Draw rows x = W h + b + noise.

        Parameters
        ----------
        n_samples : int, default=1
        clamp : (mask, values) or None
            Columns that stay: mask (n_features,) or (n_samples, n_features) of bool, values (n_samples, n_features) or
            (n_features,). The others are drawn given these, exactly.
        random_state : int, RandomState or None
            None: the model's own where it has one. Row i of a seed is the same whatever `n_samples`.

        Returns
        -------
        X : array of shape (n_samples, n_features), in the dtype of the model
        """
        who = f"{type(self).__name__}.sample"
        check_number(who, "n_samples", n_samples, Integral, low=1)
        parts = self._parts("sample")
        p, k = parts.weights.shape
        seed = new_seed(getattr(self, "random_state", None) if random_state is None else random_state)
        h = _normal(seed, _FACTOR_STREAM, (n_samples, k))
        if clamp is not None:
            mask, values = self._clamp(who, clamp, (n_samples, p))
            self._refuse_zero_noise("sample", parts)
            step = max(1, numbers_at_a_time(p, k) // p)
            for part in (slice(first, first + step) for first in range(0, n_samples, step)):
                patterns = find_patterns(mask[part])
                deviation = np.where(mask[part], values[part] - parts.mean, 0)
                found = posterior(deviation, patterns, parts.weights, parts.noise)
                h[part] = found.mean + apply(np.linalg.cholesky(found.covariance), patterns.index, h[part])
        X = h @ parts.weights.T + parts.mean
        X += _normal(seed, _NOISE_STREAM, (n_samples, p)) * np.sqrt(parts.noise)
        if clamp is not None:
            X = np.where(mask, values, X)
        return X.astype(parts.dtype, copy=False)

    @staticmethod
    def _clamp(who: str, clamp: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        if not isinstance(clamp, (tuple, list)) or len(clamp) != 2:
            raise TypeError(f"{who}: clamp is {clamp!r:.60}, a pair (mask, values) is needed")
        mask, values = np.asarray(clamp[0]), np.asarray(clamp[1], dtype=np.float64)
        if mask.dtype != bool:
            raise TypeError(f"{who}: the mask of clamp is of type {mask.dtype}, bool is needed")
        try:
            mask, values = np.broadcast_to(mask, shape), np.broadcast_to(values, shape)
        except ValueError:
            raise ValueError(f"{who}: clamp is {mask.shape} and {values.shape}, it must fit {shape}") from None
        wrong = mask & ~np.isfinite(values)
        if wrong.any():
            row, column = map(int, np.argwhere(wrong)[0])
            raise ValueError(f"{who}: the values of clamp hold {values[row, column]} in row {row}, column {column}")
        return mask, np.where(mask, values, 0)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _posterior_mean(self, method: str, X: Any) -> np.ndarray:
        X, missing, parts = self._rows(method, X)
        self._refuse_zero_noise(method, parts)
        result = np.empty((X.shape[0], parts.weights.shape[1]), parts.dtype)
        for where, rows, patterns in _chunks(X, missing, parts):
            result[where] = posterior(rows, patterns, parts.weights, parts.noise).mean @ parts.spread.T
        return result

    def _parts(self, method: str) -> _Parts:
        check_is_fitted(self, "components_")
        who = f"{type(self).__name__}.{method}"
        components = np.asarray(self.components_)
        if components.ndim != 2:
            raise ValueError(f"{who}: components_ is {components.shape}, (n_components, n_features) is needed")
        k, p = components.shape
        dtype = float_dtype(components)
        mean, noise = (np.asarray(getattr(self, name), dtype=np.float64) for name in ("mean_", "noise_variance_"))
        spread = np.asarray(getattr(self, "factor_covariance_", np.eye(k)), dtype=np.float64)
        for name, array, shape in (
            ("components_", components, (k, p)),
            ("mean_", mean, (p,)),
            ("noise_variance_", noise, (p,)),
            ("factor_covariance_", spread, (k, k)),
        ):
            if array.shape != shape and not (name == "noise_variance_" and array.ndim == 0):
                raise ValueError(f"{who}: {name} is {array.shape}, the components_ of {components.shape} need {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{who}: {name} contains NaN or infinity")
        noise = np.broadcast_to(noise, (p,))
        if (noise < 0).any():
            column = int(np.argmin(noise))
            raise ValueError(f"{who}: noise_variance_ is {noise[column]:g} in column {column}; it cannot be negative")
        weights = components.T.astype(np.float64)
        if np.abs(spread - spread.T).max(initial=0) > 1e-6 * np.abs(spread).max(initial=0):
            raise ValueError(f"{who}: factor_covariance_ is not symmetric")
        if np.array_equal(spread, np.eye(k)):
            return _Parts(weights, noise, mean, spread, dtype)
        try:
            root = np.linalg.cholesky(spread)
        except np.linalg.LinAlgError:
            raise ValueError(f"{who}: factor_covariance_ is not positive definite") from None
        return _Parts(weights @ root, noise, mean, root, dtype)

    def _rows(self, method: str, X: Any) -> tuple[np.ndarray, bool, _Parts]:
        """X checked (numbers or NaN, as many columns as the model has), whether there are NaN, and the model."""
        parts = self._parts(method)
        who = f"{type(self).__name__}.{method}"
        X = check_rows(self, who, X, reset=False)
        if X.shape[1] != parts.mean.shape[0]:
            raise ValueError(f"{who}: X has {X.shape[1]} columns, the model has {parts.mean.shape[0]}")
        return X, has_missing(f"{who}: X", X), parts

    def _refuse_zero_noise(self, method: str, parts: _Parts) -> None:
        if not parts.noise.all():
            column = int(np.flatnonzero(parts.noise == 0)[0])
            raise ValueError(
                f"{type(self).__name__}.{method}: the noise variance of column {column} is 0, so x has no density; "
                "give it a small positive noise_variance"
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])


def _chunks(X: np.ndarray, missing: bool, parts: _Parts) -> Iterator[tuple[slice, np.ndarray, Patterns]]:
    """`centred_chunks` of a length for the matrices of rows that differ in what is missing."""
    return centred_chunks(X, parts.mean, numbers_at_a_time(*parts.weights.shape) if missing else NUMBERS_AT_A_TIME)


def check_rows(estimator: Any, who: str, X: Any, *, reset: bool) -> np.ndarray:
    """scikit-learn's checks of shape and feature names; nothing is copied, NaN and infinity are let through."""
    options: dict[str, Any] = {"dtype": "numeric", "order": None, "ensure_all_finite": False}
    if reset:
        X = check_array(X, estimator=estimator, input_name="X", **options)
    else:
        X = validate_data(estimator, X, reset=False, **options)
    if X.dtype.kind not in "biuf":
        raise TypeError(f"{who}: X is of type {X.dtype}, bool, integers or floats are needed")
    return X


def _normal(seed: int, stream: int, shape: tuple[int, int]) -> np.ndarray:
    """Standard normal numbers as a function of (seed, stream, row, column): the inverse of their distribution at
    uniform ones of 32 bits, each in the middle of its interval."""
    uniform = _core.uniform_float64(seed, stream, 0, *shape, 0)
    return ndtri(uniform + math.ldexp(1.0, -33))
