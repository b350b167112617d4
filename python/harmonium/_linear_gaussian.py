"""What every linear Gaussian factor model can do once W, b and the noise are there, learned or given."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple

import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._arrays import (
    add_to_diagonal,
    array_namespace,
    as_array,
    cast,
    cholesky,
    device,
    eye,
    first_true,
    float_name,
    largest,
    moved,
    narrowed,
    zeros,
)
from ._factor_rows import check_clamp, check_factors, check_rows, normal
from ._moments import NUMBERS_AT_A_TIME, chunks, first_missing, has_missing
from ._posterior import Patterns, apply, centred_chunks, find_patterns, numbers_at_a_time, posterior
from ._rbm_sampling import new_seed
from ._validation import check_choice, check_number

_CANCELS = 1e3  # of W' psi^-1 W: so many eps are lost in a difference
_FACTOR_STREAM, _NOISE_STREAM = 6, 7  # of the random numbers


class _Parts(NamedTuple):
    """The model in float64, its factors turned into independent ones of variance 1."""

    weights: Any  # W (p, k), components_' L
    noise: Any  # psi (p,)
    mean: Any  # b (p,)
    spread: Any  # L (k, k) with L L' = factor_covariance_
    dtype: str


class LinearGaussian(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Methods of x = W h + b + noise; `components_` (W', (k, p)), `mean_`, `noise_variance_` (a number or (p,)) and,
    where factors are correlated, `factor_covariance_` are read at every call, so they may be assigned to. They are
    arrays of NumPy or of any library that follows the array API standard; what a method returns is of the library and
    on the device of its rows, or, without rows, of `components_`."""

    components_: Any
    mean_: Any
    noise_variance_: Any

    # -- the marginal ------------------------------------------------------------------------------------------------

    def get_covariance(self) -> Any:
        """Covariance of x: W cov(h) W' + diag(noise).

        Returns
        -------
        covariance : array of shape (n_features, n_features)
        """
        parts = self._parts("get_covariance")
        covariance = add_to_diagonal(parts.weights @ parts.weights.T, parts.noise)
        return narrowed(covariance, parts.dtype, _diagonal(covariance))

    def get_precision(self) -> Any:
        """Inverse of `get_covariance`, by an inverse of size n_components only.

        (W W' + psi)^-1 = psi^-1 - psi^-1 W (I + W' psi^-1 W)^-1 W' psi^-1 (Woodbury 1950).

        Returns
        -------
        precision : array of shape (n_features, n_features)
        """
        parts = self._parts("get_precision")
        self._refuse_zero_noise("get_precision", parts)
        W, psi = parts.weights, parts.noise
        xp = array_namespace(W)
        scaled = W / psi[:, None]
        M = eye(W.shape[1], W) + scaled.T @ W
        precision = add_to_diagonal(-scaled @ xp.linalg.solve(M, scaled.T), 1 / psi)
        if largest(M) > _CANCELS:
            # The difference above cancels; a Newton step P (2 I - C P) squares what it left wrong.
            correction = -(W @ (W.T @ precision) + psi[:, None] * precision)
            precision = precision @ add_to_diagonal(correction, 2.0)
        precision = 0.5 * (precision + precision.T)
        return narrowed(precision, parts.dtype, _diagonal(precision))

    def score_samples(self, X: Any) -> Any:
        """Log-density of every row in nats; of its observed part where it holds NaN.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        log_density : float64 array of shape (n_samples,)
        """
        X, missing, parts = self._rows("score_samples", X)
        self._refuse_zero_noise("score_samples", parts)
        result = zeros(X.shape[0], X)
        for where, rows, patterns in _chunks(X, missing, parts):
            result[where] = posterior(rows, patterns, parts.weights, parts.noise).log_density
        return result

    def log_likelihood(self, X: Any) -> Any:
        """`score_samples`, by the name that it has in models whose score is something else."""
        return self.score_samples(X)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        log_likelihood : float
            In nats a row.
        """
        values = self.score_samples(X)
        return float(array_namespace(values).mean(values))

    # -- factors -----------------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:
        """Posterior means of the factors, E[h | x]; NaN in X are integrated out.

        (I + W' psi^-1 W)^-1 W' psi^-1 (x - b): factor scores by regression (Thomson 1939).

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        H : array of shape (n_samples, n_components), in the dtype of the model
        """
        return self._posterior_mean("transform", X)

    def posterior(self, X: Any) -> tuple[Any, Any]:
        """Mean and covariance of the factors given x.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        mean : array of shape (n_samples, n_components)
        covariance : array of shape (n_components, n_components)
            The same for all rows. Where X holds NaN: (n_samples, n_components, n_components).
        """
        X, missing, parts = self._rows("posterior", X)
        self._refuse_zero_noise("posterior", parts)
        xp = array_namespace(X)
        k = parts.weights.shape[1]
        mean = _empty((X.shape[0], k), X, parts.dtype)
        L = parts.spread
        if not missing:
            for where, rows, patterns in _chunks(X, missing, parts):
                found = posterior(rows, patterns, parts.weights, parts.noise)
                mean[where, :] = cast(found.mean @ L.T, parts.dtype)
            return mean, cast(L @ found.covariance[0, :, :] @ L.T, parts.dtype)
        covariance = _empty((X.shape[0], k, k), X, parts.dtype)
        for where, rows, patterns in _chunks(X, missing, parts):
            found = posterior(rows, patterns, parts.weights, parts.noise)
            mean[where, :] = cast(found.mean @ L.T, parts.dtype)
            turned = cast(L @ found.covariance @ L.T, parts.dtype)
            covariance[where, :, :] = xp.take(turned, patterns.index, axis=0)
        return mean, covariance

    def factor_scores(self, X: Any, method: str = "regression") -> Any:
        """Factor scores.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
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
        xp = array_namespace(X)
        root = xp.sqrt(parts.noise)
        # A pseudo-inverse: columns of W that are 0 carry no score.
        weighing = parts.spread @ xp.linalg.pinv(parts.weights / root[:, None]) / root
        result = _empty((X.shape[0], weighing.shape[0]), X, parts.dtype)
        for first, rows in chunks(X):
            result[first : first + rows.shape[0], :] = cast((rows - parts.mean) @ weighing.T, parts.dtype)
        return result

    def inverse_transform(self, H: Any) -> Any:
        """E[x | h] = W h + b of every row h of H.

        Parameters
        ----------
        H : array-like of shape (n_samples, n_components)

        Returns
        -------
        X : array of shape (n_samples, n_features), in the dtype of the model
        """
        check_is_fitted(self, "components_")
        who = f"{type(self).__name__}.inverse_transform"
        H = check_factors(who, H)
        parts = self._parts_at("inverse_transform", H)
        W = moved(self.components_, H, "float64")
        if H.shape[1] != W.shape[0]:
            raise ValueError(f"{who}: H has {H.shape[1]} columns, the model has {W.shape[0]} factors")
        return cast(cast(H, "float64") @ W + parts.mean, parts.dtype)

    # -- missing entries ---------------------------------------------------------------------------------------------

    def impute(self, X: Any) -> Any:
        """X with every NaN replaced by its mean given the observed entries of its row: b_j + w_j E[h | x_observed].

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), not sparse

        Returns
        -------
        X_filled : array of shape (n_samples, n_features), in the dtype of the model
            Observed entries as they are.
        """
        X, missing, parts = self._rows("impute", X)
        if sp.issparse(X):
            who = f"{type(self).__name__}.impute"
            raise TypeError(f"{who}: X is sparse, rows with values filled in are not; pass it dense")
        self._refuse_zero_noise("impute", parts)
        xp = array_namespace(X)
        result = cast(X, parts.dtype, copy=True)
        for where, rows, patterns in _chunks(X, missing, parts):
            if xp.all(patterns.observed):
                continue
            found = posterior(rows, patterns, parts.weights, parts.noise)
            filled = cast(found.mean @ parts.weights.T + parts.mean, parts.dtype)
            result[where, :] = xp.where(xp.take(patterns.observed, patterns.index, axis=0), result[where, :], filled)
        return result

    def sample(self, n_samples: int = 1, *, clamp: tuple[Any, Any] | None = None, random_state: Any = None) -> Any:
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
        xp = array_namespace(parts.mean)
        h = moved(normal(seed, _FACTOR_STREAM, (n_samples, k)), parts.mean)
        if clamp is not None:
            mask, values = check_clamp(who, clamp, (n_samples, p), parts.mean)
            self._refuse_zero_noise("sample", parts)
            step = max(1, numbers_at_a_time(p, k) // p)
            for part in (slice(first, min(first + step, n_samples)) for first in range(0, n_samples, step)):
                patterns = find_patterns(mask[part, :])
                deviation = xp.where(mask[part, :], values[part, :] - parts.mean, 0.0)
                found = posterior(deviation, patterns, parts.weights, parts.noise)
                root = xp.linalg.cholesky(found.covariance)
                h[part, :] = found.mean + apply(root, patterns.index, h[part, :])
        X = h @ parts.weights.T + parts.mean
        X += moved(normal(seed, _NOISE_STREAM, (n_samples, p)), X) * xp.sqrt(parts.noise)
        if clamp is not None:
            X = xp.where(mask, values, X)
        return cast(X, parts.dtype)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _posterior_mean(self, method: str, X: Any) -> Any:
        X, missing, parts = self._rows(method, X)
        self._refuse_zero_noise(method, parts)
        result = _empty((X.shape[0], parts.weights.shape[1]), X, parts.dtype)
        for where, rows, patterns in _chunks(X, missing, parts):
            mean = posterior(rows, patterns, parts.weights, parts.noise).mean
            result[where, :] = cast(mean @ parts.spread.T, parts.dtype)
        return result

    def _parts(self, method: str) -> _Parts:
        """The model checked, where `components_` are."""
        check_is_fitted(self, "components_")
        return self._parts_at(method, as_array(self.components_))

    def _parts_at(self, method: str, like: Any) -> _Parts:
        """The model checked, in `like`'s library and on its device."""
        who = f"{type(self).__name__}.{method}"
        components = as_array(self.components_)
        if components.ndim != 2:
            raise ValueError(f"{who}: components_ is {components.shape}, (n_components, n_features) is needed")
        k, p = components.shape
        dtype = float_name(components)
        components = moved(components, like, "float64")
        mean, noise = (moved(getattr(self, name), components, "float64") for name in ("mean_", "noise_variance_"))
        spread = moved(getattr(self, "factor_covariance_", eye(k, components)), components, "float64")
        xp = array_namespace(components)
        for name, array, shape in (
            ("components_", components, (k, p)),
            ("mean_", mean, (p,)),
            ("noise_variance_", noise, (p,)),
            ("factor_covariance_", spread, (k, k)),
        ):
            if tuple(array.shape) != shape and not (name == "noise_variance_" and array.ndim == 0):
                raise ValueError(f"{who}: {name} is {tuple(array.shape)}, the components_ of {(k, p)} need {shape}")
            if not xp.all(xp.isfinite(array)):
                raise ValueError(f"{who}: {name} contains NaN or infinity")
        noise = xp.broadcast_to(noise, (p,))
        if xp.any(noise < 0):
            column = int(xp.argmin(noise))
            value = float(noise[column])
            raise ValueError(f"{who}: noise_variance_ is {value:g} in column {column}; it cannot be negative")
        weights = components.T
        if largest(spread - spread.T) > 1e-6 * largest(spread):
            raise ValueError(f"{who}: factor_covariance_ is not symmetric")
        if xp.all(spread == eye(k, spread)):
            return _Parts(weights, noise, mean, spread, dtype)
        root = cholesky(spread)
        if root is None:
            raise ValueError(f"{who}: factor_covariance_ is not positive definite")
        return _Parts(weights @ root, noise, mean, root, dtype)

    def _rows(self, method: str, X: Any) -> tuple[Any, bool, _Parts]:
        """X checked (numbers or NaN, as many columns as the model has), whether there are NaN, and the model."""
        check_is_fitted(self, "components_")
        who = f"{type(self).__name__}.{method}"
        X = check_rows(self, who, X, reset=False)
        parts = self._parts_at(method, X)
        if X.shape[1] != parts.mean.shape[0]:
            raise ValueError(f"{who}: X has {X.shape[1]} columns, the model has {parts.mean.shape[0]}")
        return X, has_missing(f"{who}: X", X), parts

    def _refuse_zero_noise(self, method: str, parts: _Parts) -> None:
        if not array_namespace(parts.noise).all(parts.noise > 0):
            (column,) = first_true(parts.noise == 0)
            raise ValueError(
                f"{type(self).__name__}.{method}: the noise variance of column {column} is 0, so x has no density; "
                "give it a small positive noise_variance"
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])


def _chunks(X: Any, missing: bool, parts: _Parts) -> Iterator[tuple[slice, Any, Patterns]]:
    """`centred_chunks` of a length for the matrices of rows that differ in what is missing."""
    return centred_chunks(X, parts.mean, numbers_at_a_time(*parts.weights.shape) if missing else NUMBERS_AT_A_TIME)


def _empty(shape: Any, like: Any, dtype: str) -> Any:
    xp = array_namespace(like)
    return xp.empty(shape, dtype=getattr(xp, dtype), device=device(like))


def _diagonal(A: Any) -> Any:
    return array_namespace(A).linalg.diagonal(A)
