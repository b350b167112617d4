"""Checks of what users pass, once, at the entry; and the way from their arrays to the states the core reads."""

from __future__ import annotations

import sys
import warnings
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import validate_data

from . import _core
from ._device import as_type, dtype_of, gpu_rows, host, is_on_gpu

# Rows that are converted at a time where the core cannot read the input as it stands: the copy stays small.
_ROWS_AT_A_TIME = 4096
_MOST = 2.0**62  # what the core counts with
_READ_AS_THEY_STAND = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


def float_dtype(X: Any) -> np.dtype:
    """float64 for float64, float32 for everything else: the floating type in which a model of X works."""
    dtype = dtype_of(X)
    return np.dtype(np.float64 if dtype.kind == "f" and dtype.itemsize >= 8 else np.float32)


def model_dtype(X: Any) -> np.dtype:
    """As `float_dtype`, but float64 for integers beyond 2^24, which float32 does not tell from their neighbours."""
    if X.dtype.kind in "iu" and X.dtype.itemsize > 2 and X.size and (X.max() > 2**24 or X.min() < -(2**24)):
        return np.dtype(np.float64)
    return float_dtype(X)


def narrowed(values: Any, dtype: np.dtype, variances: Any = None) -> Any:
    """Variances, or a matrix with these on its diagonal, in this type; in float64 where it would make infinity or 0 of
    one, as float32 of 1e40 and 1e-48."""
    sizes = values if variances is None else variances
    limits = np.finfo(dtype)
    fits = (sizes <= limits.max).all() and (sizes[sizes > 0] >= limits.tiny).all()
    return values.astype(dtype if fits else np.float64, copy=False)


def check_number(
    who: str,
    name: str,
    value: Any,
    kind: Any,
    *,
    low: float,
    high: float = np.inf,
    open_low: bool = False,
    closed_high: bool = False,
) -> None:
    """Refuse a parameter that is no number of this kind, or not in [low, high); open_low and closed_high change whether
    the limits belong to it."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        wanted = "an integer" if kind is Integral else "a number"
        raise TypeError(f"{who}: {name}={value!r} is of type {type(value).__name__}, {wanted} is needed")
    if kind is Integral:
        high = min(high, _MOST)
    number = float(value)
    inside = number > low if open_low else number >= low
    if not (inside and (number <= high if closed_high else number < high)):
        bounds = f"greater than {low}" if open_low else f"at least {low}"
        upper = "finite" if high == np.inf else f"{'at most' if closed_high else 'less than'} {high:g}"
        raise ValueError(f"{who}: {name}={value!r}, it must be {bounds} and {upper}")


def check_flag(who: str, name: str, value: Any) -> None:
    """Refuse a parameter that is neither True nor False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{who}: {name}={value!r} is of type {type(value).__name__}, True or False is needed")


def check_choice(who: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a parameter that is not one of these words."""
    if value not in choices:
        raise ValueError(f"{who}: {name}={value!r} is not one of {', '.join(map(repr, choices))}")


def tell(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning that points at the line outside this package that led to it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(f"{__package__}."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def check_X(estimator: Any, X: Any, *, reset: bool) -> Any:
    """scikit-learn's checks of shape, type and feature names, without its copies: the dtype stays as it is."""
    if is_on_gpu(X):
        raise TypeError(
            f"{type(estimator).__name__}: X is an array on a GPU where this method takes NumPy's; move it by "
            "cupy.asnumpy(X), or on the way of its own library"
        )
    return validate_data(
        estimator, X, reset=reset, accept_sparse="csr", dtype="numeric", order=None, ensure_all_finite=False
    )


def check_finite(who: str, X: Any, where: Any = None, *, advice: str = "") -> None:
    """Refuse NaN and infinity, naming the first one's row and column; only where a mask is true, if one is given.

    Of X on a GPU, rows of `gpu_rows`, only the columns' extremes come to the host unless there is one.
    """
    if is_on_gpu(X):
        if all(np.isfinite(part).all() for part in _core.summarise_columns(X)[:2]):
            return
        X = host(X)
    if X.dtype.kind not in "biuf":
        raise TypeError(f"{who} is of type {X.dtype}, bool, integers or floats are needed")
    if X.dtype.kind != "f":
        return
    if sp.issparse(X):
        X = X.tocoo()
        for k in np.flatnonzero(~np.isfinite(X.data))[:1]:
            raise ValueError(f"{who} contains {_name(X.data[k])} in row {X.row[k]}, column {X.col[k]}{advice}")
        return
    with np.errstate(all="ignore"):
        if where is None and np.isfinite(X.sum(dtype=np.float64)):
            return
    for first in range(0, len(X), _ROWS_AT_A_TIME):
        rows = slice(first, first + _ROWS_AT_A_TIME)
        wrong = ~np.isfinite(X[rows]) if where is None else ~np.isfinite(X[rows]) & where[rows]
        for i, j in np.argwhere(wrong)[:1]:
            raise ValueError(f"{who} contains {_name(X[first + i, j])} in row {first + i}, column {j}{advice}")


def _name(value: Any) -> str:
    return "NaN" if np.isnan(value) else str(value)


def states(who: str, X: Any, dtype: np.dtype, *, check_range: bool = True) -> _core.States:
    """The states in X: bits where all are 0 or 1, sparse rows of a CSR matrix, else a dense array of dtype.

    Raises ValueError with row and column for NaN, infinity and, with check_range, values outside [0, 1]. An array on a
    GPU stays there.
    """
    if is_on_gpu(X):
        return _on_gpu(who, X, dtype, check_range)
    if X.dtype.kind not in "biuf":
        raise TypeError(f"{who} is of type {X.dtype}, bool, integers or floats are needed")
    return _sparse(who, X, dtype, check_range) if sp.issparse(X) else _dense(who, X, dtype, check_range)


def bit_words(who: str, X: np.ndarray) -> np.ndarray:
    """X, all of it 0 or 1, as words of 64 bits; `who` begins every message, such as "RBM.sample: mask"."""
    if X.dtype.kind not in "biuf":
        raise TypeError(f"{who} is of type {X.dtype}, bool, integers or floats are needed")
    words = np.empty((X.shape[0], -(-X.shape[1] // 64)), dtype=np.uint64)
    if not _pack(who, X, words, check_range=True):
        raise ValueError(f"{who} holds values between 0 and 1 where only 0 and 1 have a meaning")
    return words


def _pack(who: str, X: np.ndarray, words: np.ndarray, check_range: bool) -> bool:
    """Pack X into words; False if it holds more than zeros and ones. All of X is checked either way."""
    if X.dtype == bool:
        X = X.view(np.uint8)
    binary = True
    readable = X.dtype in _READ_AS_THEY_STAND and all(s % X.itemsize == 0 for s in X.strides)
    step = max(X.shape[0], 1) if readable else _ROWS_AT_A_TIME
    for first in range(0, X.shape[0], step):
        rows = X[first : first + step]
        if not readable:
            # Not float32: it would round integers and wide floats before they are looked at.
            rows = np.ascontiguousarray(rows, dtype=np.float64)
        binary &= _core.pack(rows, words[first : first + step], who, check_range, first)
    return binary


def _dense(who: str, X: np.ndarray, dtype: np.dtype, check_range: bool) -> _core.States:
    words = np.empty((X.shape[0], -(-X.shape[1] // 64)), dtype=np.uint64)
    if _pack(who, X, words, check_range):
        return _core.States.from_bits(words, X.shape[1])
    return _core.States.from_dense(np.ascontiguousarray(X, dtype=dtype))


def _on_gpu(who: str, X: Any, dtype: np.dtype, check_range: bool) -> _core.States:
    X = gpu_rows(who, X)
    least, greatest, _, binary = _core.summarise_columns(X)
    if binary:
        return _core.States.from_bits(_core.pack_rows(X), X.shape[1])
    low, high = (0, 1) if check_range else (np.finfo(np.float64).min, np.finfo(np.float64).max)
    if not ((least >= low).all() and (greatest <= high).all()):
        _dense(who, host(X), dtype, check_range)  # says what is wrong, and where
    return _core.States.from_dense(as_type(X, dtype))


def _sparse(who: str, X: Any, dtype: np.dtype, check_range: bool) -> _core.States:
    try:
        X.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"{who} is not a valid CSR matrix: {error}") from None
    if not X.has_canonical_format:
        X = X.astype(np.float64) if X.dtype.kind in "iu" else X.copy()  # 200 + 57 is 1 in uint8
        X.sum_duplicates()
    values = np.asarray(X.data)
    # As one row: the message then counts stored entries, so it is put right below.
    words = np.empty((1, -(-values.size // 64)), dtype=np.uint64)
    try:
        binary = _pack(who, values.reshape(1, -1), words, check_range)
    except ValueError:
        for row in range(X.shape[0]):
            stored = slice(X.indptr[row], X.indptr[row + 1])
            for column, value in zip(X.indices[stored], values[stored], strict=True):
                if not (np.isfinite(value) and (not check_range or 0 <= value <= 1)):
                    name = f"{value:g}" if np.isfinite(value) else _name(value)
                    raise ValueError(
                        f"{who} contains {name} in row {row}, column {column}; states are between 0 and 1"
                    ) from None
        raise
    if binary and not values.all():
        X = X.copy()
        X.eliminate_zeros()
    return _core.States.from_sparse(
        np.ascontiguousarray(X.indptr, dtype=np.int64),
        np.ascontiguousarray(X.indices, dtype=np.int32),
        None if binary else np.ascontiguousarray(X.data, dtype=dtype),
        X.shape[1],
    )
