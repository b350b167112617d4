"""Faces, turned and scaled, through a code of 30 numbers: a deep autoencoder beside principal components.

The picture has three rows: faces of people that were not trained on, what 625-2000-1000-500-30 and its mirror makes of
them, and what 30 principal components do. Hinton and Salakhutdinov's setting, as far as their paper tells: 25 x 25
pixels out of the 64 x 64 faces, turned by up to 90 degrees, magnified 1.4 to 1.8 times and sampled at every second
pixel; every pixel with mean 0, all of them with mean variance 1. The split: people 0 to 29 are trained on,
people 30 to 39 are the test. Layers are pretrained by RBMs, of real pixels first, then unrolled and fine-tuned on the
squared error.

Data: DIR/olivetti_faces.npz with `images` (400, 64, 64) and `targets`, ten pictures of each of 40 people.

Hinton, Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006: squared error a
patch 126, 30 principal components 135.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import map_coordinates
from sklearn.decomposition import PCA

from harmonium import Autoencoder
from harmonium.plot import ReconstructionDisplay

SIDE, N_CODE = 25, 30


def cut_patches(images: np.ndarray, copies: int, generator: np.random.Generator) -> np.ndarray:
    """Every face so many times, (n, 625): turned and magnified around its middle."""
    grid = np.mgrid[:SIDE, :SIDE].reshape(2, 1, -1) - (SIDE - 1) / 2
    patches = np.empty((len(images), copies, SIDE * SIDE), np.float32)
    for image, out in zip(images, patches, strict=True):
        angle, zoom = generator.uniform(-np.pi / 2, np.pi / 2, copies), generator.uniform(1.4, 1.8, copies)
        step = (2 / zoom)[:, None]
        cosine, sine = np.cos(angle)[:, None] * step, np.sin(angle)[:, None] * step
        rows, columns = cosine * grid[0] - sine * grid[1], sine * grid[0] + cosine * grid[1]
        out[:] = map_coordinates(image, [rows + 31.5, columns + 31.5], order=1, mode="nearest")
    return patches.reshape(-1, SIDE * SIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with olivetti_faces.npz")
    parser.add_argument("--output", type=Path, default=Path("olivetti_patches.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    copies, sizes, n_pretraining, n_epochs = (100, (2000, 1000, 500, N_CODE), 5, 20)
    if arguments.quick:
        copies, sizes, n_pretraining, n_epochs = (4, (60, N_CODE), 1, 2)

    with np.load(arguments.data / "olivetti_faces.npz", allow_pickle=False) as file:
        images, people = file["images"].astype(np.float32) / 255, file["targets"]
    generator = np.random.default_rng(arguments.seed)
    train = cut_patches(images[people < 30], copies, generator)
    test = cut_patches(images[people >= 30], max(copies // 2, 1), generator)
    mean = train.mean(axis=0)
    scale = (train - mean).std()
    train, test = (train - mean) / scale, (test - mean) / scale

    pca = PCA(N_CODE, random_state=arguments.seed).fit(train)
    model = Autoencoder(
        sizes,
        likelihood="gaussian",
        tied=False,
        pretraining="rbm",
        pretraining_iter=n_pretraining,
        learning_rate="linear",
        learning_rate_init=0.0005,
        max_iter=n_epochs,
        verbose=1,
        random_state=arguments.seed,
    ).fit(train)
    deep, linear = squared_error(model, test), squared_error(pca, test)
    print(f"{len(train)} patches of 30 people to train on, {len(test)} of 10 others to test; variance {test.var():.2f}")
    print(f"squared error a test patch: deep autoencoder {deep:.1f}, {N_CODE} principal components {linear:.1f}")
    print(f"of a training patch: {squared_error(model, train[::7]):.1f} and {squared_error(pca, train[::7]):.1f}")

    figure, ax = plt.subplots(figsize=(13, 3.4), layout="constrained")
    shown = test[generator.choice(len(test), min(20, len(test)), replace=False)]
    display = ReconstructionDisplay.from_estimator(
        model, shown, others={f"{N_CODE} components\n{linear:.0f}": pca}, name=f"deep\n{deep:.0f}"
    )
    plt.close(display.figure_)
    limit = np.quantile(np.abs(shown), 0.995)
    display.plot(ax, cmap="gray", limits=(-limit, limit), title="Faces of people not trained on; squared error a patch")
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


def squared_error(model: Autoencoder | PCA, X: np.ndarray) -> float:
    return float(((model.inverse_transform(model.transform(X)) - X) ** 2).sum(axis=1).mean())


if __name__ == "__main__":
    main()
