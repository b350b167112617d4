"""Handwritten digits as points in the plane: a code of two numbers, deep and linear.

On the left the two principal components of the test images, on the right the codes of 784-1000-500-250-2, its layers
pretrained by RBMs and fine-tuned. The colours are the digits, which neither has seen.

Data: DIR/mnist.npz with `x_train`, `x_test`, `y_test`.

Hinton, Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006, figure 3.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from harmonium import Autoencoder
from harmonium.plot import CodesDisplay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with mnist.npz")
    parser.add_argument("--output", type=Path, default=Path("mnist_codes_in_the_plane.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    sizes, n_pretraining, n_epochs, n_rows = (1000, 500, 250, 2), 5, 20, 30000
    if arguments.quick:
        sizes, n_pretraining, n_epochs, n_rows = (30, 2), 1, 2, 300

    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as file:
        train, test = (file[name].reshape(len(file[name]), -1) / np.float32(255) for name in ("x_train", "x_test"))
        labels = file["y_test"]
    train = train[:n_rows]
    model = Autoencoder(
        sizes,
        tied=False,
        pretraining="rbm",
        pretraining_iter=n_pretraining,
        max_iter=n_epochs,
        learning_rate="linear",
        verbose=1,
        random_state=arguments.seed,
    ).fit(train)
    figure, axes = plt.subplots(1, 2, figsize=(13, 6.4), layout="constrained")
    pca = PCA(2, random_state=arguments.seed).fit(train)
    for ax, (name, one) in zip(axes, (("two principal components", pca), ("deep autoencoder", model)), strict=True):
        codes = one.transform(test)
        error = ((one.inverse_transform(codes) - test) ** 2).sum(axis=1).mean()
        half = len(codes) // 2
        neighbours = KNeighborsClassifier(15).fit(codes[:half], labels[:half]).score(codes[half:], labels[half:])
        print(
            f"{name}: squared error a test image {error:.1f}; 15 neighbours tell {100 * neighbours:.1f} % of the digits"
        )
        title = f"{name}: squared error {error:.1f}, neighbours tell {100 * neighbours:.0f} %"
        CodesDisplay(codes, labels).plot(ax, title=title)
    figure.suptitle("10,000 test digits as two numbers each")
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
