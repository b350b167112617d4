"""Free energies of rows with missing entries: all states of what is missing, and of the hidden units, summed over."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import logsumexp

from . import _core
from ._device import host, is_on_gpu
from ._log_partition import Progress
from ._unit_partition import UnitModel
from ._units import VisibleLayer

_MOST_HIDDEN = 2**20  # states of the hidden layer that rows are summed over
_FEW, _MANY = 2**10, 2**16  # states of a row's missing entries: that go before the hidden layer's, and at most
_CHUNK = 2**22  # numbers that are held at a time


def first_missing(X: Any) -> tuple[int, int] | None:
    """Row and column of a NaN."""
    if sp.issparse(X):
        X = X.tocoo()
        if X.dtype.kind != "f" or not np.isnan(X.data).any():
            return None
        k = int(np.argmax(np.isnan(X.data)))
        return int(X.row[k]), int(X.col[k])
    values: Any = host(X) if is_on_gpu(X) else np.asarray(X)
    if values.dtype == object:
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError):  # which the checks of X say
            return None
    if values.ndim != 2 or values.dtype.kind != "f" or not np.isnan(values).any():
        return None
    row, column = np.argwhere(np.isnan(values))[0]
    return int(row), int(column)


def split(who: str, X: Any, layer: VisibleLayer) -> tuple[np.ndarray, np.ndarray, VisibleLayer]:
    """X with a 0 for every NaN, where these are, and the layer that its columns are of: one choice each."""
    layer = layer.of_width(X.shape[1])
    if not layer.binary:
        raise ValueError(f"{who}: missing entries are known of in bernoulli and categorical columns only")
    if layer.one_hot:
        raise ValueError(f"{who}: missing choices are NaN among integer codes; X is one-hot")
    X = np.array(X.toarray() if sp.issparse(X) else X)
    missing = np.isnan(X)
    X[missing] = 0
    return X, missing, layer


def free_energy(
    who: str, model: UnitModel, layer: VisibleLayer, units: np.ndarray, missing: np.ndarray, progress: Progress
) -> np.ndarray:
    """-log of the sum over h and the missing v of exp(-E(v, h)); `units` (n, D) hold 0 where they are missing."""
    choices = [
        part
        for block in layer.blocks
        for part in (
            zip(block.starts(), block.categories, strict=True)
            if block.categories
            else ((unit, 1) for unit in range(block.units.start, block.units.stop))
        )
    ]  # of each column: its first unit, and how many it has
    states = np.array([max(n, 2) for _, n in choices], dtype=np.float64)
    count = np.where(missing, states, 1).prod(axis=1)
    hidden = _core.unit_count_states(model[4])
    by_hidden = count > (_FEW if 0 < hidden <= _MOST_HIDDEN else _MANY)
    if by_hidden.any() and not 0 < hidden <= _MOST_HIDDEN:
        row = int(np.argmax(by_hidden))
        raise ValueError(
            f"{who}: the {missing[row].sum()} missing entries of row {row} have {count[row]:g} states; up to {_MANY} "
            "are summed over, or those of at most 20 bernoulli hidden units. Fill some in: "
            "sample(clamp=(mask, values)) draws them given what is known"
        )
    out = np.empty(len(units))
    out[~by_hidden] = _by_missing(model, choices, units[~by_hidden], missing[~by_hidden])
    if by_hidden.any():
        out[by_hidden] = _by_hidden(model, choices, units[by_hidden], missing[by_hidden], hidden, progress)
    return out


def _by_missing(model: UnitModel, choices: list[Any], units: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Every row with all states of its missing entries, whole rows at a time."""
    out = np.empty(len(units))
    held: list[np.ndarray] = []
    first = size = 0
    for row in range(len(units)):
        parts = [choices[column] for column in np.flatnonzero(missing[row])]
        shape = [max(n, 2) for _, n in parts]
        digits = np.unravel_index(np.arange(int(np.prod(shape, dtype=np.int64))), shape) if parts else ()
        copies = np.tile(units[row], (int(np.prod(shape, dtype=np.int64)), 1))
        for (start, n), digit in zip(parts, digits, strict=True):
            if n == 1:
                copies[:, start] = digit
            else:
                copies[np.arange(len(copies)), start + digit] = 1
        held.append(copies)
        size += copies.size
        if size >= _CHUNK or row == len(units) - 1:
            energies = _core.unit_free_energy(*model, _core.States.from_dense(np.concatenate(held)), None)
            starts = np.cumsum([0, *(len(part) for part in held[:-1])])
            out[first : row + 1] = -np.logaddexp.reduceat(-energies, starts)
            held, first, size = [], row + 1, 0
    return out


def _by_hidden(
    model: UnitModel, choices: list[Any], units: np.ndarray, missing: np.ndarray, count: int, progress: Progress
) -> np.ndarray:
    """Given h the entries are independent: a missing one contributes its conditional's normaliser."""
    weights, b, c = (part.astype(np.float64) for part in model[:3])
    units, unknown = units.astype(np.float64), missing.astype(np.float64)
    first_units = np.array([start for start, _ in choices])
    single = np.array([n == 1 for _, n in choices])
    rows = 4096
    step = max(1, _CHUNK // max(len(b), min(rows, len(units))))
    out = np.full(len(units), -np.inf)
    for first in range(0, count, step):
        numbers = np.arange(first, min(first + step, count))
        h = ((numbers[:, None] >> np.arange(len(c))) & 1).astype(np.float64)
        field = b + h @ weights.T  # (states, D)
        normaliser = np.logaddexp.reduceat(field, first_units, axis=1)  # (states, columns)
        normaliser[:, single] = np.logaddexp(0, normaliser[:, single])
        for k in range(0, len(units), rows):
            part = slice(k, k + rows)
            terms = h @ c + units[part] @ field.T + unknown[part] @ normaliser.T
            out[part] = np.logaddexp(out[part], logsumexp(terms, axis=1))
        if progress is not None:
            progress((numbers[-1] + 1) / count)
    return -out
