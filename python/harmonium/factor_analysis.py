"""Factor analysis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import chi2

from ._arrays import (
    add_to_diagonal,
    array_namespace,
    cast,
    contiguous,
    eye,
    first_true,
    host,
    moved,
    narrowed,
)
from ._eigenpairs import FURTHER, SMALL
from ._factor_base import MOST_KEPT, FactorEstimator, column_floor, summarise
from ._factor_solvers import (
    Covariance,
    Data,
    State,
    best_end,
    canonical,
    fit_noise,
    fit_noise_by_em,
    objective,
    start_noise,
)
from ._missing_em import Observed, missing_em
from ._moments import Moments
from ._validation import check_choice, check_flag, check_number, tell
from .rotation import DEPENDENT, turned

_MOST_DENSE = 1024  # columns up to which there is a matrix of second derivatives
_PATIENCE = 20  # iterations of EM that tell whether noise at its floor is as good
_HEYWOOD = 0.005  # share of a column's variance below which its noise is looked at


class GoodnessOfFit(NamedTuple):
    """What `FactorAnalysis.goodness_of_fit` returns."""

    chi_square: float
    degrees_of_freedom: int
    p_value: float
    discrepancy: float


class FactorAnalysis(FactorEstimator):
    """Factor analysis: scikit-learn's class of that name, with missing values, streaming and rotations.

    x = W h + b + noise, h ~ N(0, I), noise ~ N(0, diag(psi)) with a variance for every column, so
    x ~ N(b, W W' + diag(psi)). Change the import and nothing else. What differs: the data are read once, and an
    iteration works on their covariance, by Newton steps on the noise variances instead of EM; float32 is kept (but for
    variances that it cannot hold), integers become float32, beyond 2^24 float64; NaN are missing values (exact EM over
    what is observed); noise that goes to 0 is held and told of.

    Parameters
    ----------
    n_components : int or None, default=None
        None: n_features.
    tol : float, default=1e-2
        The fit stops when an iteration adds less to the log-likelihood of all rows, in nats.
    copy : bool, default=True
        Of no effect: X is never changed.
    max_iter : int, default=1000
    noise_variance_init : array-like of shape (n_features,) or None, default=None
        Noise variances to start from. None: what a regression on the other columns leaves, times 1 - k / 2p
        (Joreskog 1967), and of up to 1024 columns, where that ends in a Heywood case, also their variances, and ones;
        the highest end is kept.
    svd_method : {"randomized", "lapack"}, default="randomized"
        Of no effect: the leading eigenvectors are found to 7 digits, of large matrices by Krylov subspaces that begin
        with those of the iteration before. An iteration costs far less than scikit-learn's where rows are many, about
        as much where they are few.
    iterated_power : int, default=3
        Of no effect.
    rotation : {"varimax", "quartimax", "promax"} or None, default=None
        Of the loadings, after the fit; see `harmonium.rotation.rotate`. None: W' psi^-1 W is diagonal.
    random_state : int, RandomState or None, default=0
        Of `sample`.
    verbose : int, default=0
        1: a progress bar.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        W'. This and the next three may be assigned to and are used from then on.
    mean_ : array of shape (n_features,)
    noise_variance_ : array of shape (n_features,)
        psi. Never less than 1e-8 of a column's variance.
    factor_covariance_ : array of shape (n_components, n_components)
        Correlations of the factors; the identity but for promax.
    loglike_ : list of float
        Log-likelihood of all rows, in nats, at the start and after every iteration. It never falls. Where another start
        ends higher, its end is the last.
    heywood_ : bool array of shape (n_features,)
        Columns whose noise goes to 0 (a Heywood case): the likelihood at noise 0 is as high. A warning names them,
        unless there are so many factors that noise is not determined, (p - k)^2 < p + k.
    n_iter_, n_samples_seen_, n_features_in_ : int
    feature_names_in_ : array
    history_ : dict
        log_likelihood: loglike_ a row.

    References
    ----------
    Lawley, Maxwell, "Factor analysis as a statistical method", 1971.
    Joreskog, "Some contributions to maximum likelihood factor analysis", Psychometrika 32, 1967.
    Rubin, Thayer, "EM algorithms for ML factor analysis", Psychometrika 47, 1982.
    Zhao, Yu, Jiang, "ML estimation for factor analysis: EM or non-EM?", Statistics and Computing 18, 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from harmonium import FactorAnalysis
    >>> X = load_digits().data
    >>> X = X[:, X.std(axis=0) > 0]
    >>> fa = FactorAnalysis(n_components=7, rotation="varimax").fit(X)
    >>> fa.transform(X).shape
    (1797, 7)
    >>> fa.inverse_transform(fa.transform(X)).shape
    (1797, 61)
    """

    def __init__(
        self,
        n_components: Any = None,
        *,
        tol: float = 1e-2,
        copy: bool = True,
        max_iter: int = 1000,
        noise_variance_init: Any = None,
        svd_method: str = "randomized",
        iterated_power: int = 3,
        rotation: str | None = None,
        random_state: Any = 0,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.tol = tol
        self.copy = copy
        self.max_iter = max_iter
        self.noise_variance_init = noise_variance_init
        self.svd_method = svd_method
        self.iterated_power = iterated_power
        self.rotation = rotation
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> FactorAnalysis:
        """Fit the model to X by maximum likelihood.

        Complete data are read once, in chunks where there are many rows: a memory map stays on disk, and an iteration
        does not depend on the number of rows. X is never changed.

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

        Warns
        -----
        UserWarning
            Where columns are constant, and of Heywood cases.
        ConvergenceWarning
            Where `max_iter` comes before `tol`.
        """
        self._check_parameters()
        who, data, dtype = self._read(X)
        n, p = data.shape
        k = self._n_factors(who, p)
        given = self._given_noise(who, p, data)
        summary, mean, keep = summarise(who, data, 0 < k and SMALL * (k + FURTHER) <= p)
        floor = column_floor(who, summary)
        if not isinstance(summary, Observed):
            self._fit_complete(who, summary, mean, floor, given, dtype, X, reset=True, keep=keep)
            return self
        weights, noise = summary.start(k)
        states = missing_em(summary, k, weights, noise if given is None else given, floor, equal_noise=False)

        def heywood(state: State) -> dict[str, Any]:
            def best(noise: Any) -> float:
                # EM with these columns held at their floor, where it hardly moves them, for a while.
                others = missing_em(summary, k, state.weights, noise, floor, equal_noise=False)
                return max(at.log_likelihood for at in islice(others, _PATIENCE))

            return {"heywood_": self._at_zero(summary, state, floor, best) | summary.constant}

        self._tell(who, summary, self._run(who, states, n, dtype, X=X, reset=True, keep=None, also=heywood))
        return self

    def _fit_moments(self, who: str, moments: Moments, dtype: str, X: Any, *, reset: bool) -> None:
        data = Covariance(moments.covariance, moments.n, moments.constant)
        p = data.variance.shape[0]
        floor = column_floor(who, data)
        # Not from the noise before: of few rows some is at its floor, and would hardly get away from it.
        given = self._given_noise(who, p, data.variance)
        self._fit_complete(who, data, moments.mean, floor, given, dtype, X, reset=reset, keep=moments)

    def _fit_complete(
        self,
        who: str,
        data: Data,
        mean: Any,
        floor: Any,
        given: Any,
        dtype: str,
        X: Any,
        *,
        reset: bool,
        keep: Moments | None,
    ) -> None:
        k = self._n_factors(who, data.variance.shape[0])
        xp = array_namespace(data.variance)
        starts = [start_noise(data, k) if given is None else given]
        dense = isinstance(data, Covariance) and data.variance.shape[0] <= _MOST_DENSE
        if given is None and dense:
            starts += [data.variance, xp.ones_like(data.variance)]  # the second is scikit-learn's

        def doubtful(state: State) -> bool:
            return bool(xp.any((state.noise < _HEYWOOD * data.variance) & ~data.constant))

        def solve(noise: Any) -> Iterator[State]:
            return (fit_noise if dense else fit_noise_by_em)(data, k, noise, floor, mean)

        states = best_end(solve, starts, doubtful, self.tol, self.max_iter)

        def heywood(state: State) -> dict[str, Any]:
            def best(noise: Any) -> float:
                return -data.n / 2 * (objective(data, noise, k) + noise.shape[0] * math.log(2 * math.pi))

            return {"heywood_": self._at_zero(data, state, floor, best) | data.constant}

        self._tell(who, data, self._run(who, states, data.n, dtype, X=X, reset=reset, keep=keep, also=heywood))

    def _at_zero(self, data: Data | Observed, state: State, floor: Any, best: Callable[[Any], float]) -> Any:
        """Columns whose noise is small and might as well be 0: together at their floor the log-likelihood that `best`
        finds is as high."""
        xp = array_namespace(floor)
        small, at_floor = state.noise < _HEYWOOD * data.variance, state.noise <= 2 * floor
        if xp.any(small & ~at_floor):
            if best(xp.where(small, floor, state.noise)) < state.log_likelihood - max(self.tol, 1e-9):
                small &= at_floor
        return small

    def _tell(self, who: str, data: Data | Observed, state: State) -> None:
        heywood, noise, variance, constant = map(host, (self.heywood_, state.noise, data.variance, data.constant))
        if _freedom(*self.components_.shape) < 0:
            heywood = np.zeros_like(heywood)  # so many factors leave the noise undetermined, 0 included
        for columns, what in (
            (constant, "are constant; their noise variance, which would be 0, is held at"),
            (
                heywood & ~constant,
                "have noise that goes to 0 (a Heywood case: try fewer factors, or more rows); it is now",
            ),
        ):
            if columns.any():
                index = np.flatnonzero(columns)
                named = ", ".join(map(str, index[:10])) + (", ..." if len(index) > 10 else "")
                values = ", ".join(f"{noise[i] / variance.mean():.2g}" for i in index[:10])
                tell(f"{who}: {len(index)} of {len(columns)} columns ({named}) {what} {values} of the mean variance")
        if self.rotation == "promax" and turned(canonical(state.weights, state.noise), "promax")[1]:
            tell(f"{who}: {DEPENDENT}")

    def goodness_of_fit(self) -> GoodnessOfFit:
        """Likelihood ratio test that so many factors are enough, with Bartlett's correction.

        F = log|C| + tr(C^-1 S) - log|S| - p, C the model's covariance and S the data's; chi2 = (n - 1 - (2p + 5)/6
        - 2k/3) F has ((p - k)^2 - p - k) / 2 degrees of freedom (Bartlett 1951; Lawley, Maxwell 1971, section 4.4).

        Returns
        -------
        result : GoodnessOfFit
            `chi_square`, `degrees_of_freedom`, `p_value`, `discrepancy` (F).

        Raises
        ------
        ValueError
            After a fit that kept no covariance (missing values, more than 1024 columns), where that is singular, and
            where there are so many factors that nothing is left to test.
        """
        parts = self._parts("goodness_of_fit")
        who = "FactorAnalysis.goodness_of_fit"
        k, p = self.components_.shape
        kept = self._kept()
        if kept is None:
            raise ValueError(f"{who}: needs the covariance of complete data with at most {MOST_KEPT} columns")
        n = self.n_samples_seen_
        freedom = _freedom(k, p)
        if freedom <= 0:
            raise ValueError(f"{who}: {k} factors of {p} columns leave {freedom} degrees of freedom")
        S = moved(kept.covariance, parts.noise)
        xp = array_namespace(S)
        sign, log_det = map(float, xp.linalg.slogdet(S))
        if sign <= 0 or n <= p:
            raise ValueError(f"{who}: the covariance of {n} rows and {p} columns is singular")
        C = add_to_diagonal(parts.weights @ parts.weights.T, parts.noise)
        F = float(xp.linalg.slogdet(C)[1]) + float(xp.linalg.trace(xp.linalg.solve(C, S))) - log_det - p
        chi_square = float((n - 1 - (2 * p + 5) / 6 - 2 * k / 3) * F)
        return GoodnessOfFit(chi_square, freedom, float(chi2.sf(chi_square, freedom)), float(F))

    def _n_factors(self, who: str, p: int) -> int:
        return p if self.n_components is None else self._count(who, self.n_components, p)

    def _given_noise(self, who: str, p: int, like: Any) -> Any:
        if self.noise_variance_init is None:
            return None
        noise = moved(self.noise_variance_init, like, "float64")
        if tuple(noise.shape) != (p,):
            raise ValueError(f"{who}: noise_variance_init is {tuple(noise.shape)}, X has {p} columns")
        xp = array_namespace(noise)
        wrong = ~(xp.isfinite(noise) & (noise > 0))
        if xp.any(wrong):
            (column,) = first_true(wrong)
            value = float(noise[column])
            raise ValueError(f"{who}: noise_variance_init is {value} in column {column}, variances are positive")
        return noise

    def _check_parameters(self) -> None:
        super()._check_parameters()
        who = type(self).__name__
        check_flag(who, "copy", self.copy)
        check_choice(who, "svd_method", self.svd_method, ("lapack", "randomized"))
        check_number(who, "iterated_power", self.iterated_power, Integral, low=0)
        if self.rotation is not None:
            check_choice(who, "rotation", self.rotation, ("varimax", "quartimax", "promax"))

    def _attributes(self, state: State, record: list[float], n: int, dtype: str) -> dict[str, Any]:
        weights = canonical(state.weights, state.noise)
        factors = eye(weights.shape[1], weights)
        if self.rotation is not None:
            (weights, _, factors), _ = turned(weights, self.rotation)
        return {
            "components_": contiguous(weights.T, dtype),
            "mean_": cast(state.mean, dtype, copy=True),
            "noise_variance_": narrowed(state.noise, dtype),
            "factor_covariance_": cast(factors, dtype),
            "loglike_": list(record),
        }


def _freedom(k: int, p: int) -> int:
    """Of the test that k factors are enough for p columns: entries of a covariance less parameters."""
    return ((p - k) ** 2 - p - k) // 2
