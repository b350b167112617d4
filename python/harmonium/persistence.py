"""Saving and loading estimators without pickle: a safetensors file with a JSON header.

The file holds every array under its attribute's name, C-contiguous, so that any safetensors reader finds
the weights. All else stands in the safetensors metadata, whose values are strings::

    format          "harmonium"
    format_version  "1"
    header          JSON: class, harmonium_version, dtype, parameters, attributes, fortran_order

``attributes`` are the fitted attributes that are no arrays (``n_iter_``, ``history_``, ...),
``fortran_order`` names the arrays to be laid out column by column in memory again. JSON has no tuple and no
infinity, so these are written as ``{"$tuple": [...]}`` and ``{"$float": "inf"}``; column names as
``{"$names": [...]}``, other arrays as ``{"$array": {"dtype": ..., "values": [...]}}``. A parameter that is an array of
numbers is stored under ``parameters.<name>``, and is ``{"$tensor": ...}`` here. An estimator inside is
``{"$estimator": {class, parameters, attributes}}``, its arrays have its name and a dot before their own.

Loading runs no code from the file: it builds one of the classes listed here and fills in data.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from sklearn.utils.validation import check_is_fitted

from ._arrays import is_foreign
from ._device import host, is_on_gpu
from .autoencoder import Autoencoder
from .classifier import RBMClassifier
from .factor_analysis import FactorAnalysis
from .linear_factor_model import LinearFactorModel
from .ppca import PPCA
from .rbm import RBM, BernoulliRBM
from .sparse_coder import SparseCoder
from .sparse_coding import SparseCoding

__all__ = ["load", "save"]

FORMAT = "harmonium"
FORMAT_VERSION = 1

# The only classes a file can name. A new estimator is added here.
_CLASSES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        RBM,
        BernoulliRBM,
        RBMClassifier,
        PPCA,
        FactorAnalysis,
        LinearFactorModel,
        SparseCoder,
        SparseCoding,
        Autoencoder,
    )
}

_PLAIN = "biufUO"  # kinds of arrays whose elements JSON holds, objects among them if they are such

_HEADER_FIELDS = {
    "class": str,
    "harmonium_version": str,
    "parameters": dict,
    "attributes": dict,
    "fortran_order": list,
}


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a safetensors file.

    The file appears whole or not at all: it is written beside `path` under another name, then renamed.

    Parameters
    ----------
    estimator : estimator of harmonium
        A fitted estimator. Its parameters and learned attributes are stored exactly; callbacks are not
        stored, and a `random_state` that is a generator object rather than a number is stored as None, with
        a warning.
    path : str or path-like
        Where to write; by custom it ends in ``.safetensors``. An existing file is replaced.

    See Also
    --------
    load : Read the estimator back.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from harmonium import RBM, load, save
    >>> X = np.random.default_rng(0).random((50, 6)) < 0.5
    >>> rbm = RBM(4, n_iter=2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rbm.safetensors")
    ...     save(rbm, path)
    ...     again = load(path)
    >>> np.array_equal(again.components_, rbm.components_)
    True
    """
    name = type(estimator).__name__
    if type(estimator) is not _CLASSES.get(name):
        raise TypeError(
            f"save: {type(estimator).__module__}.{name} is none of harmonium's estimators {sorted(_CLASSES)}"
        )
    check_is_fitted(estimator)
    tensors: dict[str, np.ndarray] = {}
    header = {
        **_described(estimator, "", tensors),
        "harmonium_version": _version(),
        "dtype": _dtype_of(estimator),
        "fortran_order": sorted(key for key, array in tensors.items() if array.flags.fnc),
    }
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "header": json.dumps(header, allow_nan=False),
    }
    contiguous = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
    _write_atomically(Path(path), safetensors.numpy.save(contiguous, metadata))


def _dtype_of(estimator: Any) -> str:
    """The type a model works in; a coder's that of the dictionary it was given."""
    if isinstance(estimator, SparseCoder):
        return host(estimator.dictionary).dtype.name
    return host(getattr(estimator, "rbm_", estimator).components_).dtype.name


def _described(estimator: Any, prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Class, parameters and attributes of an estimator; its arrays go into `tensors`, under names with this prefix."""
    name = type(estimator).__name__
    parameters = estimator.get_params(deep=False)
    if not isinstance(parameters.get("random_state"), int | np.integer | None):
        warnings.warn(
            f"save: random_state is a {type(parameters['random_state']).__name__}, which is not stored; "
            "the loaded estimator will have random_state=None",
            UserWarning,
            stacklevel=3,
        )
        parameters["random_state"] = None

    def stored(key: str, value: Any, where: str) -> Any:
        if is_foreign(value) or is_on_gpu(value):
            value = host(value)  # a file holds numbers, not where they were
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            tensors[key] = value
            return {"$tensor": key}
        if type(value) is _CLASSES.get(type(value).__name__):
            return {"$estimator": _described(value, f"{key}.", tensors)}
        return _to_json(value, where)

    attributes = {}
    for key, value in estimator.__getstate__().items():
        if key in parameters:
            continue
        try:
            form = stored(prefix + key, value, f"{name}.{key}")
        except TypeError:
            if not key.startswith("_"):
                raise
            # What scikit-learn hangs on an estimator: callbacks, metadata requests. No part of the model.
            continue
        if prefix + key not in tensors:  # an array is found by its name
            attributes[key] = form
    kept = {key: stored(f"{prefix}parameters.{key}", value, f"{name}({key}=...)") for key, value in parameters.items()}
    return {"class": name, "parameters": kept, "attributes": attributes}


def load(path: str | os.PathLike[str]) -> Any:
    """Read an estimator written by :func:`save`.

    No code from the file runs, so files from strangers may be opened.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : estimator of harmonium
        Fitted, with the parameters and learned attributes it was saved with.

    See Also
    --------
    save : Write an estimator.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from harmonium import RBM, load, save
    >>> X = np.random.default_rng(0).random((50, 6)) < 0.5
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rbm.safetensors")
    ...     save(RBM(4, n_iter=2, random_state=0).fit(X), path)
    ...     load(path)
    RBM(n_components=4, n_iter=2, random_state=0)
    """
    header, tensors = read_file(path)
    fortran_order = set(header["fortran_order"])
    arrays = {key: np.asfortranarray(array) if key in fortran_order else array for key, array in tensors.items()}
    estimator = _built(os.fspath(path), header, arrays)
    check_is_fitted(estimator)
    return estimator


def _built(path: str, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """The estimator that a header describes, its arrays under their own names."""
    cls = _CLASSES.get(header["class"])
    if cls is None:
        raise ValueError(
            f"load: {path!r} holds a {header['class']!r}, harmonium {_version()} only knows {sorted(_CLASSES)}"
        )

    def read(key: str, form: Any) -> Any:
        match form:
            case {"$tensor": _}:
                return arrays.pop(key, None)
            case {"$estimator": {"class": str(), "parameters": dict(), "attributes": dict()} as inner}:
                own = [name for name in arrays if name.startswith(f"{key}.")]
                return _built(path, inner, {name.removeprefix(f"{key}."): arrays.pop(name) for name in own})
        return from_json(form)

    parameters = {key: read(f"parameters.{key}", form) for key, form in header["parameters"].items()}
    state = {key: read(key, form) for key, form in header["attributes"].items()} | arrays
    for key in state:
        # An attribute that hides a method would make a broken estimator out of a doctored file.
        if not key.isidentifier() or key.startswith("__") or callable(getattr(cls, key, None)):
            raise ValueError(f"load: {path!r} holds an attribute {key!r}, no part of a {cls.__name__}")
    try:
        estimator = cls(**parameters)
    except TypeError as error:
        raise ValueError(f"load: {path!r} has parameters that do not fit: {error}") from error
    estimator.__setstate__(estimator.__getstate__() | state)
    return estimator


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the header and the arrays of a file written by :func:`save`, without building the estimator."""
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise FileNotFoundError(f"load: there is no file {name!r}")
    try:
        with safetensors.safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"load: {name!r} is not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"load: {name!r} is a safetensors file, but not one written by harmonium")
    version = metadata.get("format_version", "")
    if version.isdecimal() and int(version) > FORMAT_VERSION:
        raise ValueError(
            f"load: {name!r} has format version {version}, "
            f"harmonium {_version()} reads up to {FORMAT_VERSION}: upgrade harmonium"
        )
    try:
        if version != str(FORMAT_VERSION):
            raise ValueError(f"format_version is {version!r}")
        header = json.loads(metadata["header"])
        if wrong := [key for key, kind in _HEADER_FIELDS.items() if not isinstance(header[key], kind)]:
            raise TypeError(f"{wrong[0]} is a {type(header[wrong[0]]).__name__}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"load: {name!r} has a damaged header ({error})") from error
    return header, tensors


def _to_json(value: Any, where: str) -> Any:
    """Turn plain data into what JSON can hold; `where` names the value should it be anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, tuple):
        return {"$tuple": [_to_json(item, where) for item in value]}
    if isinstance(value, list):
        return [_to_json(item, where) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _to_json(item, where) for key, item in value.items()}
    if isinstance(value, range):
        return _to_json(list(value), where)
    if hasattr(value, "__array__") and (array := np.asarray(value)).dtype.kind in _PLAIN:
        if array.dtype == object and all(isinstance(item, str) for item in array.flat):
            return {"$names": array.tolist()}
        return {"$array": {"dtype": array.dtype.str, "values": _to_json(array.tolist(), where)}}
    raise TypeError(f"save: {where} is a {type(value).__name__}, which has no form without pickle")


def from_json(value: Any) -> Any:
    """Turn a value of the header back into Python data."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$float": text}:
            return float(text)
        case {"$tuple": items}:
            return tuple(from_json(item) for item in items)
        case {"$names": names}:
            return np.array(names, dtype=object)
        case {"$array": {"dtype": str(name), "values": values}}:
            if (dtype := np.dtype(name)).kind not in _PLAIN:
                raise ValueError(f"load: an array of {name!r} is none that save writes")
            return np.array(from_json(values), dtype=dtype)
    return {key: from_json(item) for key, item in value.items()}


def _write_atomically(path: Path, content: bytes) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: there is no folder {str(path.parent)!r}")
    # In the same folder, because a rename is atomic only within one file system.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _version() -> str:
    from . import __version__  # not at the top: the package imports this module while it is being set up

    return __version__
