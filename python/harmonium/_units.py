"""Layers of units of any type: what a user's columns are to the core, and back."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from . import _core
from ._device import as_type, host, is_on_gpu
from ._validation import bit_words, check_finite, states

TYPES = {"bernoulli": 0, "gaussian": 1, "relu": 2, "categorical": 3, "count": 4}
VISIBLE = ("bernoulli", "gaussian", "categorical", "count")
HIDDEN = ("bernoulli", "gaussian", "relu")
_FAR_FROM_STANDARD = 3.0  # standard deviations, or their inverse, that gaussian data are warned about
_MOST_WORDS = 2**24  # beyond it a float32 does not count


@dataclass(frozen=True)
class UnitStates:
    """Rows of a layer as the core reads them."""

    states: _core.States
    exposure: np.ndarray | None = None  # words of each row's bag

    @property
    def rows(self) -> int:
        return self.states.rows


@dataclass(frozen=True)
class Block:
    """Neighbouring columns of one type and the units that stand for them."""

    type: str
    columns: slice
    units: slice
    categories: tuple[int, ...] = ()  # of each categorical column

    def starts(self) -> np.ndarray:
        """The first unit of each choice."""
        return self.units.start + np.concatenate([[0], np.cumsum(self.categories)[:-1]]).astype(int)


def hidden_groups(kind: str, n: int) -> np.ndarray:
    return np.array([[TYPES[kind], 0, n]], dtype=np.int64)


def kinds_of(visible: Any) -> set[str]:
    """The types that `visible` names; none where it is no such thing, which only `visible_pairs` minds."""
    try:
        return {kind for kind, _ in visible_pairs("", visible)}
    except (TypeError, ValueError):
        return set()


def visible_pairs(who: str, visible: Any) -> list[tuple[str, int]]:
    """(type, columns) of each block, from a word (columns: 0, for all) or a list of such pairs."""
    pairs = block_pairs(who, "visible", visible, VISIBLE, "type")
    if isinstance(visible, str):
        return pairs
    for kind, count in pairs:
        if kind not in VISIBLE or kind == "count" or count < 1:
            raise ValueError(
                f"{who}: visible={visible!r:.60} holds ({kind!r}, {count}); a block has one of the types 'bernoulli', "
                "'gaussian', 'categorical' and at least 1 column (a bag of words stands alone: its size scales the "
                "hidden biases)"
            )
    return pairs


def block_pairs(who: str, name: str, value: Any, known: tuple[str, ...], what: str) -> list[tuple[str, int]]:
    """A parameter that is one of the known words (columns: 0, for all) or a list of pairs, as pairs."""
    if isinstance(value, str):
        if value not in known:
            raise ValueError(f"{who}: {name}={value!r} is not one of {', '.join(map(repr, known))}")
        return [(value, 0)]
    try:
        return [(str(kind), _whole(count)) for kind, count in value]
    except (TypeError, ValueError):
        raise TypeError(
            f"{who}: {name}={value!r:.60}, a {what} or a list of pairs ({what}, number of columns) is needed"
        ) from None


def _whole(count: Any) -> int:
    """A number of columns; as text, which NumPy makes of it in an array of pairs."""
    if isinstance(count, str):
        return int(count)
    if isinstance(count, (bool, np.bool_)):
        raise TypeError
    return operator.index(count)


def parse_visible(who: str, visible: Any, n_columns: int) -> list[tuple[str, int]]:
    """The blocks of X with so many columns."""
    pairs = visible_pairs(who, visible)
    if isinstance(visible, str):
        return [(visible, n_columns)]
    if sum(count for _, count in pairs) != n_columns:
        raise ValueError(
            f"{who}: the blocks of visible have {sum(c for _, c in pairs)} columns in all, X has {n_columns}"
        )
    return pairs


class VisibleLayer:
    """The blocks of a visible layer, and the way between a user's columns and units."""

    def __init__(self, who: str, blocks: list[tuple[str, int]], categories: tuple[int, ...], one_hot: bool) -> None:
        self.who, self.one_hot = who, one_hot
        self.blocks: list[Block] = []
        column = unit = used = 0
        for kind, width in blocks:
            own: tuple[int, ...] = ()
            if kind == "categorical":
                rest = categories[used:]
                sites = int(np.searchsorted(np.cumsum(rest), width)) + 1 if one_hot else width
                own = rest[:sites]
                used += sites
            n_units = sum(own) if own else width
            self.blocks.append(Block(kind, slice(column, column + width), slice(unit, unit + n_units), own))
            column, unit = column + width, unit + n_units
        self.n_columns, self.n_units = column, unit
        self.counts = self.blocks[0].type == "count"
        self.binary = all(block.type in ("bernoulli", "categorical") for block in self.blocks)
        rows = []
        for block in self.blocks:
            if block.type == "categorical":
                rows += [(TYPES["categorical"], s, k) for s, k in zip(block.starts(), block.categories, strict=True)]
            else:
                rows.append((TYPES[block.type], block.units.start, block.units.stop - block.units.start))
        self.groups = np.array(rows, dtype=np.int64)

    def of_width(self, columns: int) -> VisibleLayer:
        """This layer, or the same units with categorical columns in the other form where X is as wide as that."""
        if columns == self.n_columns or all(block.type != "categorical" for block in self.blocks):
            return self
        widths = [
            (block.type, len(block.categories) if self.one_hot else block.units.stop - block.units.start)
            if block.type == "categorical"
            else (block.type, block.columns.stop - block.columns.start)
            for block in self.blocks
        ]
        if sum(width for _, width in widths) != columns:
            return self
        categories = tuple(k for block in self.blocks for k in block.categories)
        return VisibleLayer(self.who, widths, categories, not self.one_hot)

    def encode(self, who: str, X: Any, dtype: np.dtype, scale: np.ndarray, *, check_range: bool = True) -> UnitStates:
        """X, checked, as states; categorical columns in either form. What is on a GPU stays there where units are all
        bernoulli, or all gaussian with deviations of 1; else it is encoded on the host."""
        layer = self.of_width(X.shape[1])
        return layer._encode(who, X, dtype, scale, check_range)

    def _encode(self, who: str, X: Any, dtype: np.dtype, scale: np.ndarray, check_range: bool) -> UnitStates:
        if X.shape[1] != self.n_columns:
            raise ValueError(f"{who} has {X.shape[1]} columns, the model has {self.n_columns}")
        types = [block.type for block in self.blocks]
        if types == ["bernoulli"]:
            return UnitStates(states(who, X, dtype, check_range=check_range))
        if is_on_gpu(X) and types == ["gaussian"] and (scale == 1).all():
            check_finite(who, X)
            return UnitStates(_core.States.from_dense(as_type(X, dtype)))
        X = host(X) if is_on_gpu(X) else X
        if X.dtype.kind not in "biuf":
            raise TypeError(f"{who} is of type {X.dtype}, bool, integers or floats are needed")
        if self.counts:
            return self._counts(who, X, dtype)
        X = X.toarray() if sp.issparse(X) else X
        check_finite(who, X)
        units = np.zeros((len(X), self.n_units), np.uint8 if self.binary else dtype)
        for block in self.blocks:
            part = X[:, block.columns]
            if block.type == "bernoulli":
                _check(who, part, (part >= 0) & (part <= 1), block, "states are between 0 and 1")
                if self.binary and not np.isin(part, (0, 1)).all():
                    units = units.astype(dtype)
                units[:, block.units] = part
            elif block.type == "gaussian":
                units[:, block.units] = part / scale[block.units]
            elif self.one_hot:
                _check(who, part, (part == 0) | (part == 1), block, "one-hot columns are 0 or 1")
                sums = np.add.reduceat(part.astype(np.int64), block.starts() - block.units.start, axis=1)
                if not (sums == 1).all():
                    row, site = np.argwhere(sums != 1)[0]
                    raise ValueError(f"{who}: in row {row} site {site} has {sums[row, site]} ones, one-hot needs 1")
                units[:, block.units] = part
            else:
                k = np.array(block.categories)
                good = (part >= 0) & (part < k) & (part == np.floor(part))
                bound = f"codes are integers from 0 to n_categories - 1, at most {max(block.categories) - 1}"
                _check(who, part, good, block, bound)
                units[np.arange(len(X))[:, None], block.starts() + part.astype(np.int64)] = 1
        if self.binary and units.dtype == np.uint8:
            return UnitStates(_core.States.from_bits(bit_words(who, units), self.n_units))
        return UnitStates(_core.States.from_dense(units.astype(dtype, copy=False)))

    def _counts(self, who: str, X: Any, dtype: np.dtype) -> UnitStates:
        if X.dtype == np.float16:  # which SciPy does not take
            X = X.astype(np.float32)
        X = X if sp.issparse(X) else sp.csr_matrix(X)
        try:
            X.check_format(full_check=True)
        except ValueError as error:
            raise ValueError(f"{who} is not a valid CSR matrix: {error}") from None
        if not X.has_canonical_format:
            X = X.astype(np.float64)  # a copy; in the type that they are stored in, sums would wrap
            X.sum_duplicates()
        values = np.asarray(X.data)
        good = np.isfinite(values.astype(np.float64)) & (values >= 0)
        good &= values == np.floor(np.where(good, values, 0))
        if not good.all():
            k = int(np.flatnonzero(~good)[0])
            row = int(np.searchsorted(X.indptr, k, side="right")) - 1
            raise ValueError(
                f"{who} contains {values[k]:g} in row {row}, column {X.indices[k]}; counts are integers of at least 0"
            )
        words = np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()
        if words.max(initial=0) >= _MOST_WORDS:
            raise ValueError(
                f"{who} has {words.max():.0f} words in row {words.argmax()}, {_MOST_WORDS - 1} are possible"
            )
        sparse = _core.States.from_sparse(
            np.ascontiguousarray(X.indptr, np.int64),
            np.ascontiguousarray(X.indices, np.int32),
            np.ascontiguousarray(values, dtype),
            X.shape[1],
        )
        return UnitStates(sparse, words.astype(dtype))

    def decode(self, units: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Drawn states of units in the form that X was fitted in."""
        out = np.empty((len(units), self.n_columns), units.dtype)
        for block in self.blocks:
            part = units[:, block.units]
            if block.type == "gaussian":
                part = part * scale[block.units]
            elif block.type == "categorical" and not self.one_hot:
                ends = np.cumsum(block.categories)
                part = np.stack(
                    [part[:, a:b].argmax(axis=1) for a, b in zip(ends - block.categories, ends, strict=True)], axis=1
                )
            out[:, block.columns] = part
        return out

    def unit_mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask over columns as one over units; a choice is clamped whole."""
        out = np.empty((len(mask), self.n_units), bool)
        for block in self.blocks:
            part = mask[:, block.columns]
            if block.type == "categorical":
                if self.one_hot:
                    part = np.logical_and.reduceat(part, block.starts() - block.units.start, axis=1)
                part = np.repeat(part, block.categories, axis=1)
            out[:, block.units] = part
        return out

    def check_binary(self, who: str, X: Any) -> None:
        """Refuse values between 0 and 1 where units are Bernoulli."""
        X = host(X) if is_on_gpu(X) else X
        for block in self.of_width(X.shape[1]).blocks:
            if block.type == "bernoulli":
                part = X[:, block.columns]
                if sp.issparse(part):
                    part = part.tocoo()
                    part.sum_duplicates()
                    entries = part.data
                else:
                    entries = part
                wrong = (entries != 0) & (entries != 1)
                if wrong.any():
                    first = np.argwhere(wrong)[0]
                    row, column = (part.row[first[0]], part.col[first[0]]) if sp.issparse(part) else first
                    value, column = entries[tuple(first)], block.columns.start + column
                    raise ValueError(
                        f"{who} contains {value:g} in row {row}, column {column}; bernoulli units only give 0 "
                        "and 1 a probability: binarise X, by a threshold or by drawing"
                    )

    def check_whole(self, who: str, mask: np.ndarray) -> None:
        """Refuse a mask over columns that holds a part of a one-hot choice."""
        for block in self.blocks:
            if block.type == "categorical" and self.one_hot:
                part = mask[:, block.columns].astype(np.int64)
                held = np.add.reduceat(part, block.starts() - block.units.start, axis=1)
                partly = (held > 0) & (held < np.array(block.categories))
                if partly.any():
                    row, site = np.argwhere(partly)[0]
                    raise ValueError(
                        f"{who} holds {held[row, site]} of the {block.categories[site]} columns of site {site} in row "
                        f"{row}"
                    )

    def far_from_standard(self, X: Any, weight: np.ndarray | None = None) -> str | None:
        """What is to be said of gaussian columns that are not standardised; rows of weight 0 are not looked at."""
        for block in self.blocks:
            if block.type != "gaussian":
                continue
            part = np.asarray(X[:, block.columns], dtype=np.float64)
            part = part if weight is None else part[weight > 0]
            deviation, mean = part.std(axis=0), part.mean(axis=0)
            worst = int(np.argmax(np.abs(np.log(np.maximum(deviation, 1e-300)))))
            if not 1 / _FAR_FROM_STANDARD < deviation[worst] < _FAR_FROM_STANDARD:
                return f"column {block.columns.start + worst} has standard deviation {deviation[worst]:.4g}"
            worst = int(np.argmax(np.abs(mean)))
            if abs(mean[worst]) > _FAR_FROM_STANDARD * 10:
                return f"column {block.columns.start + worst} has mean {mean[worst]:.4g}"
        return None


def _check(who: str, part: np.ndarray, good: np.ndarray, block: Block, needed: str) -> None:
    if not good.all():
        row, column = np.argwhere(~good)[0]
        where = f"row {row}, column {block.columns.start + column}"
        raise ValueError(f"{who} contains {part[row, column]:g} in {where}; {needed}")
