"""How many categories each categorical column has, and whether X holds them as integer codes or one-hot.

Decided by what is explicit: an array of n_categories has one entry for each site, so that the number of columns tells
the forms apart. A single number does not tell; then the values do, and where they contradict one another X is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Choices = tuple[tuple[int, ...], bool]  # categories of each site; whether columns are one-hot
Blocks = list[tuple[str, int]]  # (type, columns)
_MOST_FOUND = 65536  # categories of a column that X itself may tell of: more are identifiers, not codes


def in_data(who: str, X: np.ndarray, blocks: Blocks, n_categories: Any) -> Choices:
    """Of the X that is fitted."""
    ends = np.cumsum([width for _, width in blocks]).tolist()
    parts = [slice(end - n, end) for (kind, n), end in zip(blocks, ends, strict=True) if kind == "categorical"]
    if not parts:
        return (), False
    if n_categories is None:
        return tuple(k for part in parts for k in _found(who, X, part)), False
    given = _given(who, n_categories)
    widths = [part.stop - part.start for part in parts]
    return _by_array(who, given, widths) if given.ndim else _by_values(who, int(given), X, parts)


def in_units(who: str, blocks: Blocks, n_units: int, n_categories: Any) -> tuple[Blocks, Choices]:
    """Of a machine put together by assignment, with so many visible units; a block of 0 columns is all there are."""
    widths = [width for kind, width in blocks if kind == "categorical"]
    if not widths:
        return [(kind, width or n_units) for kind, width in blocks], ((), False)
    if n_categories is None:
        raise ValueError(f"{who}: n_categories=None, but no X tells how many categories components_ has units for")
    given = _given(who, n_categories)
    units = n_units - sum(width for kind, width in blocks if kind != "categorical")
    if widths == [0]:
        sites = np.repeat(given, units // int(given)) if given.ndim == 0 else given
        blocks, choices = [("categorical", len(sites))], (_numbers(sites), False)
    elif given.ndim:
        choices = _by_array(who, given, widths)
    else:
        one_hot = sum(widths) == units and not any(width % int(given) for width in widths)
        choices = _numbers(np.repeat(given, sum(widths) // int(given) if one_hot else sum(widths))), one_hot
    if sum(choices[0]) != units:
        raise ValueError(
            f"{who}: n_categories={n_categories!r:.60} makes {sum(choices[0])} categorical units, components_ has "
            f"{units} columns for them"
        )
    return blocks, choices


def _numbers(sites: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, sites))


def _given(who: str, n_categories: Any) -> np.ndarray:
    try:
        given = np.asarray(n_categories)
    except ValueError:  # lists of different lengths
        given = np.zeros(0)
    if given.dtype.kind not in "iu" or given.ndim > 1 or not given.size or (given < 2).any():
        raise ValueError(f"{who}: n_categories={n_categories!r:.60}, integers of at least 2 are needed")
    return given


def _found(who: str, X: np.ndarray, part: slice) -> tuple[int, ...]:
    """One more than the largest code; what is no code is left to the check of X."""
    codes = np.where(np.isfinite(X[:, part]), X[:, part], 0).astype(np.float64)  # float16 ends below 65536
    if (codes >= _MOST_FOUND).any():
        row, column = np.argwhere(codes >= _MOST_FOUND)[0]
        raise ValueError(
            f"{who}: X contains {codes[row, column]:g} in row {row}, column {part.start + column}, but with "
            f"n_categories=None codes are below {_MOST_FOUND}; encode X as 0, 1, 2, ... "
            "(sklearn.preprocessing.OrdinalEncoder)"
        )
    return tuple(int(code) + 1 for code in codes.max(axis=0, initial=1))


def _by_array(who: str, given: np.ndarray, widths: list[int]) -> Choices:
    columns = sum(widths)
    if columns == given.size:
        return _numbers(given), False
    if columns != given.sum():
        raise ValueError(
            f"{who}: n_categories has {given.size} entries that sum to {given.sum()}; X has {columns} categorical "
            "columns, which are codes (one entry each) or one-hot (the sum)"
        )
    if not np.isin(np.cumsum(widths), np.cumsum(given)).all():
        raise ValueError(
            f"{who}: n_categories={_numbers(given)!r:.60} one after the other do not fill one-hot blocks of {widths} "
            "columns"
        )
    return _numbers(given), True


def _by_values(who: str, k: int, X: np.ndarray, parts: list[slice]) -> Choices:
    hot = [_is_one_hot(who, k, X[:, part], part.start) for part in parts]
    columns = sum(part.stop - part.start for part in parts)
    if any(hot) and not all(hot):
        first, other = parts[hot.index(True)], parts[hot.index(False)]
        raise ValueError(
            f"{who}: with n_categories={k}, columns {first.start} to {first.stop - 1} of X are one-hot and columns "
            f"{other.start} to {other.stop - 1} are not; all have the same form, and an array of n_categories, one "
            "entry for each site, says which"
        )
    return ((k,) * (columns // k), True) if all(hot) else ((k,) * columns, False)


def _is_one_hot(who: str, k: int, X: np.ndarray, first: int) -> bool:
    """Whether X is one-hot and not codes, all of the same number of categories."""
    if k == 2 or X.shape[1] % k or not ((X == 0) | (X == 1) | (X != X)).all():
        return False
    known = np.flatnonzero((X == X).all(axis=1))
    ones = (X[known] == 1).reshape(len(known), -1, k).sum(axis=2)  # (n, sites)
    good = (ones == 1).all(axis=1)
    if not good.all() and 2 * good.sum() > len(good):
        row, site = np.argwhere(ones != 1)[0]
        raise ValueError(
            f"{who}: X is one-hot with {k} categories in {good.sum()} of {len(good)} rows, but row {known[row]} has "
            f"{ones[row, site]} ones in columns {first + k * site} to {first + k * site + k - 1} (site {site}); put it "
            f"right, or say what X is by an array of n_categories: {X.shape[1] // k} entries for one-hot, "
            f"{X.shape[1]} for codes"
        )
    return bool(len(good) and good.all())
