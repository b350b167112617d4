"""The kernels, one function each, for benchmarks and for those who build their own models.

Bits are rows of 64-bit words: column j of a row is bit ``j % 64`` of word ``j // 64``.

Functions with a `device` parameter take arrays on a GPU as well (whatever has ``__cuda_array_interface__``), compute
there and return arrays of the same library. With ``device="cuda"`` or ``"cuda:1"`` NumPy arrays are copied to that GPU,
and results back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from . import _core
from ._device import (
    as_type,
    beside,
    choose_device,
    dtype_of,
    gpu_rows,
    host,
    is_on_gpu,
    moved,
    numbers,
    returned,
    zeros,
)
from ._validation import bit_words, states

__all__ = ["bernoulli", "binary_gemm", "binary_gemm_tn", "gemm", "pack_bits", "shrink", "uniform", "unpack_bits"]


def pack_bits(X: Any, *, device: str | None = None) -> Any:
    """Pack a matrix of zeros and ones into words.

    Parameters
    ----------
    X : array (n, k) of bool, integers or floats, all 0 or 1
    device : None (where X is), "cpu", "cuda" or "cuda:1"

    Returns
    -------
    words : uint64 array (n, ceil(k / 64))

    Raises
    ------
    ValueError
        If X holds anything else, with its row and column.

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.ops import pack_bits
    >>> pack_bits(np.array([[1, 0, 1]]))
    array([[5]], dtype=uint64)
    """
    place = choose_device("pack_bits", device, X)
    if place == "cpu":
        return bit_words("pack_bits: X", np.asarray(X))
    X = X if is_on_gpu(X) else np.asarray(X)
    if 0 in X.shape:
        return returned(zeros((X.shape[0], -(-X.shape[1] // 64)), np.dtype(np.uint64), moved(X, place)), X)
    rows = gpu_rows("pack_bits: X", moved(X, place))
    if not _core.summarise_columns(rows)[3]:
        bit_words("pack_bits: X", host(rows))  # says what is wrong, and where
    return returned(_core.pack_rows(rows), X)


def unpack_bits(words: Any, n_columns: int, *, device: str | None = None) -> Any:
    """The zeros and ones in words, as float32 (n, n_columns). The inverse of `pack_bits`.

    Parameters
    ----------
    words : uint64 array (n, ceil(n_columns / 64))
    n_columns : int
    device : None (where words are), "cpu", "cuda" or "cuda:1"

    Returns
    -------
    X : float32 array (n, n_columns)

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.ops import pack_bits, unpack_bits
    >>> unpack_bits(pack_bits(np.array([[1, 0, 1]])), 3)
    array([[1., 0., 1.]], dtype=float32)
    """
    place = choose_device("unpack_bits", device, words)
    if place == "cpu":
        return _core.unpack(words, n_columns)
    return returned(_core.unpack_rows(moved(words, place), n_columns), words)


def uniform(
    shape: tuple[int, int],
    *,
    seed: int,
    stream: int = 5,
    step: int = 0,
    first_row: int = 0,
    dtype: Any = np.float32,
    device: str | None = None,
) -> np.ndarray:
    """Uniform numbers in [0, 1) as a function of (seed, stream, step, row, column).

    Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011). Row i of the result is row first_row + i of the
    stream: the same numbers however the rows are split. Stream 5 is free, the others are what training draws from.

    Returns
    -------
    u : array of `shape` and `dtype` (float32 with 24 random bits, or float64 with 32), NumPy's on any device

    Examples
    --------
    >>> from harmonium.ops import uniform
    >>> uniform((2, 3), seed=0).shape
    (2, 3)
    """
    draw = _core.uniform_float32 if np.dtype(dtype) == np.float32 else _core.uniform_float64
    return returned(draw(seed, stream, step, shape[0], shape[1], first_row, choose_device("uniform", device)))


def gemm(A: Any, B: Any, *, transpose_a: bool = False, transpose_b: bool = False, device: str | None = None) -> Any:
    """op(A) op(B) by OpenBLAS, the same bits whatever the number of threads; on a GPU by cuBLAS, without TF32.

    Parameters
    ----------
    A, B : arrays (m, k) and (k, n), or their transposes where so flagged; float32 or float64, both the same
    device : None (where the arrays are), "cpu", "cuda" or "cuda:1"

    Returns
    -------
    C : array (m, n)

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.ops import gemm
    >>> gemm(np.eye(2), np.ones((2, 2)))
    array([[1., 1.],
           [1., 1.]])
    """
    place = choose_device("gemm", device, A)
    C = _core.gemm(
        moved(numbers(A), place), transpose_a, moved(numbers(B), place) if device else numbers(B), transpose_b
    )
    return returned(C, A, B)


def binary_gemm(
    A: Any, B: Any, *, transpose_b: bool = False, n_columns: int | None = None, device: str | None = None
) -> Any:
    """A op(B) for A of zeros and ones, without multiplications.

    Sums of the rows of op(B) at the set bits of A: by look-up in tables of subset sums ("four Russians":
    Arlazarov, Dinic, Kronrod, Faradzev 1970) or row by row, whichever is cheaper. As exact as any summation
    in the type of B. On a GPU a product by bfloat16 tensor cores, in which A is exact and B the sum of three parts;
    of CSR rows sums all the same.

    Parameters
    ----------
    A : packed words (n, ceil(k / 64)) with n_columns=k, or an array or CSR matrix (n, k)
    B : array (k, m), or (m, k) with transpose_b; float32 or float64
    n_columns : int, needed where A is words
    device : None (where the arrays are), "cpu", "cuda" or "cuda:1"

    Returns
    -------
    C : array (n, m) in the type of B

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.ops import binary_gemm
    >>> binary_gemm(np.array([[1, 0, 1]]), np.array([[1.0], [2.0], [4.0]]))
    array([[5.]])
    """
    place = choose_device("binary_gemm", device, B)
    B_there = moved(numbers(B), place)
    bits = _bits("binary_gemm", A, B_there, n_columns, device)
    return returned(_core.binary_gemm(bits, B_there, transpose_b), A, B)


def binary_gemm_tn(A: Any, B: Any, *, n_columns: int | None = None, device: str | None = None) -> Any:
    """A^T B for A of zeros and ones: the gradient's product, which contracts over the batch.

    Parameters
    ----------
    A : packed words (n, ceil(k / 64)) with n_columns=k, or an array (n, k)
    B : array (n, m), float32 or float64
    device : None (where the arrays are), "cpu", "cuda" or "cuda:1"

    Returns
    -------
    C : array (k, m) in the type of B

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.ops import binary_gemm_tn
    >>> binary_gemm_tn(np.array([[1, 0], [1, 1]]), np.array([[1.0], [2.0]]))
    array([[3.],
           [2.]])
    """
    place = choose_device("binary_gemm_tn", device, B)
    B_there = moved(numbers(B), place)
    bits = _bits("binary_gemm_tn", A, B_there, n_columns, device)
    return returned(_core.binary_gemm_tn(bits, B_there), A, B)


def shrink(X: Any, a: Any, *, positive: bool = False, device: str | None = None) -> Any:
    """Soft thresholding, sign(x) max(abs(x) - a, 0): the h that minimises 0.5 (h - x)^2 + a abs(h).

    The proximal operator of the l1 norm (Daubechies, Defrise, De Mol 2004), the step by which the lasso is solved.

    Parameters
    ----------
    X : array (n, k), float32 or float64
    a : float, or array (k,) of one for each column; not negative
    positive : bool, default=False
        Whether h must not be negative: max(x - a, 0).
    device : None (where X is), "cpu", "cuda" or "cuda:1"

    Returns
    -------
    H : array (n, k) in the type of X, with exact zeros

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.ops import shrink
    >>> shrink(np.array([[3.0, -2.0, 0.5]]), 1.0)
    array([[ 2., -1.,  0.]])
    """
    place = choose_device("shrink", device, X)
    there = moved(numbers(X), place)
    if len(there.shape) != 2:
        raise ValueError(f"shrink: X has {len(there.shape)} dimensions, 2 are needed")
    n = there.shape[1]
    a = host(a) if is_on_gpu(a) and not tuple(a.shape) else a
    thresholds = as_type(a, dtype_of(there)) if is_on_gpu(a) else np.asarray(a, dtype=dtype_of(there))
    if tuple(thresholds.shape) not in ((), (n,)):
        raise ValueError(f"shrink: a is {tuple(thresholds.shape)}, a number or ({n},) is needed")
    if not is_on_gpu(thresholds) and (device or not thresholds.shape):  # a number is nowhere
        thresholds = moved(np.ascontiguousarray(np.broadcast_to(thresholds, n)), place)
    return returned(_core.shrink(there, thresholds, positive), X)


def bernoulli(
    activation: Any,
    bias: Any,
    *,
    seed: int,
    scale: float = 1.0,
    step: int = 0,
    stream: int = 5,
    first_row: int = 0,
    device: str | None = None,
) -> tuple[Any, Any]:
    """p = sigmoid(scale activation + bias), and a draw from it, in one pass.

    Parameters
    ----------
    activation : array (n, m), float32 or float64
    bias : array (m,) of the same type
    seed, stream, step, first_row : the numbers of `uniform` that are drawn
    device : None (where the arrays are), "cpu", "cuda" or "cuda:1"

    Returns
    -------
    p : array (n, m)
    words : the draw, packed: bit (i, j) is uniform(...)[i, j] < p[i, j]

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.ops import bernoulli, unpack_bits
    >>> p, words = bernoulli(np.array([[-9.0, 9.0]]), np.zeros(2), seed=0)
    >>> unpack_bits(words, 2)
    array([[0., 1.]], dtype=float32)
    """
    place = choose_device("bernoulli", device, activation)
    a = numbers(activation)
    b = bias if is_on_gpu(bias) else np.ascontiguousarray(bias, dtype=a.dtype if isinstance(a, np.ndarray) else None)
    b = moved(b, place) if device else b
    p, words = _core.bernoulli(moved(a, place), b, scale, seed, stream, step, first_row)
    return returned(p, activation, bias), returned(words, activation, bias)


def _bits(who: str, A: Any, B: Any, n_columns: int | None, device: str | None) -> _core.States:
    """A as states; where `device` moves NumPy's, beside B."""
    if n_columns is not None:
        words = A if is_on_gpu(A) else np.ascontiguousarray(A, dtype=np.uint64)
        return _core.States.from_bits(beside(words, B) if device else words, n_columns)
    if sp.issparse(A) and is_on_gpu(B) and not device:
        raise ValueError(f"{who}: A is a sparse matrix of NumPy arrays, B is on a GPU; device='cuda' moves A there")
    given = states(f"{who}: A", A if sp.issparse(A) or is_on_gpu(A) else np.asarray(A), dtype_of(B))
    if not device or not is_on_gpu(B) or is_on_gpu(A) or sp.issparse(A):
        return given
    if given.is_bits():
        return _core.States.from_bits(beside(given.words(), B), given.cols)
    return _core.States.from_dense(beside(np.asarray(A, dtype=dtype_of(B)), B))
