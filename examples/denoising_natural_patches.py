"""Natural images: what denoising finds and weight decay does not.

The picture shows the strongest filters of two autoencoders of rectified units on the same patches: on the left with
weight decay, on the right trained to take gaussian noise away, of twice the data's own deviation. Weight decay leaves
filters without a structure; denoising gives edges and bars in many places and directions.

Data: DIR/natural_images.npz with `whitened`, (images, rows, columns), Olshausen and Field's ten pictures.

Vincent, Larochelle, Lajoie, Bengio, Manzagol, "Stacked denoising autoencoders", JMLR 11, 2010, figures 5 to 7.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from harmonium import Autoencoder
from harmonium.plot import FiltersDisplay

SIDE, MARGIN = 12, 8  # the filter that made the images wraps around at their borders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with natural_images.npz")
    parser.add_argument("--output", type=Path, default=Path("denoising_natural_patches.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_units, n_epochs, n_patches = (30, 2, 500) if arguments.quick else (100, 60, 50000)

    with np.load(arguments.data / "natural_images.npz", allow_pickle=False) as file:
        images = file["whitened"]
    X = cut_patches(images / images.std(), n_patches, np.random.default_rng(arguments.seed))
    common = {
        "activation": "relu",
        "likelihood": "gaussian",
        "learning_rate": "linear",
        "max_iter": n_epochs,
        "verbose": 1,
        "random_state": arguments.seed,
    }
    models = {
        "weight decay": Autoencoder(n_units, alpha=0.5, **common).fit(X),
        "denoising, noise of twice the data's deviation": Autoencoder(
            n_units, corruption="gaussian", corruption_level=2.0, **common
        ).fit(X),
    }
    figure, axes = plt.subplots(1, 2, figsize=(13, 6.8), layout="constrained")
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        share = localisation(model.components_)
        print(f"{name}: a ninth of the pixels holds {share:.2f} of a filter's power (noise: 0.46)")
        FiltersDisplay.from_estimator(model, n_filters=64, scale="each", ax=ax, title=f"{name}: {share:.2f}")
    figure.suptitle("Filters of autoencoders on natural images; share of their power in a ninth of the pixels")
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


def cut_patches(images: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Patches from random places in rows, each with mean 0: (n, SIDE * SIDE)."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(1, 2))
    windows = windows[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    image, row, column = (generator.integers(size, size=n) for size in windows.shape[:3])
    X = windows[image, row, column].reshape(n, -1).astype(np.float32)
    return X - X.mean(axis=1, keepdims=True)


def localisation(filters: np.ndarray) -> float:
    """Mean over units; 1/9 where weights are all of one size, about 0.46 where they are noise."""
    power = np.sort(filters.astype(np.float64) ** 2, axis=1)[:, ::-1]
    return float((power[:, : power.shape[1] // 9].sum(axis=1) / power.sum(axis=1)).mean())


if __name__ == "__main__":
    main()
