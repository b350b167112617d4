"""The columns of X as an autoencoder reconstructs them: blocks with a likelihood each; the way from X to the core."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from . import _categories, _core
from ._device import as_type, dtype_of, host, is_on_gpu
from ._units import Block, block_pairs

LIKELIHOODS = ("bernoulli", "gaussian", "laplace", "categorical", "poisson")
_NEEDED = {
    "bernoulli": "a bernoulli likelihood takes values from 0 to 1 (grey levels: divide by the largest; new rows after "
    "a scaler: MinMaxScaler(clip=True), or check_range=False)",
    "poisson": "a poisson likelihood takes counts of at least 0",
}


def likelihood_pairs(who: str, likelihood: Any) -> list[tuple[str, int]]:
    """(likelihood, columns) of each block, from a word (columns: 0, for all) or a list of such pairs."""
    pairs = block_pairs(who, "likelihood", likelihood, LIKELIHOODS, "likelihood")
    if isinstance(likelihood, str):
        return pairs
    for kind, count in pairs:
        if kind not in LIKELIHOODS or count < 1:
            raise ValueError(
                f"{who}: likelihood={likelihood!r:.60} holds ({kind!r}, {count}); a block has one of "
                f"{', '.join(map(repr, LIKELIHOODS))} and at least 1 column"
            )
    if not pairs:
        raise ValueError(f"{who}: likelihood=[] holds no block of columns")
    return pairs


def canonical(who: str, X: Any) -> Any:
    """X, a CSR matrix with its entries in order and none of them twice."""
    if not sp.issparse(X):
        return X
    try:
        X.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(f"{who} is not a valid CSR matrix: {error}") from None
    if not X.has_canonical_format:
        X = X.astype(np.float64) if X.dtype.kind in "iu" else X.copy()  # 200 + 57 is 1 in uint8
        X.sum_duplicates()
    return X


def in_type(who: str, X: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """X, all of it finite, as a contiguous array of this type, in which it has to be finite too."""
    with np.errstate(over="ignore"):
        out = np.ascontiguousarray(X, dtype=dtype)
    if X.dtype.kind == "f" and X.dtype.itemsize > dtype.itemsize and not np.isfinite(out).all():
        row, column = np.argwhere(~np.isfinite(out))[0]
        raise ValueError(f"{who} contains {X[row, column]:g} in row {row}, column {column}, beyond {dtype}")
    return out


class OutputColumns:
    """Blocks of columns; `who` begins every message. A categorical column of K choices is K columns of the network."""

    def __init__(
        self, who: str, pairs: list[tuple[str, int]], categories: tuple[int, ...], one_hot: bool, check_range: bool
    ) -> None:
        self.who, self.one_hot, self.check_range = who, one_hot, check_range
        self.blocks: list[Block] = []
        column = unit = used = 0
        for kind, width in pairs:
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
        self.pairs, self.categories = pairs, categories

    @classmethod
    def of_data(cls, who: str, likelihood: Any, n_categories: Any, X: Any, check_range: bool) -> OutputColumns:
        """As the parameters say, for the X that is fitted."""
        pairs = likelihood_pairs(who, likelihood)
        if isinstance(likelihood, str):
            pairs = [(likelihood, X.shape[1])]
        elif sum(count for _, count in pairs) != X.shape[1]:
            raise ValueError(
                f"{who}: the blocks of likelihood have {sum(c for _, c in pairs)} columns in all, X has {X.shape[1]}"
            )
        if any(kind == "categorical" for kind, _ in pairs):
            if sp.issparse(X):
                raise ValueError(f"{who}: X is sparse, but in categorical columns 0 is a choice; pass a dense array")
            return cls(who, pairs, *_categories.in_data(who, X, pairs, n_categories), check_range)
        return cls(who, pairs, (), False, check_range)

    def of_width(self, columns: int) -> OutputColumns:
        """These columns, or the same with choices in the other form (codes, one-hot) where X is as wide as that."""
        if columns == self.n_columns or not self.categories:
            return self
        widths = []
        for block in self.blocks:
            codes, units = len(block.categories), block.units.stop - block.units.start
            widths.append((block.type, codes if self.one_hot and codes else units))
        if sum(width for _, width in widths) != columns:
            return self
        return OutputColumns(self.who, widths, self.categories, not self.one_hot, self.check_range)

    def one_hot_columns(self) -> OutputColumns:
        """These columns with categorical ones one-hot."""
        return self.of_width(self.n_units) if self.categories and not self.one_hot else self

    @property
    def groups(self) -> list[tuple[str, int]]:
        """(likelihood, columns of the network), one for each choice."""
        rows: list[tuple[str, int]] = []
        for block in self.blocks:
            if block.categories:
                rows += [("categorical", k) for k in block.categories]
            else:
                rows.append((block.type, block.units.stop - block.units.start))
        return rows

    def encode(self, who: str, X: Any, dtype: np.dtype) -> _core.States:
        """X as the core reads it, checked: an array of dtype, on a GPU if X is, or sparse rows of a CSR matrix."""
        if dtype_of(X).kind not in "biuf":
            raise TypeError(f"{who} is of type {dtype_of(X)}, bool, integers or floats are needed")
        columns = self.of_width(X.shape[1])
        if X.shape[1] != columns.n_columns:
            raise ValueError(f"{who} has {X.shape[1]} columns, the model has {self.n_columns}")
        if is_on_gpu(X):
            return columns._on_gpu(who, X, dtype)
        return columns._sparse(who, X, dtype) if sp.issparse(X) else columns._dense(who, X, dtype)

    def _on_gpu(self, who: str, X: Any, dtype: np.dtype) -> _core.States:
        least, greatest, _, _ = _core.summarise_columns(X)
        most = np.finfo(dtype).max
        limits = [(block.columns, *self._range(block.type)) for block in self.blocks] + [(slice(None), -most, most)]
        if not all((least[part] >= low).all() and (greatest[part] <= high).all() for part, low, high in limits):
            self._dense(who, host(X), dtype)  # says what is wrong, and where
        return _core.States.from_dense(as_type(X, dtype))

    def _dense(self, who: str, X: np.ndarray, dtype: np.dtype) -> _core.States:
        for block in self.blocks:
            self._check(who, X[:, block.columns], block)
        if not self.categories or self.one_hot:
            return _core.States.from_dense(in_type(who, X, dtype))
        X = in_type(who, X, dtype)
        rows = np.zeros((len(X), self.n_units), dtype)
        for block in self.blocks:
            part = X[:, block.columns]
            if block.categories:
                rows[np.arange(len(X))[:, None], block.starts() + part.astype(np.int64)] = 1
            else:
                rows[:, block.units] = part
        return _core.States.from_dense(rows)

    def _sparse(self, who: str, X: Any, dtype: np.dtype) -> _core.States:
        if self.categories:
            raise ValueError(f"{who} is sparse, but in categorical columns 0 is a choice; pass a dense array")
        X = canonical(who, X)
        for block in self.blocks:
            whole = len(self.blocks) == 1
            inside = slice(None) if whole else (X.indices >= block.columns.start) & (X.indices < block.columns.stop)
            bad = ~self._good(block.type, X.data[inside])
            if bad.any():
                k = (
                    int(np.flatnonzero(bad)[0])
                    if whole
                    else int(np.flatnonzero(np.asarray(inside))[np.flatnonzero(bad)[0]])
                )
                self._refuse(who, X.data[k], *_place(X, k), block.type)
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(X.data, dtype=dtype)
        for k in np.flatnonzero(~np.isfinite(values))[:1]:
            row, column = _place(X, k)
            raise ValueError(f"{who} contains {X.data[k]:g} in row {row}, column {column}, beyond {dtype}")
        return _core.States.from_sparse(
            np.ascontiguousarray(X.indptr, np.int64), np.ascontiguousarray(X.indices, np.int32), values, X.shape[1]
        )

    def _good(self, kind: str, values: np.ndarray) -> np.ndarray:
        good = np.isfinite(values)
        if kind == "bernoulli" and self.check_range:
            good &= (values >= 0) & (values <= 1)
        if kind == "poisson" and self.check_range:
            good &= values >= 0
        return good

    def _check(self, who: str, part: np.ndarray, block: Block) -> None:
        if not block.categories:
            if part.size and self._all_good(block.type, part):
                return
            bad = ~self._good(block.type, part)
            if bad.any():
                row, column = np.argwhere(bad)[0]
                self._refuse(who, part[row, column], row, block.columns.start + column, block.type)
            return
        if self.one_hot:
            good = (part == 0) | (part == 1)
            needed = "one-hot columns are 0 or 1"
        else:
            k = np.array(block.categories)
            good = (part >= 0) & (part < k) & (part == np.floor(part))
            needed = f"codes are integers from 0 to n_categories - 1, at most {max(block.categories) - 1}"
        if not good.all():
            row, column = np.argwhere(~good)[0]
            where = f"row {row}, column {block.columns.start + column}"
            raise ValueError(f"{who} contains {part[row, column]:g} in {where}; {needed}")
        if self.one_hot:
            sums = np.add.reduceat(part.astype(np.int64), block.starts() - block.units.start, axis=1)
            if not (sums == 1).all():
                row, site = np.argwhere(sums != 1)[0]
                raise ValueError(f"{who}: in row {row} site {site} has {sums[row, site]} ones, one-hot needs 1")

    def _all_good(self, kind: str, part: np.ndarray) -> bool:
        """Without arrays as large as X: NaN makes both limits NaN."""
        low, high = part.min(), part.max()
        least, most = self._range(kind)
        return bool(np.isfinite(low) and np.isfinite(high) and low >= least and high <= most)

    def _range(self, kind: str) -> tuple[float, float]:
        if not self.check_range:
            return -np.inf, np.inf
        return 0.0 if kind in _NEEDED else -np.inf, 1.0 if kind == "bernoulli" else np.inf

    @staticmethod
    def _refuse(who: str, value: Any, row: int, column: int, kind: str) -> None:
        name = "NaN" if np.isnan(value) else "inf" if np.isposinf(value) else f"{value:g}"
        needed = (
            _NEEDED.get(kind, f"a {kind} likelihood takes finite numbers")
            if np.isfinite(value)
            else "it has to be finite"
        )
        raise ValueError(f"{who} contains {name} in row {row}, column {column}; {needed}")

    # -- what training starts from -------------------------------------------------------------------------------------

    def natural_parameters(self, means: np.ndarray, n: int) -> np.ndarray:
        """What the output layer has to give for these means of the network's columns over n rows: never infinite."""
        out = np.array(means, dtype=np.float64)
        for block in self.blocks:
            part = out[block.units]
            if block.type == "bernoulli":
                on = (np.clip(part, 0, 1) * n + 0.5) / (n + 1)
                out[block.units] = np.log(on) - np.log1p(-on)
            elif block.type == "poisson":
                out[block.units] = np.log((np.maximum(part, 0) * n + 0.5) / (n + 1))
            elif block.categories:
                out[block.units] = np.log((part * n + 0.5) / (n + 1))
        return out

    def natural_spread(self, X: Any) -> np.ndarray:
        """How far the output layer's input may vary at first: half a nat, or half of what real columns vary by."""
        spread = np.full(self.n_units, 0.5)
        for block in self.blocks:
            if block.type in ("gaussian", "laplace"):
                part = X[:, block.columns]
                if sp.issparse(part):
                    part = part.astype(np.float64)
                    variance = np.maximum(part.multiply(part).mean(axis=0) - np.square(part.mean(axis=0)), 0)
                else:
                    variance = part.var(axis=0, dtype=np.float64)
                spread[block.units] = 0.5 * np.maximum(np.sqrt(variance.mean()), 1e-6)
        return spread

    def limits(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest value of every column of the network: what salt and pepper are."""
        low, high = np.zeros(self.n_units), np.ones(self.n_units)
        if is_on_gpu(X):
            least, most, _, _ = _core.summarise_columns(X)
        else:
            least, most = (
                part.toarray().ravel() if sp.issparse(part) else part for part in (X.min(axis=0), X.max(axis=0))
            )
        for block in self.blocks:
            if block.type in ("gaussian", "laplace", "poisson"):
                low[block.units], high[block.units] = least[block.columns], most[block.columns]
        return low, high


def _place(X: Any, k: int) -> tuple[int, int]:
    """Row and column of the k-th stored entry of a CSR matrix."""
    return int(np.searchsorted(X.indptr, k, side="right")) - 1, int(X.indices[k])
