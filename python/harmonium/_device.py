"""Where things are computed: `device` parameters, and arrays on GPUs on their way in and out.

`device=None` follows the arrays: NumPy's on the CPU, those on a GPU (CuPy's, PyTorch's) there. "cuda" or "cuda:1"
moves NumPy's to that GPU; results are NumPy's again. Arrays on a GPU are never moved unasked.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from . import _arrays, _core
from ._arrays import array_namespace, cast


def is_on_gpu(X: Any) -> bool:
    """Whether X is an array in a GPU's memory."""
    return not isinstance(X, np.ndarray) and hasattr(X, "__cuda_array_interface__")


def choose_device(who: str, device: str | None, X: Any = None) -> str:
    """The device for X as the core names it: "cpu", or "cuda:" and a number. Refuses one that cannot be used.

    Raises
    ------
    ValueError
        Where `device` is no device's name, or X is on a GPU and `device` names another place.
    RuntimeError
        Where there is no such GPU, with the reason.
    """
    if device is None:
        return f"cuda:{_gpu(X)}" if is_on_gpu(X) else "cpu"
    kind, colon, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if device != "cpu" and (kind != "cuda" or (colon and not (number.isascii() and number.isdigit()))):
        raise ValueError(f"{who}: device={device!r} is not None, 'cpu', 'cuda' or 'cuda:' and a number")
    chosen = "cpu" if device == "cpu" else f"cuda:{int(number or 0)}"
    if is_on_gpu(X) and chosen != f"cuda:{_gpu(X)}":
        raise ValueError(
            f"{who}: device={device!r}, but a {type(X).__module__}.{type(X).__name__} on GPU {_gpu(X)} was given; "
            "move it yourself, or leave device=None"
        )
    if chosen != "cpu" and not _core.cuda_available():
        raise RuntimeError(f"{who}: device={device!r}: the GPU is {_core.cuda_status()}")
    if chosen != "cpu" and not is_on_gpu(X):
        _reach(int(number or 0))
    return chosen


@functools.cache
def _reach(gpu: int) -> None:
    """Fails if it is not there, as one of several may not be: before anything is changed."""
    _core.DeviceArray(np.zeros(1, np.float32), gpu)


def _gpu(X: Any) -> int:
    # Of an empty array it cannot be told: the first.
    return max(_core.gpu_of(X.__cuda_array_interface__["data"][0]), 0)


def numbers(X: Any) -> Any:
    """X as a contiguous float32 or float64 array, of NumPy or where it is on a GPU; float64 stays."""
    if is_on_gpu(X):
        return as_type(X, np.dtype(np.float64 if dtype_of(X) == np.float64 else np.float32))
    X = np.asarray(X)
    wide = X.dtype.kind == "f" and X.dtype.itemsize >= 8
    return np.ascontiguousarray(X, dtype=np.float64 if wide else np.float32)


def moved(X: Any, device: str) -> Any:
    """X, in that GPU's memory if it is NumPy's."""
    return X if device == "cpu" or is_on_gpu(X) else _core.DeviceArray(X, int(device.partition(":")[2]))


def host(X: Any) -> np.ndarray:
    """X as NumPy's: a copy of what is on a GPU."""
    return X.numpy() if isinstance(X, _core.DeviceArray) else _arrays.host(X)


def as_kept(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes for a file or a pickle, arrays on a GPU as NumPy's: whoever reads them may have none."""
    return {name: host(value) if is_on_gpu(value) else value for name, value in attributes.items()}


def beside(X: Any, like: Any) -> Any:
    """A copy of NumPy's X in the library of `like`, on its GPU; X itself if `like` is NumPy's, or X there already."""
    if not is_on_gpu(like) or is_on_gpu(X):
        return X
    return _core.DeviceArray(X, like.gpu) if isinstance(like, _core.DeviceArray) else _arrays.moved(X, like)


def dtype_of(X: Any) -> np.dtype:
    """The dtype as NumPy names it, of an array of any library."""
    return np.dtype(X.__cuda_array_interface__["typestr"]) if is_on_gpu(X) else X.dtype


def as_type(X: Any, dtype: np.dtype) -> Any:
    """X, on a GPU, row after row in this type."""
    if dtype_of(X) != dtype:
        X = beside(host(X).astype(dtype), X) if isinstance(X, _core.DeviceArray) else cast(X, dtype.name)
    if X.__cuda_array_interface__.get("strides"):
        xp, given = array_namespace(X), X
        # Not a copy as the library makes it: that may keep columns one after the other.
        X = xp.empty(given.shape, dtype=given.dtype, device=_arrays.device(given))
        X[...] = given
    return X


def gpu_rows(who: str, X: Any, *, floats: bool = False) -> Any:
    """X, on a GPU, as rows of float32, float64 or, unless `floats`, bool or uint8; refuses what is no matrix."""
    dtype = dtype_of(X)
    if dtype.kind not in "biuf":
        raise TypeError(f"{who} is of type {dtype}, bool, integers or floats are needed")
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(f"{who} is of shape {tuple(X.shape)}, at least one row and one column are needed")
    kept = dtype in ((np.float32, np.float64) if floats else (np.bool_, np.uint8, np.float32, np.float64))
    return as_type(X, dtype if kept else np.dtype(np.float32))


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Rows by their numbers; of an array on a GPU, there."""
    return _core.take_rows(X, np.ascontiguousarray(rows, np.int64)) if is_on_gpu(X) else X[rows]


def head(X: Any, n: int) -> Any:
    """The first n rows, NumPy's or sparse."""
    return host(take_rows(X, np.arange(min(n, X.shape[0])))) if is_on_gpu(X) else X[:n]


def zeros(shape: tuple[int, ...], dtype: np.dtype, like: Any) -> Any:
    """In the library of `like`, on its GPU if it is on one."""
    if not is_on_gpu(like) or isinstance(like, _core.DeviceArray):
        return beside(np.zeros(shape, dtype), like)
    xp = array_namespace(like)
    return xp.zeros(shape, dtype=getattr(xp, dtype.name), device=_arrays.device(like))


def transposed(X: Any) -> Any:
    """X^T; of CuPy's, PyTorch's and NumPy's a view."""
    return beside(X.numpy().T, X) if isinstance(X, _core.DeviceArray) else X.T


def refuse_mixed(who: str, X: Any, other_name: str, other: Any, *, name: str = "X") -> None:
    """Refuse X, of this name, where the other array is in another place."""
    if is_on_gpu(X) == is_on_gpu(other):
        return
    where = [f"on GPU {_gpu(a)}" if is_on_gpu(a) else "a NumPy array" for a in (X, other)]
    raise ValueError(
        f"{who}: {name} is {where[0]}, {other_name} is {where[1]}; move one to where the other is "
        f"(cupy.asarray({name}) to a GPU, cupy.asnumpy({name}) from it)"
    )


def returned(X: Any, *given: Any) -> Any:
    """X as NumPy's if all that was given is NumPy's."""
    return X.numpy() if isinstance(X, _core.DeviceArray) and not any(map(is_on_gpu, given)) else X


def hand_over_cublas() -> None:
    """Tell the core where NVIDIA's wheel keeps cuBLASLt, which it loads when a GPU is first asked for."""
    try:
        nvidia = importlib.util.find_spec("nvidia")
    except (ImportError, ValueError):
        return
    for folder in (nvidia.submodule_search_locations or ()) if nvidia else ():
        for library in sorted(Path(folder).glob("*/lib/libcublasLt.so.13")):
            _core.set_cublas_path(str(library))
            return
