"""The linear factor model with parameters that the user gives."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import _check_feature_names

from ._arrays import array_namespace, as_array, cast, eye, float_name, is_foreign, kind, largest, model_name, moved
from ._factor_rows import check_rows
from ._linear_gaussian import LinearGaussian


class LinearFactorModel(LinearGaussian):
    """x = W h + b + noise with given W, b and noise: factors h ~ N(0, I), so x ~ N(b, W W' + diag(noise)).

    Nothing is learned; everything else that `PPCA` and `FactorAnalysis` do after their fit is there. A single noise
    variance makes it probabilistic PCA, one for each column factor analysis (Bishop, "Pattern recognition and machine
    learning", 2006, sections 12.2.1 and 12.2.4).

    Parameters
    ----------
    components : array-like of shape (n_components, n_features)
        W', a factor's loadings in each row. Its dtype is the model's; for integers it is float32, or float64 where
        the parameters below are arrays of that type, or numbers beyond 2^24, of which float32 does not hold all.
    mean : array-like of shape (n_features,) or float, default=0.0
        b.
    noise_variance : array-like of shape (n_features,) or float, default=1.0
        0 is allowed for `sample`, `inverse_transform` and `get_covariance`; a density then does not exist.
    factor_covariance : array-like of shape (n_components, n_components) or None, default=None
        Of h. None: the identity.
    random_state : int, RandomState or None, default=None
        Of `sample`.

    Attributes
    ----------
    components_, mean_, noise_variance_, factor_covariance_ : arrays
        The parameters as arrays.
    feature_names_in_ : array
        After `fit` to a data frame.

    Raises
    ------
    ValueError
        By every method, for shapes that do not fit, negative variances, NaN and infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium import LinearFactorModel
    >>> model = LinearFactorModel([[2.0, 1.0, 0.0]], mean=[0.0, 0.0, 5.0], noise_variance=0.1, random_state=0)
    >>> model.sample(4).shape
    (4, 3)
    >>> model.get_covariance().round(1).tolist()
    [[4.1, 2.0, 0.0], [2.0, 1.1, 0.0], [0.0, 0.0, 0.1]]
    >>> model.impute([[2.0, np.nan, 5.0]]).round(3).tolist()
    [[2.0, 0.976, 5.0]]
    """

    def __init__(
        self,
        components: Any,
        *,
        mean: Any = 0.0,
        noise_variance: Any = 1.0,
        factor_covariance: Any = None,
        random_state: Any = None,
    ) -> None:
        self.components = components
        self.mean = mean
        self.noise_variance = noise_variance
        self.factor_covariance = factor_covariance
        self.random_state = random_state

    @property
    def components_(self) -> Any:
        components = as_array(self.components)
        if kind(components) == "f":
            return cast(components, float_name(components))
        others = (self.mean, self.noise_variance, self.factor_covariance)
        wide = any(_is_wide(other) for other in (components, *others) if other is not None)
        return cast(components, "float64" if wide else "float32")

    @property
    def mean_(self) -> Any:
        return self._of_columns(self.mean)

    @property
    def noise_variance_(self) -> Any:
        return self._of_columns(self.noise_variance)

    @property
    def factor_covariance_(self) -> Any:
        components = self.components_
        if self.factor_covariance is None:
            return cast(eye(components.shape[0], components), float_name(components))
        return moved(self.factor_covariance, components, float_name(components))

    @property
    def n_features_in_(self) -> int:
        return int(self.components_.shape[-1])

    def _of_columns(self, value: Any) -> Any:
        components = self.components_
        array = moved(value, components, float_name(components))
        if array.ndim > 0:
            return array
        xp = array_namespace(array)
        return xp.asarray(xp.broadcast_to(array, components.shape[-1:]), copy=True)

    def fit(self, X: Any, y: Any = None) -> LinearFactorModel:
        """Check that X fits the model; nothing is learned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        given = X
        X = check_rows(self, "LinearFactorModel.fit", X, reset=True)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(f"LinearFactorModel.fit: X has {X.shape[1]} columns, the model has {self.n_features_in_}")
        if not is_foreign(given):
            _check_feature_names(self, given, reset=True)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _is_wide(value: Any) -> bool:
    """Whether float32 would take digits from an array of float64, or from a number beyond 2^24."""
    array = as_array(value)
    if kind(array) != "f":
        return model_name(array) == "float64"
    return float_name(array) == "float64" and (array.ndim > 0 or largest(array) > 2**24)
