"""The linear factor model with parameters that the user gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import _check_feature_names

from ._linear_gaussian import LinearGaussian, check_rows
from ._validation import float_dtype


class LinearFactorModel(LinearGaussian):
    """x = W h + b + noise with given W, b and noise: factors h ~ N(0, I), so x ~ N(b, W W' + diag(noise)).

    Nothing is learned; everything else that `PPCA` and `FactorAnalysis` do after their fit is there. A single noise
    variance makes it probabilistic PCA, one for each column factor analysis (Bishop, "Pattern recognition and machine
    learning", 2006, sections 12.2.1 and 12.2.4).

    Parameters
    ----------
    components : array-like of shape (n_components, n_features)
        W', a factor's loadings in each row. Its dtype is the model's; integers become float32.
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
    def components_(self) -> np.ndarray:
        components = np.asarray(self.components)
        return components.astype(float_dtype(components), copy=False)

    @property
    def mean_(self) -> np.ndarray:
        return self._of_columns(self.mean)

    @property
    def noise_variance_(self) -> np.ndarray:
        return self._of_columns(self.noise_variance)

    @property
    def factor_covariance_(self) -> np.ndarray:
        components = self.components_
        if self.factor_covariance is None:
            return np.eye(components.shape[0], dtype=components.dtype)
        return np.asarray(self.factor_covariance, dtype=components.dtype)

    @property
    def n_features_in_(self) -> int:
        return int(self.components_.shape[-1])

    def _of_columns(self, value: Any) -> np.ndarray:
        components = self.components_
        array = np.asarray(value, dtype=components.dtype)
        return np.full(components.shape[-1:], array) if array.ndim == 0 else array

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
        _check_feature_names(self, given, reset=True)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True
