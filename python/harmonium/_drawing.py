"""What the displays share: finding matplotlib, shaping rows into images, laying images and axes out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def pyplot() -> Any:
    """Import matplotlib.pyplot, or say how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("harmonium.plot needs matplotlib: pip install harmonium[plot]") from error
    return plt


def resolve_shape(owner: str, n_features: int, image_shape: tuple[int, int] | None) -> tuple[int, int]:
    """Check `image_shape` against `n_features`, or take the square if there is one."""
    if image_shape is None:
        side = math.isqrt(n_features)
        if side * side != n_features:
            raise ValueError(f"{owner}: {n_features} features are no square image: pass image_shape=(rows, columns)")
        return side, side
    if len(image_shape) != 2 or image_shape[0] * image_shape[1] != n_features:
        raise ValueError(f"{owner}: image_shape={tuple(image_shape)} does not hold {n_features} features")
    return int(image_shape[0]), int(image_shape[1])


def stack(owner: str, images: Any) -> np.ndarray:
    """Check that `images` is a non-empty array (n, rows, columns)."""
    array = np.asarray(images)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"{owner}: expected images of shape (n, rows, columns), got {array.shape}")
    return array


def _mosaic(images: np.ndarray, n_columns: int | None) -> np.ndarray:
    """Lay (n, rows, columns) images out as one image with masked separators; empty places hold 0.

    Every pixel is repeated so that a separator is about 1/28 of an image wide, whatever the image's
    resolution.
    """
    if n_columns is not None and n_columns < 1:
        raise ValueError(f"n_columns={n_columns}, expected at least 1")
    n, rows, columns = images.shape
    across = math.ceil(math.sqrt(n)) if n_columns is None else min(n_columns, n)
    down = math.ceil(n / across)
    zoom = max(1, round(56 / max(rows, columns)))
    gap = max(1, round(zoom * max(rows, columns) / 28))
    height, width = rows * zoom + gap, columns * zoom + gap
    size = (down * height + gap, across * width + gap)
    sheet = np.ma.masked_array(np.zeros(size), mask=True)
    for k in range(down * across):
        top, left = gap + (k // across) * height, gap + (k % across) * width
        tile = images[k].repeat(zoom, axis=0).repeat(zoom, axis=1) if k < n else 0.0
        sheet[top : top + rows * zoom, left : left + columns * zoom] = tile
    return sheet


def draw_mosaic(
    images: np.ndarray,
    ax: Axes | None,
    n_columns: int | None,
    cmap: str,
    limits: tuple[float, float],
    title: str | None,
) -> tuple[Axes, Any]:
    """Draw images (n, rows, columns) as one picture without ticks, and return the axes and the artist."""
    plt = pyplot()
    sheet = _mosaic(images, n_columns)
    if ax is None:
        rows, columns = sheet.shape
        _, ax = plt.subplots(figsize=(5.0, max(0.6, 5.0 * rows / columns)), layout="constrained")
    colours = plt.get_cmap(cmap).with_extremes(bad="0.82")
    im = ax.imshow(sheet, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="auto")
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title, loc="left", fontsize="medium")
    return ax, im


def axes_column(plt: Any, ax: Any, n: int) -> Any:
    """`n` axes above each other: the ones given, the given one divided, or those of a new figure."""
    if ax is None:
        _, axes = plt.subplots(n, 1, sharex=True, squeeze=False, figsize=(5.0, 0.6 + 1.9 * n), layout="constrained")
        return axes[:, 0]
    axes = np.atleast_1d(ax)
    if len(axes) == n:
        return axes
    if len(axes) != 1:
        raise ValueError(f"LearningCurveDisplay.plot: {len(axes)} axes for {n} quantities")
    place = axes[0].get_subplotspec()
    if place is None:
        raise ValueError(f"LearningCurveDisplay.plot: an axes outside a grid cannot be divided, pass {n} axes")
    axes[0].set_axis_off()
    grid = place.subgridspec(n, 1)
    return grid.subplots(sharex=True, squeeze=False)[:, 0]
