"""Probabilistic principal component analysis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from ._arrays import array_namespace, cast, contiguous, full, moved, narrowed, padded
from ._choose_components import held_out, minka
from ._eigenpairs import FURTHER, SMALL, small_residuals
from ._factor_base import MOST_KEPT, NOISE_FLOOR, FactorEstimator, column_floor, summarise
from ._factor_solvers import Covariance, Data, Rows, State, canonical, signs
from ._missing_em import Observed, missing_em
from ._moments import Moments
from ._ppca_em import ppca_em, ppca_log_likelihood
from ._rbm_sampling import new_seed
from ._validation import check_choice, tell

_EXACT = 1000  # of the smaller side: up to here eigenvectors are as exact as rounding lets them be


class PPCA(FactorEstimator):
    """Probabilistic principal component analysis: x = W h + b + noise of one variance for all columns.

    h ~ N(0, I), noise ~ N(0, s2 I), so x ~ N(b, W W' + s2 I), a density that scores rows, draws rows and fills in what
    is missing. Maximum likelihood has a closed form: W = U (L - s2 I)^1/2 with the leading eigenvectors U and
    eigenvalues L of the covariance (divisor n), s2 the mean of the eigenvalues left out (Tipping, Bishop 1999, eqs. 7
    and 8). As s2 goes to 0, `transform` becomes whitened PCA. NaN are missing values: exact EM over what is observed.

    Parameters
    ----------
    n_components : int, "mle", "cv" or None, default=None
        "mle": the number of highest evidence, for complete X with more rows than columns (Minka 2000). "cv": of highest
        log-likelihood of rows held out, in five folds, for complete X. None: as many as leave noise to estimate,
        min(n_samples - 1, n_features) - 1.
    method : {"auto", "ml", "em"}, default="auto"
        ml: the closed form. em: accelerated EM, started at random. auto: ml, and em where X holds NaN.
    svd_solver : {"auto", "full", "randomized"}, default="auto"
        Of the closed form. full: all eigenvalues, of the covariance or, of fewer rows than columns, of the rows'
        products. randomized: the leading ones by Krylov subspaces from random vectors, until the log-likelihood of a
        row is known to 1e-8 nats a column. auto: the leading ones as exactly as rounding allows, or, where both sides
        are over 1000 and n_components is under a tenth of the smaller one, as randomized.
    tol : float, default=1e-3
        EM stops when an iteration adds less to the log-likelihood of all rows, in nats.
    max_iter : int, default=1000
        Of EM; an iteration is a pair of EM steps and an extrapolation from them.
    verbose : int, default=0
        1: a progress bar.
    random_state : int, RandomState or None, default=None
        Of the start of EM, of the folds and of `sample`.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        W', along the principal axes, longest first. Not of length 1: the squared length is the eigenvalue less the
        noise. This and the next two may be assigned to and are used from then on.
    mean_ : array of shape (n_features,)
    noise_variance_ : float
        s2. Never less than 1e-8 of the columns' mean variance; a warning says when that is so.
    explained_variance_ : array of shape (n_components,)
        Of x along the components: squared length plus noise.
    n_components_ : int
    held_out_log_likelihood_ : array
        With n_components="cv", a row's, for 0, 1, ... components.
    n_iter_, n_samples_seen_, n_features_in_ : int
    feature_names_in_ : array
    history_ : dict
        log_likelihood: of a row, at the start and after every iteration; of the closed form one value.

    References
    ----------
    Tipping, Bishop, "Probabilistic principal component analysis", J. Royal Statistical Society B 61, 1999.
    Minka, "Automatic choice of dimensionality for PCA", NIPS 2000.
    Ilin, Raiko, "Practical approaches to principal component analysis in the presence of missing values", JMLR 11,
    2010. Golub, Van Loan, "Matrix computations", 2013, section 10.3.6.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from harmonium import PPCA
    >>> X = load_iris().data
    >>> ppca = PPCA(2).fit(X)
    >>> round(ppca.score(X), 6)
    -2.699752
    >>> X[3, 1] = np.nan
    >>> PPCA(2, random_state=0).fit(X).impute(X)[3].round(1).tolist()
    [4.6, 3.1, 1.5, 0.2]
    """

    def __init__(
        self,
        n_components: Any = None,
        *,
        method: str = "auto",
        svd_solver: str = "auto",
        tol: float = 1e-3,
        max_iter: int = 1000,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.method = method
        self.svd_solver = svd_solver
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> PPCA:
        """Fit the model to X by maximum likelihood.

        Complete data are read once, in chunks where there are many rows: a memory map stays on disk, and an iteration
        of EM does not depend on the number of rows. X is never changed.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            NaN: missing; not in CSR. What is learned from an array of CuPy, PyTorch or another library that follows the
            array API standard are arrays of that library, where X is.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad parameters, infinity, fewer than 2 rows, columns without any value, no variance at all; nothing has
            been changed then.
        """
        self._check_parameters()
        who, data, dtype = self._read(X)
        n, p = data.shape
        curve = None
        if sp.issparse(data):
            self._refuse_sparse(who, n, p)
        # Before X is read: a number that does not fit is cheap to find.
        k = self._resolve(who, n, p) if not isinstance(self.n_components, str) else 0
        summary, mean, keep = summarise(who, data, self._few(k, p))
        if isinstance(summary, Observed):
            if isinstance(self.n_components, str) or self.method == "ml":
                name, value = ("method", "ml") if self.method == "ml" else ("n_components", self.n_components)
                missing = n * p - round(float(array_namespace(data).sum(summary.count)))
                raise ValueError(f"{who}: {name}={value!r} needs complete rows, X has {missing} missing values (NaN)")
            column_floor(who, summary)  # refuses data without variance
            xp = array_namespace(summary.variance)
            floor = full(p, NOISE_FLOOR * float(xp.mean(summary.variance)), summary.variance)
            weights, noise = summary.start(k)
            states = missing_em(summary, k, weights, noise, floor, equal_noise=True)
            self._run(who, states, n, dtype, X=X, reset=True, keep=None)
        else:
            column_floor(who, summary)
            if self.n_components == "cv":
                curve = held_out(data, self.random_state)
            self._fit_complete(who, summary, mean, dtype, X, reset=True, keep=keep, curve=curve)
        self._warn_of_floor(who)
        return self

    def _fit_moments(self, who: str, moments: Moments, dtype: str, X: Any, *, reset: bool) -> None:
        if self.n_components == "cv":
            raise ValueError(f"{who}: n_components='cv' needs rows to hold out: fit has them")
        data = Covariance(moments.covariance, moments.n, moments.constant)
        column_floor(who, data)
        self._fit_complete(who, data, moments.mean, dtype, X, reset=reset, keep=moments)
        self._warn_of_floor(who)

    def _fit_complete(
        self,
        who: str,
        data: Data,
        mean: Any,
        dtype: str,
        X: Any,
        *,
        reset: bool,
        keep: Moments | None,
        curve: Any = None,
    ) -> None:
        n, p = data.n, data.variance.shape[0]
        k = self._resolve(who, n, p) if curve is None else int(np.argmax(curve))
        xp = array_namespace(data.variance)
        total = float(xp.sum(data.variance))
        floor = NOISE_FLOOR * total / p
        also = {} if curve is None else {"held_out_log_likelihood_": moved(curve, data.variance)}
        if self.method == "em":
            seed = new_seed(self.random_state)
            assert isinstance(data, (Covariance, Rows))
            states = ppca_em(data, k, floor, mean, seed)
            self._run(who, states, n, dtype, X=X, reset=reset, keep=keep, also=lambda state: also)
            return

        def closed_form() -> Iterator[State]:
            values, axes = self._principal(data, k, total)
            # As many components whatever the solver: beyond the rows' own directions they are 0.
            beyond = max(k - values.shape[0], 0)
            every = beyond > 0 or values.shape[0] == min(n, p)
            values, axes = padded(values, beyond), padded(axes, beyond)
            count = k
            if self.n_components == "mle":
                if n <= p:
                    raise ValueError(f"{who}: n_components='mle' needs more rows than columns, X is {n} x {p}")
                count = minka(values, n)
            rest = values[count:] if every else None
            left = total - float(xp.sum(values[:count])) if rest is None else float(xp.sum(xp.maximum(rest, 0.0)))
            noise = max(left / (p - count), floor) if count < p else floor
            values, axes = values[:count], axes[:, :count]
            weights = axes * xp.sqrt(xp.maximum(values - noise, 0.0))
            weights = weights * signs(weights)
            value = ppca_log_likelihood(values, total, noise, p, n)
            yield State(weights, full(p, noise, mean), mean, value)

        self._run(who, closed_form(), n, dtype, X=X, reset=reset, keep=keep, one_step=True, also=lambda state: also)

    def _principal(self, data: Data, k: int, total: float) -> tuple[Any, Any]:
        """Eigenvalues of the covariance in falling order, all or the leading ones, and the axes."""
        xp = array_namespace(data.variance)
        p = data.variance.shape[0]
        smaller = min(data.n, p)
        some = self.svd_solver != "full" and self.n_components != "mle" and 0 < k and 4 * k < smaller

        def error(values: Any, residuals: Any) -> float:
            """1 where the log-likelihood of a row is known to 1e-8 a column: its derivative by an eigenvalue is (1/s2
            - 1/l)/2, and an eigenvalue is wrong by no more than the residual, or its square over the distance to those
            left out."""
            values, residuals, gap = values[:k], residuals[:k], values[:k] - values[k]
            wrong = residuals**2 / xp.maximum(gap, residuals)
            noise = max((total - float(xp.sum(values))) / (p - k), NOISE_FLOOR * total / p)
            return 0.5 * float(xp.sum(wrong * (1 / noise - 1 / values))) / (1e-8 * p)

        approximate = self.svd_solver == "randomized" or (smaller > _EXACT and 10 * k < smaller)
        wanted = k if some else smaller
        tolerated = error if some and approximate else small_residuals(wanted, 1e-13)
        values, axes = data.leading(xp.ones_like(data.variance), wanted, tolerated)
        return xp.maximum(values, 0.0), axes

    def _refuse_sparse(self, who: str, n: int, p: int) -> None:
        """What would need all rows dense."""
        if self.n_components == "cv":
            raise ValueError(f"{who}: n_components='cv' needs a dense X for its folds, X is sparse")
        if self.method == "em" and p > MOST_KEPT:
            raise ValueError(f"{who}: method='em' of {n} x {p} sparse X would need it dense; method='ml' does not")

    def _few(self, k: int, p: int) -> bool:
        """Whether some eigenvectors are all that is asked for."""
        some = self.method != "em" and self.svd_solver != "full" and not isinstance(self.n_components, str)
        return some and 0 < k and SMALL * (k + FURTHER) <= p

    def _ready(self, moments: Moments) -> bool:
        return super()._ready(moments) and (self.n_components != "mle" or moments.n > moments.mean.shape[0])

    def _resolve(self, who: str, n: int, p: int) -> int:
        """The number of components; 0 for "mle", which needs the eigenvalues first."""
        if self.n_components is None:
            return max(min(n - 1, p) - 1, 0)
        if isinstance(self.n_components, str):
            return 0
        return self._count(who, self.n_components, p)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        who = type(self).__name__
        check_choice(who, "method", self.method, ("auto", "ml", "em"))
        check_choice(who, "svd_solver", self.svd_solver, ("auto", "full", "randomized"))
        if isinstance(self.n_components, str):
            check_choice(who, "n_components", self.n_components, ("mle", "cv"))
            if self.n_components == "mle" and self.method == "em":
                raise ValueError(f"{who}: n_components='mle' needs the eigenvalues of method='ml'")

    def _attributes(self, state: State, record: list[float], n: int, dtype: str) -> dict[str, Any]:
        xp = array_namespace(state.weights)
        weights = canonical(state.weights, state.noise)
        noise = float(state.noise[0])
        return {
            "components_": contiguous(weights.T, dtype),
            "mean_": cast(state.mean, dtype, copy=True),
            "noise_variance_": noise,
            "explained_variance_": narrowed(xp.sum(weights**2, axis=0) + noise, dtype),
            "n_components_": int(weights.shape[1]),
        }

    def _warn_of_floor(self, who: str) -> None:
        k, p = self.components_.shape
        xp = array_namespace(self.components_)
        variance = float(xp.sum(cast(self.components_, "float64") ** 2)) / p + self.noise_variance_
        if self.noise_variance_ <= NOISE_FLOOR * variance * 1.001:
            tell(
                f"{who}: {k} components explain all of the variance of {self.n_samples_seen_} rows and {p} columns; "
                f"the noise variance would be 0, where there is no density, and is held at {self.noise_variance_:.3g}, "
                f"{NOISE_FLOOR:g} of the columns' variance. Use fewer components",
            )
