"""Sparse coding: dictionaries learned from data."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from ._callbacks import CallbackMixin, epoch_loop
from ._device import gpu_rows, is_on_gpu, refuse_mixed
from ._dictionary_learning import DictionaryLearner
from ._lasso import ALGORITHMS, choose_solver
from ._rbm_sampling import new_seed
from ._validation import check_choice, check_flag, check_number, float_dtype
from .image import Patches
from .sparse_coder import Coder

__all__ = ["SparseCoding"]


class SparseCoding(CallbackMixin, Coder):
    """Sparse coding: a dictionary learned so that few of its atoms make up each row.

    Minimises over dictionaries D with rows of norm 1 the mean over rows x of the least, over codes h, of::

        0.5 |x - h D|^2 + alpha |h|_1

    (Olshausen and Field, Nature 381, 1996), by online dictionary learning (Mairal, Bach, Ponce, Sapiro, JMLR 11,
    2010): exact lasso codes of a batch, then one pass of block coordinate descent over the atoms, from statistics in
    which older batches count less. Parameters as scikit-learn's ``MiniBatchDictionaryLearning``.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms; as many as features if None.
    alpha : float, default=1
        The penalty: larger is sparser.
    max_iter : int, default=1000
        Most passes over the data; fewer where `tol` or `max_no_improvement` stop earlier.
    fit_algorithm : {"auto", "cd", "fista", "ista"}, default="auto"
        Solver of the codes while learning, as `algorithm` of `sparse_encode`; "lars" means "cd".
    n_jobs : int, default=None
        Threads: None for harmonium's own number, -1 for all CPUs. They do not change any bit of the result.
    batch_size : int or None, default=256
        Rows between updates of the dictionary; None: all of them, which is alternating minimisation.
    shuffle : bool, default=True
        Whether every pass takes the rows in another order.
    dict_init : array of shape (n_components, n_features), default=None
        Where to start; rows drawn from the data, brought to norm 1, if None. On a GPU where X is.
    transform_algorithm : {"auto", "cd", "fista", "ista"}, default="auto"
        Solver of `transform`.
    transform_alpha : float, default=None
        Penalty of `transform`; `alpha` if None.
    verbose : int, default=0
        1 shows one progress bar with the objective, the density of codes and atoms redrawn.
    split_sign : bool, default=False
        Whether the codes' positive and negative parts become features of their own.
    random_state : int, RandomState or None, default=None
        Draws the start and the order of rows.
    positive_code, positive_dict : bool, default=False
        Whether codes, and atoms, must not be negative.
    transform_max_iter : int, default=10000
        Most steps or rounds a row.
    tol : float, default=1e-3
        Learning stops when a pass lowers the mean objective by less than this share of it; 0: never.
    max_no_improvement : int or None, default=10
        Learning stops after so many updates without a new least smoothed objective, its exponential mean over about one
        pass; not within the first pass; None: never.
    transform_tol : float, default=1e-6
        Relative duality gap at which a row's codes are done.
    device : {"cpu", "cuda", "cuda:1", ...} or None, default=None
        Where `fit`, `partial_fit` and `transform` are computed; None: where X is. On a GPU "auto" is "fista", "cd" does
        not run, and what is learned differs by what codes may within their tolerance. Rows that do not fit there are
        streamed; with batch_size=None they have to fit. RuntimeError says why there is no such GPU.
        X on a GPU (CuPy's, PyTorch's) stays there; components_ is then of its library, and all methods take and give
        arrays of it. Codes with `split_sign` go through the host.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        The atoms, of norm 1. Those that no code has used for 1000 rows were redrawn from the data.
    n_iter_ : int
        Passes done.
    n_steps_ : int
        Updates of the dictionary done.
    history_ : dict of lists, an entry for each pass
        "objective": its mean over the pass, each row's with the dictionary it met; "density": share of codes that are
        not zero; "redrawn": atoms redrawn from the data.
    n_features_in_ : int

    See Also
    --------
    harmonium.image.extract_patches_2d : Patches of images, which `fit` takes without building their matrix.
    sparse_encode : Codes on a given dictionary, with their duality gaps.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from harmonium import SparseCoding
    >>> X = load_digits().data
    >>> coding = SparseCoding(32, alpha=5.0, max_iter=5, random_state=0).fit(X)
    >>> codes = coding.transform(X)
    >>> codes.shape
    (1797, 32)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        alpha: float = 1,
        max_iter: int = 1000,
        fit_algorithm: str = "auto",
        n_jobs: int | None = None,
        batch_size: int | None = 256,
        shuffle: bool = True,
        dict_init: Any = None,
        transform_algorithm: str = "auto",
        transform_alpha: float | None = None,
        verbose: int = 0,
        split_sign: bool = False,
        random_state: Any = None,
        positive_code: bool = False,
        positive_dict: bool = False,
        transform_max_iter: int = 10_000,
        tol: float = 1e-3,
        max_no_improvement: int | None = 10,
        transform_tol: float = 1e-6,
        device: str | None = None,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.max_iter = max_iter
        self.fit_algorithm = fit_algorithm
        self.n_jobs = n_jobs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.dict_init = dict_init
        self.transform_algorithm = transform_algorithm
        self.transform_alpha = transform_alpha
        self.verbose = verbose
        self.split_sign = split_sign
        self.random_state = random_state
        self.positive_code = positive_code
        self.positive_dict = positive_dict
        self.transform_max_iter = transform_max_iter
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.transform_tol = transform_tol
        self.device = device

    def fit(self, X: Any, y: Any = None) -> SparseCoding:
        """Learn a dictionary.

        Parameters
        ----------
        X : array-like, CSR matrix or harmonium.image.Patches of shape (n_samples, n_features)
            CSR and `Patches` are made dense some batches at a time, at most 16384 rows.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or X is outside its range; nothing is changed then.
        DivergenceError
            If values are so large that the objective overflows. A fit that fails or is interrupted keeps the
            dictionary of the last whole pass.
        """
        self._check_parameters(X)
        data, dtype = self._rows("fit", X)
        seed = new_seed(self.random_state)
        learner = DictionaryLearner.begin(self, data, dtype, seed)
        self._take_features(X)
        learner.give(self)
        return self._learn(learner, data, self.max_iter, X, y, stops=True)

    def partial_fit(self, X: Any, y: Any = None) -> SparseCoding:
        """Go on learning: one pass over X, in batches, from where the last call ended.

        Parameters
        ----------
        X : array-like, CSR matrix or harmonium.image.Patches of shape (n_samples, n_features), as in `fit`
        y : ignored

        Returns
        -------
        self

        Notes
        -----
        Learning goes on with ``components_``, which may have been assigned or written to; the statistics of earlier
        batches are kept unless it was. `n_components` and `dict_init` count in the first call only.
        """
        self._check_parameters(X)
        fresh = not hasattr(self, "components_")
        if not fresh:
            self._refuse_mixed("partial_fit", X)
        if fresh:
            data, dtype = self._rows("partial_fit", X)
            learner = DictionaryLearner.begin(self, data, dtype, new_seed(self.random_state))
        else:
            learner = DictionaryLearner.resume(self)
            data, _ = self._rows("partial_fit", X, np.shape(self.components_)[1])
        if fresh or not hasattr(self, "n_features_in_"):
            self._take_features(X)
        learner.give(self)
        return self._learn(learner, data, 1, X, y, stops=False)

    def transform(self, X: Any) -> np.ndarray:
        """Codes of X on the dictionary.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        codes : array of shape (n_samples, n_components), twice as many columns with `split_sign`
        """
        check_is_fitted(self)
        self._check_coding(X)
        self._refuse_mixed("transform", X)
        alpha = self.alpha if self.transform_alpha is None else self.transform_alpha
        return self._encode(self._of_width(X), self._atoms(), alpha)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """What codes X stand for: X D, of shape (n_samples, n_features)."""
        check_is_fitted(self)
        return self._decode(X, self._atoms(), "components_ of the model")

    def _atoms(self) -> Any:
        return self.components_ if is_on_gpu(self.components_) else np.asarray(self.components_)

    def _refuse_mixed(self, method: str, X: Any) -> None:
        refuse_mixed(f"{type(self).__name__}.{method}", X, "components_ of the model", self.components_)

    def _learn(self, learner: Any, data: Any, n_passes: int, X: Any, y: Any, *, stops: bool) -> SparseCoding:
        with epoch_loop(self, n_passes, X=X, y=y) as loop:

            def on_pass() -> bool:
                learner.give(self)
                wanted = loop.epoch_end({k: v[-1] for k, v in self.history_.items()}, self._fitted_attributes)
                return wanted or (stops and learner.has_converged(float(self.tol)))

            try:
                learner.learn(self, data, n_passes, on_pass, stops=stops)
            finally:
                learner.give(self)
        learner.warn_if_idle(self)
        return self

    def _fitted_attributes(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k.endswith("_") or k in DictionaryLearner.PRIVATE}

    def _rows(self, method: str, X: Any, n_features: int | None = None) -> tuple[Any, np.dtype]:
        """X checked, of so many features if a number is given, and the floating type it has; nothing is changed."""
        who = f"{type(self).__name__}.{method}"
        if isinstance(X, Patches):
            data = X
        elif is_on_gpu(X):
            data = gpu_rows(f"{who}: X", X, floats=True)
        elif n_features is None:
            data = check_array(
                X, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, estimator=self, input_name="X"
            )
        else:
            data = self._of_width(X)
        if n_features is not None and data.shape[1] != n_features:
            raise ValueError(f"{who}: X has {data.shape[1]} columns, the model has {n_features}")
        return DictionaryLearner.checked(self, f"{who}: X", data), float_dtype(data)

    def _take_features(self, X: Any) -> None:
        if isinstance(X, Patches):
            self.n_features_in_ = X.shape[1]
            self.__dict__.pop("feature_names_in_", None)
        else:
            validate_data(self, X, reset=True, skip_check_array=True)

    def _check_parameters(self, X: Any) -> None:
        who = type(self).__name__
        if self.n_components is not None:
            check_number(who, "n_components", self.n_components, Integral, low=1)
        check_number(who, "alpha", self.alpha, Real, low=0, open_low=True)
        check_number(who, "max_iter", self.max_iter, Integral, low=0)
        check_choice(who, "fit_algorithm", self.fit_algorithm, (*ALGORITHMS, "lars"))
        choose_solver(who, "fit_algorithm", self.fit_algorithm, self.device, X)
        if self.batch_size is not None:
            check_number(who, "batch_size", self.batch_size, Integral, low=1)
        check_number(who, "tol", self.tol, Real, low=0)
        if self.max_no_improvement is not None:
            check_number(who, "max_no_improvement", self.max_no_improvement, Integral, low=0)
        for name in ("shuffle", "positive_dict"):
            check_flag(who, name, getattr(self, name))
        self._check_coding(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.batch_size is not None  # all rows at once: they must be in memory
        return tags

    @property
    def _n_features_out(self) -> int:
        return np.shape(self.components_)[0] * (1 + self.split_sign)
