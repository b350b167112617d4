"""The classification RBM: labels are visible units while it learns, and what is asked for afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from . import _categories
from ._device import beside, gpu_rows, host, is_on_gpu, refuse_mixed
from ._units import visible_pairs
from ._validation import check_finite
from .rbm import RBM


class RBMClassifier(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator):
    """Classifier by an RBM of rows and labels together (Larochelle and Bengio 2008).

    A categorical unit with one state for each class stands beside the columns of X, and the machine learns the joint
    p(x, y). Then p(y | x) = exp(-F(x, y)) / sum over classes k of exp(-F(x, k)) is exact, for Z drops out. No label is
    used, or needed, after `fit`: `transform` averages over them.

    X may lie on a GPU where the machine trains there (see `device` of `RBM`); what is learned and returned is then of
    its library, but for labels that are no numbers. Rows and labels are put together on the host.

    Parameters
    ----------
    rbm : RBM or None, default=None
        The machine to train, not yet fitted; its `visible` describes the columns of X (no bags of words). It is cloned.
        None: ``RBM()``.

    Attributes
    ----------
    rbm_ : RBM
        The fitted machine of rows and labels. Its last column is the label's code, an index into `classes_`.
    classes_ : array of shape (n_classes,)
    n_iter_ : int
        Whole passes done.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Larochelle, Bengio, "Classification using discriminative restricted Boltzmann machines", ICML 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from harmonium import RBM, RBMClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> rbm = RBM(100, n_iter=100, batch_size=20, random_state=0)
    >>> classifier = RBMClassifier(rbm).fit(X[:1500] > 7, y[:1500])
    >>> bool(classifier.score(X[1500:] > 7, y[1500:]) > 0.8)
    True
    >>> threes = classifier.sample(5, y=3, random_state=0)
    """

    def __init__(self, rbm: Any = None) -> None:
        self.rbm = rbm

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None) -> Any:
        """Learn the joint distribution of rows and labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), as the machine's `fit`
        y : array-like of shape (n_samples,)
            Labels of at least two classes.
        sample_weight : array-like of shape (n_samples,) or None

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As of `RBM.fit`; and if y is not of classes, or of one class only.
        """
        X, codes, classes = self._check(X, y)
        counted = codes if sample_weight is None else codes[_check_sample_weight(sample_weight, codes) > 0]
        if len(np.unique(counted)) < 2:
            raise ValueError(f"RBMClassifier.fit: y holds one class, {classes[counted[:1]]}; at least two are needed")
        rbm = self._joint(X, len(classes))
        try:
            rbm.fit(beside(self._with_labels(X, codes, rbm), X), sample_weight=sample_weight)
        finally:
            if hasattr(rbm, "components_"):  # interrupted or diverged, it is that of the last whole epoch
                self.classes_, self.rbm_ = classes, rbm
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, *, sample_weight: Any = None) -> Any:
        """One pass over these rows; the first call needs all `classes` that will come.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like of shape (n_classes,) or None

        Returns
        -------
        self
        """
        fresh = not hasattr(self, "rbm_")
        if fresh and classes is None:
            raise ValueError("RBMClassifier.partial_fit: the first call needs classes, all labels that will come")
        X, codes, classes = self._check(X, y, np.unique(classes) if fresh else self.classes_, reset=fresh)
        rbm = self._joint(X, len(classes)) if fresh else self.rbm_
        rbm.partial_fit(beside(self._with_labels(X, codes, rbm), X), sample_weight=sample_weight)
        self.classes_, self.rbm_ = classes, rbm
        return self

    def _check(self, X: Any, y: Any, classes: Any = None, *, reset: bool = True) -> tuple[Any, np.ndarray, np.ndarray]:
        finite = not self._machine().allow_missing
        y = host(y) if is_on_gpu(y) else y
        if is_on_gpu(X):
            X, y = self._gpu_rows("RBMClassifier", X, reset=reset, finite=finite), _check_y(y, estimator=self)
            check_consistent_length(X, y)
        else:
            X, y = validate_data(self, X, y, reset=reset, dtype=None, ensure_all_finite=finite)
        check_classification_targets(y)
        found, codes = np.unique(y, return_inverse=True)
        if classes is None:
            return X, codes, found
        unknown = np.setdiff1d(found, classes)
        if unknown.size:
            raise ValueError(f"RBMClassifier: y holds {unknown[0]}, which is not among the classes {classes}")
        return X, np.searchsorted(classes, y), classes

    def _gpu_rows(self, who: str, X: Any, *, reset: bool = False, finite: bool = True) -> Any:
        rows = gpu_rows(f"{who}: X", X)
        if finite:
            check_finite(f"{who}: X", rows)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return rows

    def _machine(self) -> RBM:
        if self.rbm is not None and not isinstance(self.rbm, RBM):
            raise TypeError(f"RBMClassifier: rbm is a {type(self.rbm).__name__}, an RBM is needed")
        return RBM() if self.rbm is None else self.rbm

    def _joint(self, X: Any, n_classes: int) -> RBM:
        """The machine, with the labels' unit beside those of X."""
        who = "RBMClassifier.fit"
        rbm = clone(self._machine())
        pairs = visible_pairs(who, rbm.visible)
        if isinstance(rbm.visible, str):
            if rbm.visible == "count":
                raise ValueError(
                    f"{who}: visible='count' cannot stand beside labels: a bag's size scales hidden biases"
                )
            pairs = [(rbm.visible, X.shape[1])]
        choices, one_hot = _categories.in_data(who, host(X), pairs, rbm.n_categories)
        # All categorical columns have the same form, the labels' too.
        label = ("categorical", n_classes if one_hot else 1)
        return rbm.set_params(visible=[*pairs, label], n_categories=[*choices, n_classes])

    @staticmethod
    def _with_labels(X: Any, codes: np.ndarray, rbm: RBM) -> np.ndarray:
        """Rows and labels, as NumPy's, in the form that the machine's last block of columns has."""
        X = host(X)
        dtype = X.dtype if X.dtype.kind == "f" else np.float32
        width = rbm.visible[-1][1]
        return np.column_stack([X, codes if width == 1 else np.eye(width)[codes]]).astype(dtype, copy=False)

    def _free_energies(self, method: str, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """X, checked, and the free energy of each row with each label, (n_samples, n_classes): both NumPy's."""
        check_is_fitted(self, "rbm_")
        who = f"RBMClassifier.{method}"
        refuse_mixed(who, X, "components_ of the machine", self.rbm_.components_)
        if is_on_gpu(X):
            X = host(self._gpu_rows(who, X))
        else:
            X = validate_data(self, X, reset=False, dtype=None)
        labels = np.arange(len(self.classes_))
        each = [self.rbm_._free_energy(self._with_labels(X, np.full(len(X), k), self.rbm_)) for k in labels]
        return X, np.stack(each, axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """p(y | x) of every row and class, exact.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        probabilities : float64 array of shape (n_samples, n_classes), in the order of `classes_`
        """
        return beside(softmax(-self._free_energies("predict_proba", X)[1], axis=1), X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """log p(y | x) of every row and class, also where a probability rounds to 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_probabilities : float64 array of shape (n_samples, n_classes)
        """
        minus = -self._free_energies("predict_log_proba", X)[1]
        return beside(minus - np.logaddexp.reduce(minus, axis=1, keepdims=True), X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : array of shape (n_samples,)
        """
        _, free_energies = self._free_energies("predict", X)
        labels = self.classes_[free_energies.argmin(axis=1)]
        return beside(labels, X) if labels.dtype.kind in "biuf" else labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose class is predicted right.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,) or None

        Returns
        -------
        accuracy : float
        """
        y, found = (host(part) if is_on_gpu(part) else part for part in (y, self.predict(X)))
        return float(accuracy_score(y, found, sample_weight=sample_weight))

    def transform(self, X: Any) -> np.ndarray:
        """The hidden units' means given x alone: their means given x and y, averaged by p(y | x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        H : array of shape (n_samples, n_components), in the dtype of the model
        """
        rows, free_energies = self._free_energies("transform", X)
        p = softmax(-free_energies, axis=1)
        hidden = np.zeros((1, 1))
        for k in range(len(self.classes_)):
            means = self.rbm_._hidden_means(self._with_labels(rows, np.full(len(rows), k), self.rbm_))
            hidden = hidden + p[:, k : k + 1] * means
        return beside(np.asarray(hidden, dtype=means.dtype), X)

    def sample(self, n_samples: int = 1, *, y: Any = None, n_steps: int = 1000, random_state: Any = None) -> np.ndarray:
        """Draw rows x from the model, or from p(x | y).

        Parameters
        ----------
        n_samples : int, default=1
        y : label, array-like of shape (n_samples,) or None
            The labels to draw rows of. None: labels are drawn, too, and not returned.
        n_steps : int, default=1000
        random_state : int, RandomState or None

        Returns
        -------
        X : array of shape (n_samples, n_features), in the dtype of the model
        """
        check_is_fitted(self, "rbm_")
        clamp = None
        if y is not None:
            labels = np.broadcast_to(host(y) if is_on_gpu(y) else np.asarray(y), (n_samples,))
            unknown = np.setdiff1d(labels, self.classes_)
            if unknown.size:
                raise ValueError(f"RBMClassifier.sample: y holds {unknown[0]}, which is not among {self.classes_}")
            unseen = np.zeros((n_samples, self.n_features_in_))
            values = self._with_labels(unseen, np.searchsorted(self.classes_, labels), self.rbm_)
            clamp = np.arange(values.shape[1]) >= self.n_features_in_, values
        drawn = self.rbm_.sample(n_samples, n_steps=n_steps, clamp=clamp, random_state=random_state)
        return beside(host(drawn)[:, : self.n_features_in_], drawn)

    @property
    def n_iter_(self) -> int:
        return self.rbm_.n_iter_

    @property
    def _n_features_out(self) -> int:
        return self.rbm_.components_.shape[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = self.rbm.__sklearn_tags__() if isinstance(self.rbm, RBM) else RBM().__sklearn_tags__()
        tags.input_tags.positive_only = inner.input_tags.positive_only
        tags.input_tags.categorical = inner.input_tags.categorical
        tags.transformer_tags.preserves_dtype = inner.transformer_tags.preserves_dtype
        return tags
