"""Codes on a dictionary that is given, and what all coders do alike."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from . import ops
from ._device import as_kept, as_type, beside, dtype_of, gpu_rows, host, is_on_gpu, refuse_mixed
from ._lasso import ALGORITHMS, choose_solver, sparse_encode, threads
from ._validation import check_choice, check_finite, check_flag, check_number

__all__ = ["SparseCoder"]


class Coder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What coders on a dictionary given and on one learned do alike."""

    def _check_coding(self, X: Any = None) -> None:
        who = type(self).__name__
        if self.transform_algorithm in ("omp", "lars", "threshold"):
            raise ValueError(
                f"{who}: transform_algorithm={self.transform_algorithm!r} does not solve the lasso, which is what "
                "harmonium codes by; use 'auto', or sklearn.decomposition.SparseCoder"
            )
        check_choice(who, "transform_algorithm", self.transform_algorithm, tuple(ALGORITHMS))
        if self.transform_alpha is not None:
            check_number(who, "transform_alpha", self.transform_alpha, Real, low=0)
        check_number(who, "transform_tol", self.transform_tol, Real, low=0)
        check_number(who, "transform_max_iter", self.transform_max_iter, Integral, low=0, high=2**31)
        for name in ("positive_code", "split_sign"):
            check_flag(who, name, getattr(self, name))
        threads(who, self.n_jobs)
        choose_solver(who, "transform_algorithm", self.transform_algorithm, self.device, X)

    def _of_width(self, X: Any) -> Any:
        """X, of as many features as were seen: checked as scikit-learn does, without its look at NaN."""
        if is_on_gpu(X):
            return validate_data(self, X, reset=False, skip_check_array=True)
        return validate_data(self, X, reset=False, accept_sparse="csr", dtype="numeric", ensure_all_finite=False)

    def _encode(self, X: Any, dictionary: Any, alpha: float) -> Any:
        codes = sparse_encode(
            X, dictionary, algorithm=self.transform_algorithm, alpha=alpha, tol=self.transform_tol,
            max_iter=self.transform_max_iter, positive=self.positive_code, n_jobs=self.n_jobs, verbose=self.verbose,
            device=self.device,
        )  # fmt: skip
        if not self.split_sign:
            return codes
        signed = host(codes)
        return beside(np.hstack([np.maximum(signed, 0), np.maximum(-signed, 0)]), codes)

    def _decode(self, codes: Any, dictionary: Any, name: str) -> Any:
        """codes D. On a GPU the two signs' codes meet +D and -D: they need not be put together first."""
        who = f"{type(self).__name__}.inverse_transform"
        refuse_mixed(who, codes, name, dictionary)
        if is_on_gpu(codes):
            codes = gpu_rows(f"{who}: codes", codes, floats=True)
            check_finite(f"{who}: codes", codes)
        else:
            codes = check_array(codes, accept_sparse="csr", dtype=[np.float64, np.float32], input_name="codes")
        n_atoms = dictionary.shape[0]
        wanted = (1 + self.split_sign) * n_atoms
        if codes.shape[1] != wanted:
            raise ValueError(f"{who}: codes have {codes.shape[1]} columns, {wanted} are needed")
        if is_on_gpu(codes):
            if self.split_sign:
                D = host(dictionary)
                dictionary = beside(np.vstack([D, -D]), codes)
            return ops.gemm(codes, as_type(dictionary, dtype_of(codes)))
        if self.split_sign:
            codes = codes[:, :n_atoms] - codes[:, n_atoms:]
        return codes @ dictionary.astype(codes.dtype, copy=False)

    def __getstate__(self) -> dict[str, Any]:
        return as_kept(super().__getstate__())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class SparseCoder(Coder):
    """Sparse codes on a dictionary that is given: the lasso of every row, to a certified accuracy.

    scikit-learn's ``SparseCoder`` where it codes by the lasso; `sparse_encode` says what is solved and how.

    Parameters
    ----------
    dictionary : array of shape (n_components, n_features)
        The atoms, in rows; of any norm. On a GPU where X is.
    transform_algorithm : {"auto", "cd", "fista", "ista"}, default="auto"
        As `algorithm` of `sparse_encode`.
    transform_alpha : float, default=None
        The penalty; 1 if None.
    split_sign : bool, default=False
        Whether the codes' positive and negative parts become features of their own.
    n_jobs : int, default=None
        Threads: None for harmonium's own number, -1 for all CPUs.
    positive_code : bool, default=False
        Whether codes must not be negative.
    transform_max_iter : int, default=10000
        Most steps or rounds a row.
    transform_tol : float, default=1e-6
        Relative duality gap at which a row is done.
    verbose : int, default=0
        1 shows a progress bar.
    device : {"cpu", "cuda", "cuda:1", ...} or None, default=None
        Where rows are coded, as in `sparse_encode`; None: where X is. On a GPU "auto" is "fista", and "cd" does not
        run. The methods take and give arrays on the GPU of a dictionary there; codes with `split_sign` go through the
        host.

    Attributes
    ----------
    n_components_ : int
    n_features_in_ : int
        Of what `fit` checked, if it was called.

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium import SparseCoder
    >>> SparseCoder(np.eye(3)).transform(np.array([[3.0, -2.0, 0.5]]))
    array([[ 2., -1.,  0.]])
    """

    def __init__(
        self,
        dictionary: Any,
        *,
        transform_algorithm: str = "auto",
        transform_alpha: float | None = None,
        split_sign: bool = False,
        n_jobs: int | None = None,
        positive_code: bool = False,
        transform_max_iter: int = 10_000,
        transform_tol: float = 1e-6,
        verbose: int = 0,
        device: str | None = None,
    ) -> None:
        self.dictionary = dictionary
        self.transform_algorithm = transform_algorithm
        self.transform_alpha = transform_alpha
        self.split_sign = split_sign
        self.n_jobs = n_jobs
        self.positive_code = positive_code
        self.transform_max_iter = transform_max_iter
        self.transform_tol = transform_tol
        self.verbose = verbose
        self.device = device

    def fit(self, X: Any, y: Any = None) -> SparseCoder:
        """Nothing to learn: X is checked, and its feature names are kept.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        self._check_coding(X)
        refuse_mixed("SparseCoder.fit", X, "the dictionary", self.dictionary)
        n_features = self._atoms().shape[1]
        if is_on_gpu(X):
            data = gpu_rows("SparseCoder.fit: X", X, floats=True)
        else:
            data = check_array(
                X, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, estimator=self, input_name="X"
            )
        check_finite("SparseCoder.fit: X", data)
        if data.shape[1] != n_features:
            raise ValueError(f"SparseCoder.fit: X has {data.shape[1]} columns, the dictionary {n_features}")
        validate_data(self, X, reset=True, skip_check_array=True)
        return self

    def transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Codes of X, which needs no `fit` before.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        codes : array of shape (n_samples, n_components), twice as many columns with `split_sign`
        """
        self._check_coding(X)
        refuse_mixed("SparseCoder.transform", X, "the dictionary", self.dictionary)
        if hasattr(self, "n_features_in_"):
            X = self._of_width(X)
        return self._encode(X, self._atoms(), 1.0 if self.transform_alpha is None else self.transform_alpha)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """What codes X stand for: X D, of shape (n_samples, n_features)."""
        return self._decode(X, self._atoms(), "the dictionary")

    def _atoms(self) -> Any:
        if is_on_gpu(self.dictionary):
            return gpu_rows("SparseCoder: dictionary", self.dictionary, floats=True)
        return check_array(self.dictionary, dtype="numeric", input_name="dictionary")

    @property
    def n_components_(self) -> int:
        """Number of atoms."""
        return int(self._atoms().shape[0])

    @property
    def _n_features_out(self) -> int:
        return self.n_components_ * (1 + self.split_sign)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags
