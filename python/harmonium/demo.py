"""The main job on real data in under half a minute: ``harmonium demo``."""

from __future__ import annotations

import copy
import functools
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import BernoulliRBM as PeerRBM

from .plot import FiltersDisplay, LearningCurveDisplay, SamplesDisplay
from .rbm import RBM

__all__ = ["DemoRow", "run_demo", "save_picture"]

# Few enough hidden units to sum log Z over all their states: no estimate stands between model and number.
N_HIDDEN = 20
N_EPOCHS = 100
LEARNING_RATE = 0.05
BATCH_SIZE = 10
N_CHAINS = 100
WEIGHT_DECAY = 1e-3

LogLikelihood = Callable[[np.ndarray], np.ndarray]


class DemoRow(NamedTuple):
    """One line of the demo's table; log-likelihoods are means in nats an image."""

    model: str
    train: float
    held_out: float
    fit_seconds: float


def run_demo(output: str | os.PathLike[str] = "harmonium-demo.png", seed: int = 0, verbose: int = 1) -> list[DemoRow]:
    """Train an RBM on scikit-learn's handwritten digits and compare exact log-likelihoods.

    The 8 x 8 grey images are made binary by a threshold at half the largest grey value. The comparison is
    with independent pixels (Laplace-smoothed) and with :class:`sklearn.neural_network.BernoulliRBM` at the
    same number of hidden units and epochs, learning rate and batch size; it has as many chains as rows in a
    batch and no weight decay. A picture shows digits, samples, filters and learning curve.

    Parameters
    ----------
    output : str or path-like, default="harmonium-demo.png"
        Where to write the picture. Without matplotlib there is none, and a line says how to get it.
    seed : int, default=0
        Seed of the split, of both fits and of the samples.
    verbose : int, default=1
        Print a progress bar and the table; 0 prints nothing.

    Returns
    -------
    table : list of DemoRow
        One row a model.

    Examples
    --------
    >>> from harmonium.demo import run_demo
    >>> table = run_demo("digits.png")  # doctest: +SKIP
    """
    say = print if verbose else _silent
    X = (load_digits().data >= 8).astype(np.float32)  # grey values are 0..16
    train, held_out = train_test_split(X, test_size=360, random_state=seed)
    say("An RBM learns scikit-learn's handwritten digits")
    say(f"{len(X)} images of 8 x 8 pixels, binary by a threshold at half of the largest grey value;")
    say(f"{len(train)} to train, {len(held_out)} held out")

    shared: dict[str, Any] = {"learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE}
    shared |= {"n_iter": N_EPOCHS, "random_state": seed}
    # No annealing: both machines train at the same constant rate. Ours is the mean of its steps, as by default.
    rbm = RBM(N_HIDDEN, **shared, annealing=None, n_chains=N_CHAINS, weight_decay=WEIGHT_DECAY, verbose=verbose)
    seconds = _fit_seconds(rbm, train)
    peer = PeerRBM(N_HIDDEN, **shared)
    peer_seconds = _fit_seconds(peer, train)
    table = [
        _row("harmonium RBM", seconds, _exact(rbm), train, held_out),
        _row("scikit-learn BernoulliRBM", peer_seconds, _exact(_adopt(rbm, peer)), train, held_out),
        _row("independent pixels", 0.0, _independent(train), train, held_out),
    ]
    say(f"\nMean log-likelihood in nats, log Z summed over all states of the {N_HIDDEN} hidden units;")
    say(f"{N_EPOCHS} epochs, rate {LEARNING_RATE}, batches of {BATCH_SIZE} for both RBMs")
    say(f"{'':26} {'train':>8} {'held out':>9} {'fit (s)':>8}")
    for row in table:
        say(f"{row.model:26} {row.train:8.2f} {row.held_out:9.2f} {row.fit_seconds:8.2f}")
    try:
        save_picture(rbm, held_out, output, random_state=seed)
    except ImportError:
        say("\nno picture without matplotlib: pip install harmonium[plot]")
    else:
        say(f"\npicture: {os.fspath(output)}")
    return table


def save_picture(
    rbm: RBM,
    X: Any,
    output: str | os.PathLike[str],
    *,
    image_shape: tuple[int, int] | None = None,
    random_state: Any = None,
) -> None:
    """Write one picture of a trained RBM: rows of data, samples, filters, learning curve.

    Parameters
    ----------
    rbm : RBM
        A fitted model.
    X : array-like of shape (n_samples, n_features)
        Data to show beside the samples; the first rows are taken.
    output : str or path-like
        Where to write; the ending chooses the format.
    image_shape : tuple of (rows, columns), default=None
        Shape of one row of X; a square if not given.
    random_state : int, RandomState instance or None, default=None
        Seed of the samples.

    Examples
    --------
    >>> from harmonium import RBM
    >>> from harmonium.demo import save_picture
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data >= 8
    >>> rbm = RBM(16, n_iter=2, random_state=0).fit(X)
    >>> save_picture(rbm, X, "digits.png")  # doctest: +SKIP
    """
    from ._drawing import pyplot, resolve_shape

    pyplot()  # for its message, should matplotlib be missing
    from matplotlib.figure import Figure

    shape = resolve_shape("save_picture", rbm.n_features_in_, image_shape)
    n_images = 36
    # A figure of its own, not pyplot's: nothing opens a window, nothing is left to close.
    figure = Figure(figsize=(9.0, 9.4), layout="constrained")
    (data_ax, samples_ax), (filters_ax, curve_ax) = figure.subplots(2, 2)
    SamplesDisplay(np.asarray(X[:n_images]).reshape(-1, *shape)).plot(data_ax, title="data")
    SamplesDisplay.from_estimator(
        rbm, n_samples=n_images, image_shape=shape, random_state=random_state, ax=samples_ax, title="samples"
    )
    FiltersDisplay.from_estimator(rbm, n_filters=n_images, image_shape=shape, ax=filters_ax, title="filters")
    LearningCurveDisplay.from_estimator(rbm, quantities="pseudo_log_likelihood", ax=curve_ax)
    curve_ax.set_box_aspect(1)
    figure.savefig(output, dpi=150)


def _silent(*_: Any) -> None:
    pass


def _fit_seconds(estimator: Any, X: np.ndarray) -> float:
    start = time.perf_counter()
    estimator.fit(X)
    return time.perf_counter() - start


def _adopt(rbm: RBM, peer: PeerRBM) -> RBM:
    """Put scikit-learn's parameters into a model that can compute likelihoods."""
    adopted = copy.deepcopy(rbm)
    adopted.components_ = peer.components_
    adopted.intercept_hidden_ = peer.intercept_hidden_
    adopted.intercept_visible_ = peer.intercept_visible_
    return adopted


def _row(model: str, fit_seconds: float, log_likelihood: LogLikelihood, *data: np.ndarray) -> DemoRow:
    train, held_out = (float(log_likelihood(X).mean()) for X in data)
    return DemoRow(model, train, held_out, fit_seconds)


def _exact(rbm: RBM) -> LogLikelihood:
    return functools.partial(rbm.log_likelihood, log_partition=rbm.log_partition(method="exact"))


def _independent(train: np.ndarray) -> LogLikelihood:
    """Give each pixel its own probability, with one image all on and one all off added (Laplace)."""
    on = (train.sum(axis=0, dtype=np.float64) + 1) / (len(train) + 2)
    return lambda X: X @ np.log(on) + (1 - X) @ np.log1p(-on)
