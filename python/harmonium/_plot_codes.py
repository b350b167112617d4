"""Displays of what autoencoders and other encoders give: reconstructions, and codes in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._device import host
from ._drawing import draw_mosaic, pyplot, resolve_shape, stack

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ReconstructionDisplay:
    """Images above their reconstructions, one row for each model.

    Parameters
    ----------
    images : array-like of shape (n_samples, rows, columns)
        The data.
    reconstructions : dict of str to array-like of shape (n_samples, rows, columns)
        What each model makes of them, by name.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes drawn in.
    im_ : matplotlib.image.AxesImage
        All images in one.
    figure_ : matplotlib.figure.Figure
        The figure of ``ax_``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from harmonium import Autoencoder
    >>> from harmonium.plot import ReconstructionDisplay
    >>> X = load_digits().data / 16
    >>> model = Autoencoder(16, max_iter=2, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(model, X[:8])
    >>> list(display.reconstructions)
    ['Autoencoder']
    """

    def __init__(self, images: Any, reconstructions: dict[str, Any]) -> None:
        self.images = stack("ReconstructionDisplay", images)
        self.reconstructions = {name: stack("ReconstructionDisplay", rows) for name, rows in reconstructions.items()}
        for name, rows in self.reconstructions.items():
            if rows.shape != self.images.shape:
                raise ValueError(f"ReconstructionDisplay: {name!r} is {rows.shape}, the images are {self.images.shape}")

    def plot(
        self,
        ax: Axes | None = None,
        *,
        cmap: str = "gray_r",
        limits: tuple[float, float] = (0.0, 1.0),
        title: str | None = None,
    ) -> ReconstructionDisplay:
        """Draw the images in one row, and below it one row for each model, its name beside it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; a new figure if not given.
        cmap : str, default="gray_r"
            Colour map; by default ink on paper.
        limits : tuple of float, default=(0, 1)
            Values at the colour map's ends.
        title : str, default=None
            Title of the axes.

        Returns
        -------
        self : ReconstructionDisplay
        """
        rows = [self.images, *self.reconstructions.values()]
        self.ax_, self.im_ = draw_mosaic(np.concatenate(rows), ax, len(self.images), cmap, limits, title)
        height = self.im_.get_array().shape[0] / len(rows)
        for k, name in enumerate(["data", *self.reconstructions]):
            self.ax_.text(-0.01 * self.im_.get_array().shape[1], (k + 0.5) * height, name, ha="right", va="center")
        self.figure_: Any = self.ax_.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        others: dict[str, Any] | None = None,
        name: str | None = None,
        image_shape: tuple[int, int] | None = None,
        ax: Axes | None = None,
        **plot_options: Any,
    ) -> ReconstructionDisplay:
        """Reconstruct the rows of X and draw them.

        Parameters
        ----------
        estimator : object
            Fitted estimator with ``reconstruct``, or with ``transform`` and ``inverse_transform``.
        X : array-like of shape (n_samples, n_features)
        others : dict of str to estimator, default=None
            Further fitted estimators, by name.
        name : str, default=None
            What the first is called; its class if not given.
        image_shape : tuple of (rows, columns), default=None
            Shape of one row; needed where the number of features is no square.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; a new figure if not given.
        **plot_options : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay
        """
        check_is_fitted(estimator)
        given = host(X)
        shape = resolve_shape("ReconstructionDisplay", given.shape[1], image_shape)

        def of(model: Any) -> np.ndarray:
            rows = (
                model.reconstruct(X) if hasattr(model, "reconstruct") else model.inverse_transform(model.transform(X))
            )
            return host(rows).reshape(-1, *shape)

        models = {name or type(estimator).__name__: estimator, **(others or {})}
        return cls(given.reshape(-1, *shape), {key: of(model) for key, model in models.items()}).plot(
            ax, **plot_options
        )


class CodesDisplay:
    """Codes of two units as points in the plane.

    Parameters
    ----------
    codes : array-like of shape (n_samples, 2)
    labels : array-like of shape (n_samples,), default=None
        Classes, one colour each.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes drawn in.
    points_ : list of matplotlib.collections.PathCollection
        One for each class.
    figure_ : matplotlib.figure.Figure
        The figure of ``ax_``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from harmonium import Autoencoder
    >>> from harmonium.plot import CodesDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> model = Autoencoder((30, 2), max_iter=2, random_state=0).fit(X / 16)
    >>> CodesDisplay.from_estimator(model, X / 16, y).codes.shape
    (1797, 2)
    """

    def __init__(self, codes: Any, labels: Any = None) -> None:
        self.codes = np.asarray(codes, dtype=float)
        if self.codes.ndim != 2 or self.codes.shape[1] != 2:
            raise ValueError(f"CodesDisplay: codes are {self.codes.shape}, two columns are needed")
        self.labels = None if labels is None else np.asarray(labels)
        if self.labels is not None and self.labels.shape != self.codes.shape[:1]:
            raise ValueError(f"CodesDisplay: labels are {self.labels.shape}, there are {len(self.codes)} codes")

    def plot(
        self,
        ax: Axes | None = None,
        *,
        names: Sequence[str] | None = None,
        title: str | None = None,
        **point_options: Any,
    ) -> CodesDisplay:
        """Draw one point for each code.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; a new figure if not given.
        names : sequence of str, default=None
            Of the classes, in sorted order; the labels themselves if not given.
        title : str, default=None
            Title of the axes.
        **point_options : dict
            Further arguments of ``Axes.scatter``.

        Returns
        -------
        self : CodesDisplay
        """
        plt = pyplot()
        if ax is None:
            _, ax = plt.subplots(figsize=(5.0, 5.0), layout="constrained")
        options = {"s": 4.0, "linewidths": 0, "alpha": 0.7} | point_options
        self.points_ = []
        if self.labels is None:
            self.points_.append(ax.scatter(*self.codes.T, **options))
        else:
            classes = np.unique(self.labels)
            colours = plt.get_cmap("tab10" if len(classes) <= 10 else "tab20")
            for k, label in enumerate(classes):
                rows = self.codes[self.labels == label]
                text = str(label) if names is None else names[k]
                self.points_.append(ax.scatter(*rows.T, color=colours(k % colours.N), label=text, **options))
            ax.legend(markerscale=4, frameon=False, fontsize="small")
        ax.set_xticks([])
        ax.set_yticks([])
        if title is not None:
            ax.set_title(title, loc="left", fontsize="medium")
        self.ax_: Any = ax
        self.figure_: Any = ax.figure
        return self

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, labels: Any = None, *, ax: Axes | None = None, **plot_options: Any
    ) -> CodesDisplay:
        """Draw the codes of the rows of X.

        Parameters
        ----------
        estimator : object
            Fitted estimator whose ``transform`` gives two columns.
        X : array-like of shape (n_samples, n_features)
        labels : array-like of shape (n_samples,), default=None
            Classes, one colour each.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; a new figure if not given.
        **plot_options : dict
            Further arguments of :meth:`plot`.

        Returns
        -------
        display : CodesDisplay
        """
        check_is_fitted(estimator)
        return cls(host(estimator.transform(X)), labels).plot(ax, **plot_options)
