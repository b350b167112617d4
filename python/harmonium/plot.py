"""Displays of what a model has learned, in the style of scikit-learn's displays.

A display holds numbers only; :meth:`plot` draws them and keeps what it drew (``ax_`` or ``axes_``,
``figure_``), and ``from_estimator`` does both. matplotlib is imported when something is drawn, so this
module imports without it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._device import host
from ._drawing import axes_column, draw_mosaic, pyplot, resolve_shape, stack
from ._plot_codes import CodesDisplay, ReconstructionDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CodesDisplay", "FiltersDisplay", "LearningCurveDisplay", "ReconstructionDisplay", "SamplesDisplay"]

# What a curve is called above its axes; other quantities show under their own name.
_LABELS = {
    "log_likelihood": "log-likelihood (nats)",
    "pseudo_log_likelihood": "pseudo-log-likelihood (nats)",
    "loss": "loss (nats a row)",
    "validation_score": "held-out log-likelihood (nats a row)",
    "learning_rate": "learning rate",
    "hidden_activity": "mean hidden activity",
    "weight_rms": "weight r.m.s.",
}


class FiltersDisplay:
    """The weights of hidden units, each drawn as an image.

    Parameters
    ----------
    filters : array-like of shape (n_filters, rows, columns)
        Weights from the pixels to each unit.
    units : array-like of shape (n_filters,), default=None
        Which hidden unit each filter belongs to; ``0, 1, ...`` if not given.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes drawn in.
    im_ : matplotlib.image.AxesImage
        All filters in one image; separators are masked.
    figure_ : matplotlib.figure.Figure
        The figure of ``ax_``.

    Examples
    --------
    >>> from harmonium import RBM
    >>> from harmonium.plot import FiltersDisplay
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data > 8
    >>> rbm = RBM(16, n_iter=2, random_state=0).fit(X)
    >>> FiltersDisplay.from_estimator(rbm).filters.shape
    (16, 8, 8)
    """

    def __init__(self, filters: Any, *, units: Any = None) -> None:
        self.filters = stack("FiltersDisplay", filters)
        self.units = np.arange(len(self.filters)) if units is None else np.asarray(units)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        scale: str = "common",
        n_columns: int | None = None,
        cmap: str = "RdBu_r",
        title: str | None = None,
    ) -> FiltersDisplay:
        """Draw the filters as one mosaic.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; a new figure if not given.
        scale : {"common", "each"}, default="common"
            One colour scale for all filters, so that strengths compare (weights beyond the 99.5th
            percentile of their size share the last colour), or each filter scaled to its own largest
            weight.
        n_columns : int, default=None
            Filters in a row; about a square if not given.
        cmap : str, default="RdBu_r"
            A diverging colour map; its middle is weight 0.
        title : str, default=None
            Title of the axes.

        Returns
        -------
        self : FiltersDisplay
        """
        if scale not in ("common", "each"):
            raise ValueError(f"FiltersDisplay.plot: scale={scale!r}, expected 'common' or 'each'")
        size = np.abs(self.filters)
        if scale == "common":
            filters, limit = self.filters, float(np.quantile(size, 0.995))
        else:
            largest = size.max(axis=(1, 2), keepdims=True)
            filters, limit = self.filters / np.where(largest > 0, largest, 1), 1.0
        limit = limit or 1.0  # all weights zero: show the middle colour, not a scale of width 0
        self.ax_, self.im_ = draw_mosaic(filters, ax, n_columns, cmap, (-limit, limit), title)
        self.figure_: Any = self.ax_.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_filters: int = 64,
        units: Sequence[int] | None = None,
        image_shape: tuple[int, int] | None = None,
        ax: Axes | None = None,
        **plot_options: Any,
    ) -> FiltersDisplay:
        """Draw the filters of a fitted estimator, strongest first.

        Parameters
        ----------
        estimator : object
            Fitted estimator with ``components_`` of shape (n_components, n_features).
        n_filters : int, default=64
            How many units to show at most: those with the largest weight norm, in falling order.
        units : sequence of int, default=None
            Show these units instead, in this order.
        image_shape : tuple of (rows, columns), default=None
            Shape of one input; needed where the number of features is no square.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; a new figure if not given.
        **plot_options : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : FiltersDisplay
        """
        check_is_fitted(estimator, "components_")
        weights = host(estimator.components_)
        shape = resolve_shape("FiltersDisplay", weights.shape[1], image_shape)
        if units is None:
            # Stable, so that units of equal norm keep their order and the picture is reproducible.
            chosen = np.argsort(-np.linalg.norm(weights, axis=1), kind="stable")[:n_filters]
        else:
            chosen = np.asarray(units, dtype=int)
        filters = weights[chosen].reshape(-1, *shape)
        return cls(filters, units=chosen).plot(ax, **plot_options)


class SamplesDisplay:
    """Samples of a model, or rows of data, drawn as images.

    Parameters
    ----------
    images : array-like of shape (n_samples, rows, columns)
        Values in [0, 1].

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes drawn in.
    im_ : matplotlib.image.AxesImage
        All samples in one image; separators are masked.
    figure_ : matplotlib.figure.Figure
        The figure of ``ax_``.

    Examples
    --------
    >>> from harmonium import RBM
    >>> from harmonium.plot import SamplesDisplay
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data > 8
    >>> rbm = RBM(16, n_iter=2, random_state=0).fit(X)
    >>> SamplesDisplay.from_estimator(rbm, n_samples=9, n_steps=10, random_state=0).images.shape
    (9, 8, 8)
    """

    def __init__(self, images: Any) -> None:
        self.images = stack("SamplesDisplay", images)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        n_columns: int | None = None,
        cmap: str = "gray_r",
        title: str | None = None,
    ) -> SamplesDisplay:
        """Draw the samples as one mosaic.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; a new figure if not given.
        n_columns : int, default=None
            Samples in a row; about a square if not given.
        cmap : str, default="gray_r"
            Colour map from 0 to 1; by default ink on paper.
        title : str, default=None
            Title of the axes.

        Returns
        -------
        self : SamplesDisplay
        """
        self.ax_, self.im_ = draw_mosaic(self.images, ax, n_columns, cmap, (0.0, 1.0), title)
        self.figure_: Any = self.ax_.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_samples: int = 64,
        n_steps: int = 1000,
        init: Any = None,
        clamp: tuple[Any, Any] | None = None,
        mean: bool = True,
        random_state: Any = None,
        image_shape: tuple[int, int] | None = None,
        ax: Axes | None = None,
        **plot_options: Any,
    ) -> SamplesDisplay:
        """Sample from a fitted model and draw the samples.

        Parameters
        ----------
        estimator : object
            Fitted estimator with ``sample``, and with ``transform`` and ``inverse_transform`` if `mean` is
            true.
        n_samples, n_steps, init, clamp, random_state
            Arguments of ``estimator.sample``, those that it has.
        mean : bool, default=True
            Show E[v | E[h | v]] of the sampled rows v, a grey picture without the pixel noise of the last
            Gibbs step; clamped pixels keep their value. False shows the binary rows themselves.
        image_shape : tuple of (rows, columns), default=None
            Shape of one sample; needed where the number of features is no square.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; a new figure if not given.
        **plot_options : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : SamplesDisplay
        """
        check_is_fitted(estimator)
        # Before the sampling, which may take a while.
        shape = resolve_shape("SamplesDisplay", estimator.n_features_in_, image_shape)
        options = {"n_steps": n_steps, "init": init, "clamp": clamp, "random_state": random_state}
        # Factor models draw at once: they have no steps.
        known = inspect.signature(estimator.sample).parameters
        drawn = estimator.sample(n_samples, **{name: options[name] for name in options if name in known})
        rows = host(drawn)
        if mean:
            means = np.array(host(estimator.inverse_transform(estimator.transform(drawn))))
            if clamp is not None:
                held = np.asarray(clamp[0], dtype=bool)
                means[:, held] = rows[:, held]
            rows = means
        return cls(rows.reshape(-1, *shape)).plot(ax, **plot_options)


class LearningCurveDisplay:
    """What an estimator recorded at each epoch (its ``history_``).

    Parameters
    ----------
    history : mapping of str to sequence of float
        One value an epoch for each quantity.
    name : str, default=None
        Label of the curves, for a legend.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes
        One axes for each quantity; pass it to another display's :meth:`plot` to compare two fits.
    lines_ : list of matplotlib.lines.Line2D
        One line for each quantity.
    figure_ : matplotlib.figure.Figure
        The figure of ``axes_``.

    Examples
    --------
    >>> from harmonium import RBM
    >>> from harmonium.plot import LearningCurveDisplay
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data > 8
    >>> rbm = RBM(16, n_iter=5, random_state=0).fit(X)
    >>> display = LearningCurveDisplay.from_estimator(rbm)
    >>> len(display.history["pseudo_log_likelihood"])
    5
    """

    def __init__(self, history: Mapping[str, Sequence[float]], *, name: str | None = None) -> None:
        if not history:
            raise ValueError("LearningCurveDisplay: the history is empty")
        self.history = {quantity: np.asarray(values, dtype=float) for quantity, values in history.items()}
        self.name = name

    def plot(
        self,
        ax: Any = None,
        *,
        quantities: str | Sequence[str] | None = None,
        **line_options: Any,
    ) -> LearningCurveDisplay:
        """Draw one curve for each quantity, in axes above each other.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or array of them, default=None
            An array gives one axes to each quantity; a single axes is divided if there are several
            quantities; a new figure if not given.
        quantities : str or sequence of str, default=None
            Which quantities to draw; all if not given.
        **line_options : dict
            Further arguments of ``Axes.plot``.

        Returns
        -------
        self : LearningCurveDisplay
        """
        plt = pyplot()
        wanted = list(self.history) if quantities is None else np.atleast_1d(quantities).tolist()
        for quantity in wanted:
            if quantity not in self.history:
                raise ValueError(
                    f"LearningCurveDisplay.plot: no quantity {quantity!r}, there are {sorted(self.history)}"
                )
        axes = axes_column(plt, ax, len(wanted))
        self.axes_, self.lines_ = axes, []
        for axis, quantity in zip(axes, wanted, strict=True):
            values = self.history[quantity]
            # A line through one point is invisible: mark short curves.
            options = {"label": self.name, "marker": "o" if len(values) < 5 else None} | line_options
            self.lines_ += axis.plot(np.arange(1, len(values) + 1), values, **options)
            axis.set_title(_LABELS.get(quantity, quantity), loc="left", fontsize="medium")
            axis.grid(True, alpha=0.25, linewidth=0.6)
            axis.spines[["top", "right"]].set_visible(False)
            axis.xaxis.get_major_locator().set_params(integer=True)
        axes[-1].set_xlabel("epoch")
        if self.name is not None:
            axes[0].legend(frameon=False)
        self.figure_ = axes[0].figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        quantities: str | Sequence[str] | None = None,
        name: str | None = None,
        ax: Any = None,
        **plot_options: Any,
    ) -> LearningCurveDisplay:
        """Draw the ``history_`` of a fitted estimator.

        Parameters
        ----------
        estimator : object
            Fitted estimator with ``history_``.
        quantities : str or sequence of str, default=None
            Which quantities to draw; all if not given.
        name : str, default=None
            Label of the curves, for a legend.
        ax : matplotlib.axes.Axes or array of them, default=None
            See :meth:`plot`.
        **plot_options : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : LearningCurveDisplay
        """
        check_is_fitted(estimator, "history_")
        return cls(estimator.history_, name=name).plot(ax, quantities=quantities, **plot_options)
