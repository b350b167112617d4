"""What PPCA and FactorAnalysis share: reading the data, running a solver, keeping its last whole iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import validate_data

from ._accelerated_em import Stalled
from ._arrays import array_namespace, as_array, cast, float_name, kind, largest, model_name, moved, zeros
from ._callbacks import CallbackMixin, epoch_loop
from ._factor_rows import check_rows
from ._factor_solvers import Covariance, Data, Rows, State
from ._factor_sparse import SparseRows, refuse_stored, sparse_moments
from ._linear_gaussian import LinearGaussian
from ._missing_em import Observed
from ._moments import Moments, first_missing, refuse_infinity
from ._validation import check_number, tell

# Of a column's variance (PPCA: of their mean): noise is not let below. The density stays finite, and in float64 the
# posterior keeps half of its digits.
NOISE_FLOOR = 1e-8
MOST_KEPT = 1024  # columns up to which a fit keeps the scatter matrix, for partial_fit and goodness_of_fit
_BY_COLUMNS = 256  # columns up to which the covariance is worked with even where there are fewer rows
_MOST_CENTRED = 2**24  # numbers of X (128 MB) up to which more rows than columns are worked with themselves


class FactorEstimator(CallbackMixin, LinearGaussian):
    """Methods of both; the classes in ppca.py and factor_analysis.py give them their parameters and solvers."""

    n_components: Any
    tol: float
    max_iter: int
    verbose: int
    random_state: Any
    n_features_in_: int
    n_samples_seen_: int
    _scatter: Any  # of all rows seen; or
    _centred: Any  # those rows themselves, where they are fewer than columns
    _total_mean: Any
    _low: Any
    _high: Any

    # -- given by the classes ----------------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        who = type(self).__name__
        check_number(who, "tol", self.tol, Real, low=0)
        check_number(who, "max_iter", self.max_iter, Integral, low=1)
        if not isinstance(self.verbose, (bool, np.bool_)):
            check_number(who, "verbose", self.verbose, Integral, low=0)

    def _fit_moments(self, who: str, moments: Moments, dtype: str, X: Any, *, reset: bool) -> None:
        raise NotImplementedError

    def _ready(self, moments: Moments) -> bool:
        """Whether there can be a model: not of one row, or of rows all the same."""
        return bool(moments.n > 1 and not array_namespace(moments.mean).all(moments.constant))

    def _attributes(self, state: State, record: list[float], n: int, dtype: str) -> dict[str, Any]:
        raise NotImplementedError

    # -- the ways in -------------------------------------------------------------------------------------------------

    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """Add rows to the sufficient statistics (their number, mean and scatter matrix) and refit the model from these.

        After any number of calls the model is that of `fit` on all rows seen. Memory is n_features^2 numbers, however
        many rows come; a batch may be as small as one row. A model that `fit` made of complete data with up to 1024
        columns goes on from its rows.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Without NaN: missing values need all rows at once, in `fit`. Moved to the first batch's library and device.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For NaN, infinity, another number of columns; the statistics are as they were then.
        """
        self._check_parameters()
        fresh = not hasattr(self, "n_features_in_")
        who = f"{type(self).__name__}.partial_fit"
        data = check_rows(self, who, X, reset=fresh)
        seen = self._kept()
        if not fresh and seen is None:
            raise ValueError(
                f"{who}: the model comes from a fit that kept no statistics to add to (missing values, or more than "
                f"{MOST_KEPT} columns); call partial_fit on a new estimator, from the first batch on"
            )
        if seen is not None and not sp.issparse(data):
            data = moved(data, seen.mean)  # a model stays in the library that it began in
        batch = (sparse_moments if sp.issparse(data) else Moments.of)(data, f"{who}: X")
        if batch is None:
            row, column = first_missing(data)
            raise ValueError(
                f"{who}: X contains NaN in row {row}, column {column}; fit takes missing values, partial_fit does not"
            )
        if seen is None:
            moments, dtype = batch, model_name(data)
        else:
            moments = seen.merged(batch.moved(seen.mean))
            dtype = self._dtype
            if kind(data) in "iu":
                dtype = max(dtype, model_name(data))  # the wider name is the later
        if self._ready(moments):
            self._fit_moments(who, moments, dtype, X, reset=fresh)
        else:
            if fresh:
                validate_data(self, X, reset=True, skip_check_array=True)
            self._keep(moments, dtype)
        return self

    def fit_covariance(self, covariance: Any, n_samples: int, mean: Any = None) -> Any:
        """Fit to a covariance or correlation matrix, all that maximum likelihood needs of complete data.

        Parameters
        ----------
        covariance : array-like of shape (n_features, n_features)
            Symmetric; with 1 / n_samples (or a correlation matrix) for the likelihood to be that of the rows.
        n_samples : int
            Rows that it was computed from.
        mean : array-like of shape (n_features,) or None, default=None
            None: zeros.

        Returns
        -------
        self
        """
        self._check_parameters()
        who = f"{type(self).__name__}.fit_covariance"
        check_number(who, "n_samples", n_samples, Integral, low=2)
        S = as_array(covariance)
        dtype = float_name(S)
        S = cast(S, "float64")
        xp = array_namespace(S)
        if S.ndim != 2 or S.shape[0] != S.shape[1] or S.shape[0] == 0:
            raise ValueError(f"{who}: covariance is {tuple(S.shape)}, a square matrix is needed")
        mean = zeros(S.shape[0], S) if mean is None else moved(mean, S, "float64")
        if mean.shape != S.shape[:1]:
            raise ValueError(f"{who}: mean is {tuple(mean.shape)}, the covariance is {tuple(S.shape)}")
        if not (xp.all(xp.isfinite(S)) and xp.all(xp.isfinite(mean))):
            raise ValueError(f"{who}: covariance or mean contains NaN or infinity")
        size = largest(S)
        if largest(S - S.T) > 1e-6 * size or float(xp.min(xp.linalg.eigvalsh(S))) < -1e-6 * size:
            raise ValueError(f"{who}: covariance is not symmetric and positive semi-definite")
        # Of the rows no more is known than whether they vary.
        spread = xp.where(xp.linalg.diagonal(S) > 0, np.inf, 0 * mean)
        moments = Moments(int(n_samples), mean, int(n_samples) * 0.5 * (S + S.T), mean - spread, mean + spread)
        self._fit_moments(who, moments, dtype, None, reset=True)
        return self

    # -- inside ------------------------------------------------------------------------------------------------------

    def _read(self, X: Any) -> tuple[str, Any, str]:
        who = f"{type(self).__name__}.fit"
        data = check_rows(self, who, X, reset=True)
        if data.shape[0] < 2:
            raise ValueError(f"{who}: X has 1 sample (n_samples=1), a minimum of 2 is required")
        return who, data, model_name(data)

    def _count(self, who: str, n_components: Any, p: int) -> int:
        """Check a given number of factors."""
        check_number(type(self).__name__, "n_components", n_components, Integral, low=0)
        if n_components > p:
            raise ValueError(f"{who}: n_components={n_components}, X has {p} columns")
        return int(n_components)

    def _keep(self, moments: Moments | None, dtype: str) -> None:
        """The statistics that partial_fit adds to, or none."""
        self._drop("_scatter", "_centred", "_total_mean", "_low", "_high")
        if moments is None:
            return
        if moments.centred is None:
            self._scatter = moments.scatter
        else:
            self._centred = moments.centred
        self.n_samples_seen_, self._total_mean = moments.n, moments.mean
        self._low, self._high, self._dtype = moments.low, moments.high, dtype

    def _kept(self) -> Moments | None:
        """The statistics of all rows seen, where they are kept."""
        if not hasattr(self, "_total_mean"):
            return None
        scatter, centred = getattr(self, "_scatter", None), getattr(self, "_centred", None)
        return Moments(self.n_samples_seen_, self._total_mean, scatter, self._low, self._high, centred)

    def _drop(self, *names: str) -> None:
        """Attributes that this fit does not have, if an earlier one had."""
        for name in names:
            if hasattr(self, name):
                delattr(self, name)

    def _run(
        self,
        who: str,
        states: Iterator[State],
        n: int,
        dtype: str,
        *,
        X: Any,
        reset: bool,
        keep: Moments | None,
        one_step: bool = False,
        also: Callable[[State], dict[str, Any]] = lambda state: {},
    ) -> State:
        """Run a solver until it gains less than `tol`; on any way out the last whole iteration is the model.

        X is what the user gave, None where there are no rows; `reset`: its columns are new to the estimator; `keep`:
        the statistics to store with the model; `one_step`: the solver has one iteration only; `also`: further
        attributes of the last state. They are all there before the first warning.
        """
        record: list[float] = []
        last: State | None = None
        converged = one_step
        stalled = ""
        gain = np.inf

        def now() -> dict[str, Any]:
            assert last is not None
            return self._attributes(last, record, n, dtype) | {
                "n_iter_": len(record),
                "n_samples_seen_": n,
                "history_": {"log_likelihood": [value / n for value in record]},
            }

        max_iter = 1 if one_step else self.max_iter
        with epoch_loop(self, max_iter, X=X) as loop:
            try:
                for state in states:
                    xp = array_namespace(state.noise)
                    gain = state.log_likelihood - record[-1] if record else np.inf
                    last = state
                    record.append(state.log_likelihood)
                    shown = {"log_likelihood": state.log_likelihood / n, "noise_variance": float(xp.mean(state.noise))}
                    converged = loop.epoch_end(shown, now) or gain < self.tol or converged
                    if converged or len(record) == max_iter:
                        break
                else:
                    converged = True
            except Stalled as reason:
                stalled = str(reason)
                if last is None:
                    raise ValueError(f"{who}: {stalled}") from None
            finally:
                if last is not None:
                    attributes = now() | also(last)  # may fail: nothing has been changed then
                    if X is None:
                        self.n_features_in_ = last.mean.shape[0]
                        self._drop("feature_names_in_")
                    elif reset:
                        validate_data(self, X, reset=True, skip_check_array=True)
                    self._drop("held_out_log_likelihood_")
                    for name, value in attributes.items():
                        setattr(self, name, value)
                    self._keep(keep, dtype)
        assert last is not None
        if stalled:
            tell(
                f"{who}: not converged: after {len(record)} iterations {stalled}; fewer factors, or columns of less "
                "different scale, may help",
                ConvergenceWarning,
            )
        elif not converged:
            tell(
                f"{who}: not converged after max_iter={self.max_iter} iterations: the log-likelihood of {n} rows "
                f"grew by {gain:.3g} nats in the last, tol={self.tol:g}; raise max_iter or tol",
                ConvergenceWarning,
            )
        return last

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "components_")  # not so after partial_fit of one row, which leaves statistics only


def summarise(who: str, X: Any, few: bool) -> tuple[Data | Observed, Any, Moments | None]:
    """The data as their solver wants them, their mean, and what partial_fit goes on from.

    Complete: as centred rows where there are fewer than columns, or where the covariance of many columns would cost
    more than the `few` eigenvectors that are asked for, else as covariance. Of CSR rows as covariance of few columns,
    else as they are. With NaN: `Observed`, mean included.
    """
    n, p = X.shape
    if sp.issparse(X):
        if p > MOST_KEPT:
            refuse_stored(f"{who}: X", X)
            rows = SparseRows(X)
            return rows, rows.mean, None
        known = sparse_moments(X, f"{who}: X")
        return Covariance(known.covariance, n, known.constant), known.mean, known
    if _BY_COLUMNS < p and (n < p or (few and MOST_KEPT < p and n * p <= _MOST_CENTRED)):
        moments = _centred(f"{who}: X", X)
        if moments is not None:
            return Rows(moments.centred, moments.constant), moments.mean, moments if p <= MOST_KEPT else None
    else:
        moments = Moments.of(X, f"{who}: X")
        if moments is not None:
            data = Covariance(moments.covariance, n, moments.constant)
            return data, moments.mean, moments if p <= MOST_KEPT else None
    observed = Observed(X, f"{who}: X")
    return observed, observed.mean, None


def _centred(who: str, X: Any) -> Moments | None:
    """The rows centred; None where there is NaN."""
    xp = array_namespace(X)
    rows = cast(X, "float64", copy=True)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = xp.mean(rows, axis=0)
        if not xp.all(xp.isfinite(mean)):
            refuse_infinity(who, rows)
            if xp.any(xp.isnan(rows)):
                return None
        low, high = xp.min(rows, axis=0), xp.max(rows, axis=0)
        mean = xp.where(low == high, low, mean)
        rows -= mean
        moments = Moments(X.shape[0], mean, None, low, high, rows)
        if not xp.all(xp.isfinite(moments.variance)):
            raise ValueError(f"{who}: the squares of its values overflow; scale X")
    return moments


def column_floor(who: str, data: Data | Observed) -> Any:
    """The least noise of every column; ValueError where nothing varies."""
    variance, constant = data.variance, data.constant
    xp = array_namespace(variance)
    if xp.all(constant):
        raise ValueError(f"{who}: all {variance.shape[0]} columns of X are constant, there is nothing to model")
    return NOISE_FLOOR * xp.where(constant, xp.mean(variance[~constant]), variance)
