"""Patches of images, cut when they are looked at: a million of them need no more memory than the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement

from ._validation import check_finite, check_flag, check_number

__all__ = ["Patches", "extract_patches_2d", "reconstruct_from_patches_2d"]


class Patches:
    """A matrix of patches that is cut from its images row by row, as it is read; made by `extract_patches_2d`.

    Attributes
    ----------
    shape : tuple (n_patches, height * width)
    patch_size : tuple (height, width)
    dtype : float32, or float64 for images of float64
    """

    ndim = 2

    def __init__(
        self, images: list[np.ndarray], patch_size: tuple[int, int], places: list[Any], margin: int, remove_mean: bool
    ) -> None:
        self.patch_size = patch_size
        self._windows = [np.lib.stride_tricks.sliding_window_view(image, patch_size) for image in images]
        self._places = places  # of each image: the patches taken, or None for all
        self._margin, self._remove_mean = margin, remove_mean
        counts = [len(p) if p is not None else self._grid(w)[2] for p, w in zip(places, self._windows, strict=True)]
        self._ends = np.cumsum(counts)
        self.shape = (int(self._ends[-1]), patch_size[0] * patch_size[1])
        self.dtype = np.dtype(np.float64 if any(image.dtype == np.float64 for image in images) else np.float32)

    def _grid(self, windows: np.ndarray) -> tuple[int, int, int]:
        rows, columns = (size - 2 * self._margin for size in windows.shape[:2])
        return rows, columns, rows * columns

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        height, width = self.patch_size
        return f"Patches({len(self)} of {height} x {width}, from {len(self._windows)} images)"

    def __getitem__(self, rows: Any) -> np.ndarray:
        """These rows: one patch of shape (height * width,) for a number, else an array (n, height * width)."""
        if isinstance(rows, (int, np.integer)):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of {len(self)} patches")
            return self[np.array([rows])][0]
        if isinstance(rows, tuple):
            raise IndexError("patches are indexed by rows only")
        index = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if index.dtype == bool:
            index = np.arange(len(self))[index]
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise IndexError("rows are a number, a slice, or an array of numbers or of bool")
        if index.size and not (-len(self) <= index.min() and index.max() < len(self)):
            raise IndexError(f"rows {index.min()} to {index.max()} of {len(self)} patches")
        index = np.where(index < 0, index + len(self), index)
        image = np.searchsorted(self._ends, index, side="right")
        out = np.empty((len(index), *self.patch_size), self.dtype)
        for i in np.unique(image):
            mine = np.flatnonzero(image == i)
            place = index[mine] - (self._ends[i - 1] if i else 0)
            if self._places[i] is not None:
                place = self._places[i][place]
            row, column = np.divmod(place, self._grid(self._windows[i])[1])
            out[mine] = self._windows[i][row + self._margin, column + self._margin]
        flat = out.reshape(len(index), self.shape[1])
        if self._remove_mean:
            flat -= flat.mean(axis=1, keepdims=True)
        return flat

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("patches are cut from their images: an array of them is a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def batches(self, batch_size: int) -> Iterator[np.ndarray]:
        """All patches in their order, so many at a time."""
        for first in range(0, len(self), batch_size):
            yield self[first : first + batch_size]


def extract_patches_2d(
    images: Any,
    patch_size: tuple[int, int],
    *,
    max_patches: float | None = None,
    random_state: Any = None,
    margin: int = 0,
    remove_mean: bool = False,
) -> Patches:
    """Patches of one or several grey images, as a matrix that is never built.

    Parameters as in ``sklearn.feature_extraction.image.extract_patches_2d``, which returns all patches as an array. The
    estimators that learn from `Patches` cut a few thousand of them at a time.

    Parameters
    ----------
    images : array of shape (height, width) or (n_images, height, width), or list of arrays of shape (height, width)
        Integers and bool become float32; they are not scaled.
    patch_size : tuple (height, width)
    max_patches : int or float, default=None
        How many patches to take from each image, drawn without replacement; a number below 1 is a share of all. All of
        them, row by row, if None.
    random_state : int, RandomState or None, default=None
        Draws the patches.
    margin : int, default=0
        Pixels to leave out at every border, where filters that wrap around have left traces.
    remove_mean : bool, default=False
        Whether each patch's own mean is subtracted.

    Returns
    -------
    patches : Patches
        Of shape (n_patches, height * width). ``patches[i:j]`` is an array, ``numpy.asarray(patches)`` all of them.

    Raises
    ------
    ValueError
        If an image is smaller than a patch with margins, or contains NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.image import extract_patches_2d
    >>> image = np.arange(16.0).reshape(4, 4)
    >>> patches = extract_patches_2d(image, (2, 2))
    >>> patches.shape
    (9, 4)
    >>> patches[0]
    array([0., 1., 4., 5.])
    """
    who = "extract_patches_2d"
    pictures = _pictures(who, images)
    if not (isinstance(patch_size, (tuple, list)) and len(patch_size) == 2):
        raise TypeError(f"{who}: patch_size={patch_size!r}, a pair (height, width) is needed")
    for size in patch_size:
        check_number(who, "patch_size", size, Integral, low=1)
    check_number(who, "margin", margin, Integral, low=0)
    check_flag(who, "remove_mean", remove_mean)
    if max_patches is not None:
        check_number(who, "max_patches", max_patches, Real, low=0, open_low=True)
        if max_patches >= 1 and not isinstance(max_patches, Integral):
            raise ValueError(f"{who}: max_patches={max_patches}, an integer or a share below 1 is needed")
    random = check_random_state(random_state)
    places: list[Any] = []
    for i, image in enumerate(pictures):
        rows, columns = (s - p + 1 - 2 * margin for s, p in zip(image.shape, patch_size, strict=True))
        if rows < 1 or columns < 1:
            raise ValueError(
                f"{who}: image {i} is {image.shape[0]} x {image.shape[1]}, patches of {patch_size[0]} x "
                f"{patch_size[1]} with a margin of {margin} do not fit"
            )
        n = rows * columns
        if max_patches is None:
            places.append(None)
        else:
            wanted = min(n, int(max_patches) if max_patches >= 1 else max(1, int(max_patches * n)))
            places.append(sample_without_replacement(n, wanted, random_state=random))
    return Patches(pictures, (int(patch_size[0]), int(patch_size[1])), places, int(margin), bool(remove_mean))


def reconstruct_from_patches_2d(patches: Any, image_size: tuple[int, int], patch_size: tuple[int, int]) -> np.ndarray:
    """An image from all of its patches, row by row, where they overlap their mean.

    As ``sklearn.feature_extraction.image.reconstruct_from_patches_2d``, for patches that come in batches, so that all
    of them need never be in memory.

    Parameters
    ----------
    patches : Patches, array of shape (n_patches, height * width), or iterable of such arrays one after another
        In the order of `extract_patches_2d` without `max_patches` and `margin`.
    image_size : tuple (height, width)
    patch_size : tuple (height, width)

    Returns
    -------
    image : array of shape image_size

    Examples
    --------
    >>> import numpy as np
    >>> from harmonium.image import extract_patches_2d, reconstruct_from_patches_2d
    >>> image = np.arange(16.0).reshape(4, 4)
    >>> patches = extract_patches_2d(image, (2, 2))
    >>> again = reconstruct_from_patches_2d(patches.batches(4), (4, 4), (2, 2))
    >>> np.array_equal(image, again)
    True
    """
    who = "reconstruct_from_patches_2d"
    (height, width), (p, q) = image_size, patch_size
    rows, columns = height - p + 1, width - q + 1
    total, done = None, 0
    if isinstance(patches, Patches):
        patches = patches.batches(4096)
    batches: Iterable[np.ndarray] = [patches] if isinstance(patches, np.ndarray) else patches
    for batch in batches:
        if batch.ndim != 2 or batch.shape[1] != p * q or done + len(batch) > rows * columns:
            raise ValueError(
                f"{who}: {batch.shape} after {done} patches; an image of {height} x {width} has {rows * columns} of "
                f"{p * q} pixels"
            )
        if total is None:
            total = np.zeros((height, width), np.result_type(batch.dtype, np.float32))
        row, column = np.divmod(np.arange(done, done + len(batch)), columns)
        for k in range(p * q):
            np.add.at(total, (row + k // q, column + k % q), batch[:, k])
        done += len(batch)
    if total is None or done != rows * columns:
        raise ValueError(f"{who}: {done} patches, an image of {height} x {width} has {rows * columns}")
    over_rows, over_columns = (
        np.minimum(np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)), min(size, n - size + 1))
        for n, size in ((height, p), (width, q))
    )
    return total / np.outer(over_rows, over_columns).astype(total.dtype)


def _pictures(who: str, images: Any) -> list[np.ndarray]:
    stack = list(images) if isinstance(images, (list, tuple)) else np.asarray(images)
    if isinstance(stack, np.ndarray):
        if stack.ndim not in (2, 3):
            raise ValueError(
                f"{who}: images are an array of {stack.ndim} dimensions, 2 (one) or 3 (several) are needed"
            )
        stack = [stack] if stack.ndim == 2 else list(stack)
    if not stack:
        raise ValueError(f"{who}: no images")
    pictures = []
    for i, image in enumerate(map(np.asarray, stack)):
        if image.ndim != 2:
            raise ValueError(f"{who}: image {i} has {image.ndim} dimensions, 2 are needed")
        check_finite(f"{who}: image {i}", image)
        pictures.append(image if image.dtype.kind == "f" else image.astype(np.float32))
    return pictures
