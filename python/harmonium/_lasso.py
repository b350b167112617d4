"""Lasso codes with a certified duality gap."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from joblib import effective_n_jobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from . import _core
from ._callbacks import progress_bar
from ._device import as_type, beside, choose_device, gpu_rows, host, is_on_gpu, refuse_mixed, zeros
from ._validation import check_choice, check_finite, check_flag, check_number, float_dtype, tell

# Scikit-learn's names for the same minimiser stand for the fastest solver.
ALGORITHMS = {"auto": "cd", "cd": "cd", "fista": "fista", "ista": "ista", "lasso_cd": "cd", "lasso_lars": "cd"}
ON_A_GPU = {"auto": "fista", "fista": "fista", "ista": "ista"}
NUMBERS_AT_A_TIME = 2**22  # that are converted or made dense
_NEARLY_FREE = 1e-10  # stands for alpha = 0 where codes may not be negative, times what reaches any atom


def sparse_encode(
    X: Any,
    dictionary: Any,
    *,
    algorithm: str = "auto",
    alpha: Any = 1.0,
    tol: float = 1e-6,
    max_iter: int = 10_000,
    positive: bool = False,
    init: Any = None,
    mask: Any = None,
    return_gap: bool = False,
    n_jobs: int | None = None,
    verbose: int = 0,
    device: str | None = None,
) -> Any:
    """Sparse codes: the lasso of every row on the atoms of a dictionary, to a certified accuracy.

    Minimises, for every row x of X, over h::

        0.5 |x - h D|^2 + sum_j alpha_j |h_j|

    (Tibshirani 1996; Olshausen and Field 1996 for images). This is what ``sklearn.decomposition.sparse_encode`` solves
    by "lasso_cd", with a tolerance that is met: a row is done when its duality gap, an upper bound of how far its
    objective is above the least possible (Kim et al. 2007, section III), is at most `tol` times its objective.

    Parameters
    ----------
    X : array-like or CSR matrix of shape (n_samples, n_features)
        float32 and float64 are kept, other types become float32. CSR is made dense a few rows at a time. An array on a
        GPU is coded there, and goes through the host only with a mask or a penalty of 0.
    dictionary : array-like of shape (n_components, n_features)
        The atoms, in rows; of any norm. Where X is.
    algorithm : {"auto", "cd", "fista", "ista"}, default="auto"
        "cd": coordinate descent over a working set whose codes are then solved for at once, the fastest by far and
        what "auto" is; "ista" (Daubechies, Defrise, De Mol 2004): proximal gradient steps, the lecture's algorithm;
        "fista" (Beck and Teboulle 2009): the same with momentum, dropped where it leads uphill (O'Donoghue and
        Candes 2015).
        "lasso_cd" and "lasso_lars", scikit-learn's names for the same minimiser, mean "cd".
    alpha : float or array, default=1.0
        The penalty: a number; one for each atom, of shape (n_components,); one for each row, (n_samples, 1); or one for
        each code, (n_samples, n_components). Not negative. From alpha_max = max_j |x . d_j| on, codes are 0 at once.
    tol : float, default=1e-6
        Relative duality gap at which a row is done.
    max_iter : int, default=10000
        Most steps (ista, fista) or rounds (cd) a row.
    positive : bool, default=False
        Whether codes must not be negative.
    init : array-like of shape (n_samples, n_components), default=None
        Codes to start from, not negative with `positive`; zeros if None.
    mask : array-like of bool of shape (n_samples, n_features), default=None
        True where an entry of X is observed; the sum of squares is over these only. What X holds elsewhere (NaN, say)
        does not count. All are observed if None.
    return_gap : bool, default=False
        Whether to return duality gaps too.
    n_jobs : int, default=None
        Threads: None for harmonium's own number, -1 for all CPUs.
    verbose : int, default=0
        1 shows a progress bar.
    device : {"cpu", "cuda", "cuda:1", ...} or None, default=None
        Where rows are coded; None: where X is. On a GPU "auto" is "fista", and "cd" does not run; rows are taken there
        in blocks. Steps are by bfloat16 products of split numbers as far as these resolve, then in float64: `tol` and
        gaps mean the same. RuntimeError says why there is no such GPU.

    Returns
    -------
    codes : array of shape (n_samples, n_components)
        With exact zeros, in the type of X, and in its library where it is on a GPU.
    gaps : float64 array of shape (n_samples,), with return_gap
        Absolute duality gaps of these codes, rounded as they are. Codes in float32 are within about 1e-6 of their
        objective, whatever `tol`.

    Raises
    ------
    ValueError
        If shapes differ, or X, the dictionary or alpha hold NaN, infinity or (alpha) negative numbers; or if the
        algorithm does not run on a GPU and one is asked for.

    Warns
    -----
    ConvergenceWarning
        If rows stopped at `max_iter` above `tol`, with their number and the largest gap.

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium import sparse_encode
    >>> D = np.eye(3)
    >>> sparse_encode(np.array([[3.0, -2.0, 0.5]]), D, alpha=1.0)
    array([[ 2., -1.,  0.]])
    """
    who = "sparse_encode"
    check_choice(who, "algorithm", algorithm, tuple(ALGORITHMS))
    check_number(who, "tol", tol, Real, low=0)
    check_number(who, "max_iter", max_iter, Integral, low=0, high=2**31)
    check_flag(who, "positive", positive)
    where, chosen = choose_solver(who, "algorithm", algorithm, device, X)
    refuse_mixed(who, X, "the dictionary", dictionary)
    given = X
    if is_on_gpu(X) and (mask is not None or not host(alpha).all()):
        X, dictionary = host(X), host(dictionary)  # the host's part in these is the larger one
    X, D, dtype = _rows_and_atoms(who, X, dictionary)
    if X.shape[1] != D.shape[1]:
        raise ValueError(f"{who}: X has {X.shape[1]} columns, the dictionary {D.shape[1]}")
    shape = (X.shape[0], D.shape[0])
    penalty = _penalty(host(alpha), shape)
    observed = None if mask is None else _observed(host(mask), X.shape)
    check_finite(f"{who}: X", X, observed, advice="; say with mask what is observed")
    codes = zeros(shape, dtype, X) if init is None else beside(_start(host(init), shape, dtype, positive), X)
    gaps = np.empty(shape[0])
    solve = _Solver(D, chosen, float(tol), int(max_iter), bool(positive), threads(who, n_jobs), where)
    left = 0
    with progress_bar(who, verbose) as progress:
        if is_on_gpu(X):
            left = solve(X, penalty, None, codes, gaps, progress)
        for rows, x in () if is_on_gpu(X) else row_blocks(X, dtype):
            there = None if observed is None else observed[rows]
            if there is not None:
                x = np.where(there, x, 0)
            left += solve(x, penalty[rows] if len(penalty) > 1 else penalty, there, codes[rows], gaps[rows], progress)
    if left:
        tell(
            f"{who}: {left} of {shape[0]} rows stopped at max_iter={max_iter}, or at what rounding errors allow, above "
            f"a relative gap of tol={tol:g}; the largest absolute gap is {gaps.max():.3g}; try algorithm='cd', more "
            "max_iter or a larger tol",
            ConvergenceWarning,
        )
    codes = beside(codes, given)
    return (codes, beside(gaps, given)) if return_gap else codes


class _Solver:
    """The core's solver, and around it what penalties of zero need."""

    def __init__(
        self, D: np.ndarray, algorithm: str, tol: float, max_iter: int, positive: bool, n_threads: int, device: str
    ) -> None:
        self.D, self.positive = D, positive
        self._options = (algorithm, tol, max_iter, positive)
        self._threads, self._device = n_threads, device

    def __call__(
        self, x: np.ndarray, alpha: np.ndarray, observed: Any, codes: np.ndarray, gaps: np.ndarray, progress: Any
    ) -> int:
        free = alpha == 0
        if not free.any():
            return self._lasso(x, self.D, alpha, observed, codes, gaps, progress)
        if self.positive:
            return self._nearly_free(x, alpha, observed, codes, gaps, progress)
        left = 0
        for rows, there, unpenalised in self._alike(len(x), free, observed):
            a = alpha[rows] if len(alpha) > 1 else alpha
            part, gap = codes[rows], gaps[rows]
            left += self._with_free(x[rows], a, unpenalised, there, part, gap, progress)
            codes[rows], gaps[rows] = part, gap
        return left

    def _lasso(self, x: Any, D: Any, alpha: Any, observed: Any, codes: Any, gaps: Any, progress: Any) -> int:
        n_iter = np.zeros(x.shape[0], np.int32)
        there = None if observed is None else np.ascontiguousarray(observed).view(np.uint8)
        return _core.lasso(
            x, D, np.ascontiguousarray(alpha), there, *self._options, codes, gaps, n_iter, self._threads, progress,
            self._device,
        )  # fmt: skip

    @staticmethod
    def _alike(n: int, free: np.ndarray, observed: Any) -> Iterator[tuple[Any, Any, np.ndarray]]:
        """Rows whose unpenalised atoms and observed entries are the same."""
        if len(free) == 1 and observed is None:
            yield slice(None), None, free[0]
            return
        free = np.broadcast_to(free, (n, free.shape[1]))
        keys = free if observed is None else np.hstack([free, observed])
        _, which = np.unique(keys, axis=0, return_inverse=True)
        for group in range(which.max() + 1):
            rows = np.flatnonzero(which.reshape(-1) == group)
            yield rows, None if observed is None else observed[rows[0]], free[rows[0]]

    def _with_free(
        self, x: Any, alpha: Any, free: np.ndarray, there: Any, codes: np.ndarray, gaps: np.ndarray, progress: Any
    ) -> int:
        """Atoms without penalty are regressed out: the lasso of the others on what is left has the same gap.

        Frisch and Waugh's theorem; the minimum over the free codes is a least-squares problem.
        """
        free = np.broadcast_to(free, len(self.D))
        D = self.D.astype(np.float64) if there is None else self.D * there.astype(np.float64)
        x = x.astype(np.float64)
        span = scipy.linalg.orth(D[free].T)
        rest, atoms = x - (x @ span) @ span.T, D - (D @ span) @ span.T
        others = np.ascontiguousarray(atoms[~free])
        h = np.ascontiguousarray(codes[:, ~free], dtype=np.float64)
        lowest = 0.5 * (rest**2).sum(axis=1)
        left = 0
        if others.size:
            a = np.ascontiguousarray(alpha[:, ~free]) if alpha.shape[1] > 1 else alpha
            left = self._lasso(np.ascontiguousarray(rest), others, a, None, h, gaps, progress)
            lowest = _objective(rest, others, a, h) - gaps
        codes[:, ~free] = h
        codes[:, free] = scipy.linalg.lstsq(D[free].T, (x - codes[:, ~free] @ D[~free]).T)[0].T
        gaps[:] = np.maximum(_objective(x, D, alpha, codes) - lowest, 0)
        return left

    def _nearly_free(
        self, x: Any, alpha: Any, observed: Any, codes: np.ndarray, gaps: np.ndarray, progress: Any
    ) -> int:
        """No dual point is at hand where a penalty is 0 and codes are not negative: solved with a tiny one.

        The gap is then the objective itself, which is above that of the dual point 0.
        """
        reach = np.sqrt((x.astype(np.float64) ** 2).sum(axis=1)).max(initial=0)
        reach *= np.sqrt((self.D.astype(np.float64) ** 2).sum(axis=1)).max(initial=0)
        least = _NEARLY_FREE * reach if reach > 0 else 1.0
        left = self._lasso(x, self.D, np.where(alpha == 0, least, alpha), observed, codes, gaps, progress)
        free = np.broadcast_to((alpha == 0).any(axis=1), len(x))
        residual = x - codes @ self.D
        if observed is not None:
            residual = np.where(observed, residual, 0)
        whole = 0.5 * (residual.astype(np.float64) ** 2).sum(axis=1) + (alpha * np.abs(codes)).sum(axis=1)
        gaps[free] = whole[free]
        return left


def choose_solver(who: str, name: str, algorithm: str, device: str | None, X: Any = None) -> tuple[str, str]:
    """The device, and the solver that the parameter of this name stands for there."""
    there = is_on_gpu(X) if device is None else str(device).startswith("cuda")
    if there and algorithm not in ON_A_GPU:
        raise ValueError(
            f"{who}: {name}={algorithm!r} does not run on device={device or 'cuda'!r}; there 'fista', which 'auto' is, "
            "and 'ista' do"
        )
    where = choose_device(who, device, X)
    # "lars" of scikit-learn's dictionary learning, too, is "cd".
    return where, ALGORITHMS.get(algorithm, "cd") if where == "cpu" else ON_A_GPU[algorithm]


def _rows_and_atoms(who: str, X: Any, dictionary: Any) -> tuple[Any, Any, np.dtype]:
    """X, the dictionary in its type, and this type."""
    if is_on_gpu(X):
        X, D = gpu_rows(f"{who}: X", X, floats=True), gpu_rows(f"{who}: dictionary", dictionary, floats=True)
        check_finite(f"{who}: dictionary", D)
        return X, as_type(D, float_dtype(X)), float_dtype(X)
    X = check_array(X, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, input_name="X")
    D = check_array(dictionary, dtype="numeric", input_name="dictionary")
    return X, np.ascontiguousarray(D, dtype=float_dtype(X)), float_dtype(X)


def _objective(x: np.ndarray, D: np.ndarray, alpha: np.ndarray, h: np.ndarray) -> np.ndarray:
    residual = x - h.astype(np.float64) @ D
    return 0.5 * (residual**2).sum(axis=1) + (np.where(h == 0, 0, alpha) * np.abs(h)).sum(axis=1)


def _penalty(alpha: Any, shape: tuple[int, int]) -> np.ndarray:
    """alpha as a float64 matrix of 1 or n rows and 1 or n_components columns."""
    given = np.asarray(alpha)
    if given.dtype.kind not in "biuf":
        raise TypeError(f"sparse_encode: alpha is of type {given.dtype}, numbers are needed")
    penalty = np.atleast_2d(given.astype(np.float64))
    n, atoms = penalty.shape if penalty.ndim == 2 else (0, 0)
    if n not in (1, shape[0]) or atoms not in (1, shape[1]):
        raise ValueError(
            f"sparse_encode: alpha is {given.shape}, for {shape[0]} rows and {shape[1]} atoms it must be a number, "
            f"({shape[1]},) by atom, ({shape[0]}, 1) by row, or {shape}"
        )
    wrong = ~(penalty >= 0)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise ValueError(f"sparse_encode: alpha is {penalty[i, j]:g} for row {i}, atom {j}; it must not be negative")
    return penalty


def _observed(mask: Any, shape: tuple[int, int]) -> np.ndarray | None:
    if mask is None:
        return None
    observed = np.asarray(mask)
    if observed.dtype != bool:
        raise TypeError(f"sparse_encode: mask is of type {observed.dtype}, bool is needed (True: observed)")
    if observed.shape != shape:
        raise ValueError(f"sparse_encode: mask is {observed.shape}, X is {shape}")
    return observed


def _start(init: Any, shape: tuple[int, int], dtype: np.dtype, positive: bool) -> np.ndarray:
    codes = np.array(init, dtype=dtype, order="C")
    if codes.shape != shape:
        raise ValueError(f"sparse_encode: init is {codes.shape}, {shape} is needed")
    check_finite("sparse_encode: init", codes)
    if positive and (codes < 0).any():
        i, j = np.argwhere(codes < 0)[0]
        raise ValueError(f"sparse_encode: init is {codes[i, j]:g} for row {i}, atom {j}; positive=True needs 0 or more")
    return codes


def threads(who: str, n_jobs: int | None) -> int:
    """The number of threads that `n_jobs` asks for; 0 for harmonium's own."""
    if n_jobs is None:
        return 0
    if isinstance(n_jobs, (bool, np.bool_)) or not isinstance(n_jobs, Integral) or n_jobs == 0:
        raise ValueError(f"{who}: n_jobs={n_jobs!r}, None, a positive number or -1 (all CPUs) is needed")
    return int(effective_n_jobs(int(n_jobs)))


def row_blocks(X: Any, dtype: np.dtype) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of X as contiguous arrays of this type: all of them where they are that already, else some at a time."""
    ready = not sp.issparse(X) and X.dtype == dtype and X.flags.c_contiguous
    step = max(X.shape[0], 1) if ready else max(NUMBERS_AT_A_TIME // X.shape[1], 256)
    for first in range(0, X.shape[0], step):
        rows = slice(first, min(first + step, X.shape[0]))
        block = X[rows].toarray() if sp.issparse(X) else X[rows]
        yield rows, np.ascontiguousarray(block, dtype=dtype)
