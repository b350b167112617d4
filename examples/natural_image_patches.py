"""Filters of an RBM with gaussian visible units on patches of natural images.

The picture shows the weights of the hidden units, strongest first, beside some of the patches. They are edges and bars,
each in its own place, direction and width, like the receptive fields of simple cells in the visual cortex.

What it takes to see them: (1) rows of equal contrast, whitened, so that nothing is left to explain but the structure
beyond pairs of pixels; (2) standard deviations of up to 1.5: the model's own noise has 1 in every direction, and up to
that size hidden units are not needed; (3) hidden units that are rarely on.

Data: DIR/natural_images.npz with `whitened`, (images, rows, columns), Olshausen and Field's ten pictures.

Olshausen, Field, "Emergence of simple-cell receptive field properties by learning a sparse code for natural images",
Nature 381, 1996. Lee, Ekanadham, Ng, "Sparse deep belief net model for visual area V2", NIPS 2008. Melchior, Wang,
Wiskott, "Gaussian-binary restricted Boltzmann machines for modeling natural image statistics", PLoS ONE 12, 2017.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from harmonium import RBM
from harmonium.plot import FiltersDisplay, SamplesDisplay

SIDE, MARGIN = 12, 8  # the filter that made the images wraps around at their borders
SCALE = 1.5  # largest standard deviation of the whitened data, in units of the model's noise


def cut_patches(images: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Patches from random places in rows: (n, SIDE * SIDE)."""
    images = images / images.std(axis=(1, 2), keepdims=True)
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(1, 2))
    windows = windows[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    image, row, column = (generator.integers(size, size=n) for size in windows.shape[:3])
    return windows[image, row, column].reshape(n, -1).astype(np.float64)


def whiten(X: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and equal contrast, then of equal variance in all directions but those of hardly any."""
    X = X - X.mean(axis=1, keepdims=True)
    X /= np.sqrt(X.var(axis=1, keepdims=True) + 0.1)  # 0.1: empty sky stays faint
    variances, directions = np.linalg.eigh(np.cov(X.T))
    floor = 0.1 * variances[-1]
    X = X @ (directions / np.sqrt(variances + floor)) @ directions.T
    return (X * SCALE * np.sqrt(1 + 0.1)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with natural_images.npz")
    parser.add_argument("--output", type=Path, default=Path("natural_image_patches.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_patches, n_epochs = (2000, 2) if arguments.quick else (100_000, 60)

    with np.load(arguments.data / "natural_images.npz", allow_pickle=False) as file:
        images = file["whitened"]
    patches = cut_patches(images, n_patches, np.random.default_rng(arguments.seed))
    X = whiten(patches)
    rbm = RBM(
        144,
        visible="gaussian",
        method="cd",
        learning_rate=0.05,
        sparsity_cost=1.0,
        sparsity_target=0.02,
        n_iter=n_epochs,
        random_state=arguments.seed,
        verbose=1,
    ).fit(X)
    error, activity = (rbm.history_[name][-1] for name in ("reconstruction_error", "hidden_activity"))
    print(f"{n_patches} patches of {SIDE} x {SIDE}, variance {X.var():.2f}; {n_epochs} epochs of CD-1")
    print(f"mean squared error of reconstruction {error:.3f}; a unit is on in {100 * activity:.1f} % of the patches")
    print(f"share of a filter's power in its strongest ninth of the pixels: {localisation(rbm.components_):.2f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6.8), layout="constrained")
    shown = X[:144].reshape(-1, SIDE, SIDE)
    limit = np.quantile(np.abs(shown), 0.99)
    SamplesDisplay(np.clip(0.5 + 0.5 * shown / limit, 0, 1)).plot(left, cmap="gray", title="patches, whitened")
    title = f"filters of {rbm.n_components} hidden units, each on its own scale"
    FiltersDisplay.from_estimator(rbm, n_filters=144, scale="each", ax=right, title=title)
    figure.suptitle(f"Gaussian-Bernoulli RBM on natural images: units on in {100 * activity:.1f} % of the patches")
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


def localisation(filters: np.ndarray) -> float:
    """Mean over units; 1/9 where weights are all of one size, about 0.46 where they are noise."""
    power = np.sort(filters.astype(np.float64) ** 2, axis=1)[:, ::-1]
    return float((power[:, : power.shape[1] // 9].sum(axis=1) / power.sum(axis=1)).mean())


if __name__ == "__main__":
    main()
