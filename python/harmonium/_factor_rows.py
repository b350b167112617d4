"""Rows as users pass them to a linear factor model, checked; and normal numbers to draw rows from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtri
from sklearn.utils import check_array
from sklearn.utils.validation import _check_n_features, validate_data

from . import _core
from ._arrays import array_namespace, as_array, cast, first_true, is_foreign, kind, moved


def check_rows(estimator: Any, who: str, X: Any, *, reset: bool) -> Any:
    """Checks of shape and feature names, scikit-learn's for what is not of another array library; nothing is copied,
    NaN and infinity are let through."""
    options: dict[str, Any] = {
        "accept_sparse": "csr", "dtype": "numeric", "order": None, "ensure_all_finite": False,
    }  # fmt: skip
    if is_foreign(X):
        X = _matrix(who, X, "X", 1)
        if not reset:
            _check_n_features(estimator, X, reset=False)
    elif reset:
        X = check_array(X, estimator=estimator, input_name="X", **options)
    else:
        X = validate_data(estimator, X, reset=False, **options)
    if kind(X) not in "biuf":
        raise TypeError(f"{who}: X is of type {X.dtype}, bool, integers or floats are needed")
    return canonical_csr(X) if sp.issparse(X) else X


def canonical_csr(X: Any) -> Any:
    """Without entries stored twice; X itself is not changed."""
    if not X.has_canonical_format:
        X = X.astype(np.float64) if X.dtype.kind in "biu" else X.copy()  # 200 + 57 is 1 in uint8
        X.sum_duplicates()
    return X


def check_factors(who: str, H: Any) -> Any:
    """Rows of factors, finite."""
    if not is_foreign(H):
        return check_array(H, dtype="numeric", input_name="H", ensure_min_features=0)
    H = _matrix(who, H, "H", 0)
    xp = array_namespace(H)
    wrong = ~xp.isfinite(cast(H, "float64"))
    if xp.any(wrong):
        row, column = first_true(wrong)
        raise ValueError(f"{who}: H contains NaN or infinity in row {row}, column {column}")
    return H


def _matrix(who: str, X: Any, name: str, least: int) -> Any:
    """A matrix with a row, and `least` columns."""
    X = as_array(X)
    if X.ndim != 2:
        raise ValueError(f"{who}: {name} is of shape {tuple(X.shape)}, a matrix is needed")
    if X.shape[0] < 1 or X.shape[1] < least:
        raise ValueError(f"{who}: {name} is {X.shape[0]} x {X.shape[1]}, at least 1 x {least} is needed")
    return X


def check_clamp(who: str, clamp: Any, shape: tuple[int, int], like: Any) -> tuple[Any, Any]:
    """Mask and values, both of this shape, the values 0 where they are not wanted."""
    if not isinstance(clamp, (tuple, list)) or len(clamp) != 2:
        raise TypeError(f"{who}: clamp is {clamp!r:.60}, a pair (mask, values) is needed")
    mask, values = as_array(clamp[0]), moved(clamp[1], like, "float64")
    if kind(mask) != "b":
        raise TypeError(f"{who}: the mask of clamp is of type {mask.dtype}, bool is needed")
    mask, xp = moved(mask, like), array_namespace(like)
    try:
        mask, values = xp.broadcast_to(mask, shape), xp.broadcast_to(values, shape)
    except (ValueError, RuntimeError):
        given = f"{tuple(mask.shape)} and {tuple(values.shape)}"
        raise ValueError(f"{who}: clamp is {given}, it must fit {shape}") from None
    wrong = mask & ~xp.isfinite(values)
    if xp.any(wrong):
        row, column = first_true(wrong)
        held = float(values[row, column])
        raise ValueError(f"{who}: the values of clamp hold {held} in row {row}, column {column}")
    return mask, xp.where(mask, values, 0.0)


def normal(seed: int, stream: int, shape: tuple[int, int]) -> np.ndarray:
    """Standard normal numbers as a function of (seed, stream, row, column): the inverse of their distribution at
    uniform ones of 32 bits, each in the middle of its interval."""
    uniform = _core.uniform_float64(seed, stream, 0, *shape, 0)
    return ndtri(uniform + math.ldexp(1.0, -33))
