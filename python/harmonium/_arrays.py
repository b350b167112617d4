"""The linear factor models' view of array libraries: data are computed with in their own library, on their own device.

What follows the array API standard is called through the array's namespace (`array_namespace`); here is what the
standard lacks. NumPy's own ways are kept for NumPy. Single numbers, and vectors and masks that decide something, are
read on the host: they are few, and each read waits for the device anyway.
"""

from __future__ import annotations

import math
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import array_api_compat as compat
import numpy as np
import scipy.linalg
import scipy.sparse as sp

if hasattr(np, "astype"):  # NumPy 2.1: it follows the standard itself, and without wrappers' microseconds
    _NUMPY: Any = np
else:
    import array_api_compat.numpy as _NUMPY

EPS, TINY = float(np.finfo(np.float64).eps), float(np.finfo(np.float64).tiny)
_SUBSET_FROM = 128  # rows of a matrix of which LAPACK finds some eigenvectors faster than all


def is_numpy_array(X: Any) -> bool:
    return isinstance(X, np.ndarray)


def array_namespace(X: Any) -> Any:
    """The functions of X's library, by the standard's names; NumPy's for SciPy's sparse matrices."""
    return _NUMPY if isinstance(X, (np.ndarray, np.generic)) or sp.issparse(X) else compat.array_namespace(X)


def device(X: Any) -> Any:
    """Where X is."""
    return "cpu" if isinstance(X, np.ndarray) or sp.issparse(X) else compat.device(X)


# -- from one library to another -------------------------------------------------------------------------------------


def is_foreign(X: Any) -> bool:
    """Whether X is an array of a library other than NumPy in which models can be computed.

    Arrays that cannot be assigned to or have no values yet (JAX, dask) come in as NumPy's.
    """
    return (
        not isinstance(X, (np.ndarray, np.generic))
        and compat.is_array_api_obj(X)
        and not compat.is_pydata_sparse_array(X)
        and compat.is_writeable_array(X)
        and not compat.is_lazy_array(X)
    )


def as_array(value: Any) -> Any:
    """An array as it is (PyTorch: apart from its gradients), what is none as NumPy's."""
    if not is_foreign(value):
        return np.asarray(value)
    return value.detach() if compat.is_torch_array(value) else value


def host(value: Any) -> np.ndarray:
    """An array of any library as NumPy's, by a copy from its device where that has memory of its own."""
    value = as_array(value)
    if isinstance(value, np.ndarray):
        return value
    if compat.is_cupy_array(value) or compat.is_torch_array(value):
        return np.asarray(compat.to_device(value, "cpu"))
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError):  # not in this memory: the standard's way out
        return np.from_dlpack(value, device="cpu", copy=True)


def moved(value: Any, like: Any, dtype: str | None = None) -> Any:
    """An array of any library, or lists of numbers, in `like`'s library, on its device; in this dtype if given."""
    value, xp = as_array(value), array_namespace(like)
    if array_namespace(like) is _NUMPY:
        value = host(value)
    elif isinstance(value, np.ndarray) or array_namespace(value) is not xp:
        # Contiguous and copied: PyTorch takes neither negative strides nor memory that must not be written to.
        value = xp.asarray(np.ascontiguousarray(host(value)).reshape(value.shape), device=device(like), copy=True)
    elif device(value) != device(like):
        value = compat.to_device(value, device(like))
    return value if dtype is None else cast(value, dtype)


# -- types -----------------------------------------------------------------------------------------------------------


def kind(X: Any) -> str:
    """Of X's dtype as NumPy names it: b, i, u, f; anything else where there is no model of it."""
    if isinstance(X, np.ndarray) or sp.issparse(X):
        return X.dtype.kind
    kinds = {"b": "bool", "i": "signed integer", "u": "unsigned integer", "f": "real floating"}
    xp = array_namespace(X)
    return next((letter for letter, name in kinds.items() if xp.isdtype(X.dtype, name)), "?")


def float_name(X: Any) -> str:
    """float64 for float64 (and wider), float32 for all else: the type of a model of X."""
    if isinstance(X, np.ndarray) or sp.issparse(X):
        return "float64" if X.dtype.kind == "f" and X.dtype.itemsize >= 8 else "float32"
    return "float64" if X.dtype == array_namespace(X).float64 else "float32"


def model_name(X: Any) -> str:
    """As `float_name`, but float64 for integers beyond 2^24, which float32 does not tell from their neighbours."""
    xp = array_namespace(X)
    X = X.data if sp.issparse(X) else X
    if kind(X) in "iu" and xp.iinfo(X.dtype).bits > 16 and 0 not in X.shape:
        if int(xp.max(X)) > 2**24 or int(xp.min(X)) < -(2**24):
            return "float64"
    return float_name(X)


def cast(X: Any, dtype: str, copy: bool = False) -> Any:
    if isinstance(X, np.ndarray):
        return X.astype(dtype, copy=copy)
    xp = array_namespace(X)
    return xp.astype(X, getattr(xp, dtype), copy=copy)


def contiguous(X: Any, dtype: str) -> Any:
    """In this type, row after row; a copy but where NumPy needs none."""
    return np.ascontiguousarray(X, dtype=dtype) if is_numpy_array(X) else cast(X, dtype, copy=True)


def narrowed(values: Any, dtype: str, variances: Any = None) -> Any:
    """Variances, or a matrix with these on its diagonal, in this type; in float64 where it would make infinity or 0 of
    one, as float32 of 1e40 and 1e-48."""
    xp = array_namespace(values)
    sizes = values if variances is None else variances
    limits = np.finfo(dtype)
    fits = (sizes <= float(limits.max)) & ((sizes >= float(limits.tiny)) | (sizes <= 0))
    return cast(values, dtype if bool(xp.all(fits)) else "float64")


# -- arrays of float64 beside others ---------------------------------------------------------------------------------


def full(shape: Any, value: float, like: Any) -> Any:
    if array_namespace(like) is _NUMPY:
        return np.full(shape, value, np.float64)
    xp = array_namespace(like)
    return xp.full(shape, value, dtype=xp.float64, device=device(like))


def zeros(shape: Any, like: Any) -> Any:
    if array_namespace(like) is _NUMPY:
        return np.zeros(shape)
    xp = array_namespace(like)
    return xp.zeros(shape, dtype=xp.float64, device=device(like))


def eye(n: int, like: Any) -> Any:
    if array_namespace(like) is _NUMPY:
        return np.eye(n)
    xp = array_namespace(like)
    return xp.eye(n, dtype=xp.float64, device=device(like))


def padded(X: Any, n: int) -> Any:
    """X with n zeros behind its last axis."""
    if n == 0:
        return X
    return array_namespace(X).concat([X, zeros((*X.shape[:-1], n), X)], axis=-1)


def count(mask: Any) -> int:
    """Of True."""
    if isinstance(mask, np.ndarray):
        return int(np.count_nonzero(mask))
    xp = array_namespace(mask)
    return int(xp.sum(xp.astype(mask, xp.int64)))


def largest(X: Any) -> float:
    """Of the sizes of all entries; 0 of none."""
    xp = array_namespace(X)
    return 0.0 if 0 in X.shape else float(xp.max(xp.abs(X)))


def first_true(mask: Any) -> tuple[int, ...]:
    """Where the first True of a mask that has one stands."""
    return tuple(int(part[0]) for part in array_namespace(mask).nonzero(mask))


# -- linear algebra --------------------------------------------------------------------------------------------------


def with_diagonal(A: Any, diagonal: Any) -> Any:
    """A square matrix with another diagonal; NumPy's is changed in place."""
    if is_numpy_array(A):
        np.einsum("ii->i", A)[...] = diagonal
        return A
    xp = array_namespace(A)
    on = xp.eye(A.shape[0], dtype=xp.bool, device=device(A))
    return xp.where(on, diagonal[None, :], A)


def add_to_diagonal(A: Any, values: Any) -> Any:
    """A + diag(values); NumPy's is changed in place."""
    return with_diagonal(A, array_namespace(A).linalg.diagonal(A) + values)


def norm(x: Any) -> float:
    """Of a vector."""
    return math.sqrt(float(x @ x))


def linalg_errors() -> tuple[type[Exception], ...]:
    """What libraries raise where a matrix is singular or not positive definite; CuPy only `where_told`."""
    torch = sys.modules.get("torch")
    return (np.linalg.LinAlgError,) if torch is None else (np.linalg.LinAlgError, torch.linalg.LinAlgError)


def where_told(like: Any) -> AbstractContextManager[Any]:
    """Within, CuPy looks whether a decomposition succeeded; otherwise it gives invalid numbers where one did not."""
    if is_numpy_array(like) or not compat.is_cupy_array(like):
        return nullcontext()
    import cupyx

    return cupyx.errstate(linalg="raise")


def cholesky(A: Any) -> Any:
    """The lower root of a matrix or of each of a stack; None where one is not positive definite."""
    xp = array_namespace(A)
    try:
        with where_told(A):
            root = xp.linalg.cholesky(A)
    except linalg_errors():
        return None
    return root if is_numpy_array(A) or bool(xp.all(xp.isfinite(root))) else None


def leading_eigenpairs(A: Any, k: int) -> tuple[Any, Any]:
    """The k largest eigenvalues of a symmetric A, in falling order, and their eigenvectors in columns."""
    p = A.shape[0]
    if k == 0:
        return A[:0, 0], A[:, :0]
    if is_numpy_array(A):
        if p > _SUBSET_FROM and 4 * k < p:
            values, vectors = scipy.linalg.eigh(A, subset_by_index=[p - k, p - 1], check_finite=False)
        else:
            values, vectors = np.linalg.eigh(A)
        return values[::-1][:k], vectors[:, ::-1][:, :k]
    xp = array_namespace(A)
    values, vectors = xp.linalg.eigh(A)
    return xp.flip(values[p - k :]), xp.flip(vectors[:, p - k :], axis=1)
