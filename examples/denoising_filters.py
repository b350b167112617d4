"""Filters of denoising autoencoders: the more of the input is hidden, the more units look for strokes.

The picture shows the same hidden units (they begin with the same weights) of three autoencoders for handwritten digits,
with 0, 25 and 50 % of the input's pixels set to 0 in training. Many that are noise without become detectors of strokes,
and those grow. What is printed: the error of a linear classifier on the codes.

Data: DIR/mnist.npz with `x_train`, `y_train`, `x_test`, `y_test`.

Vincent, Larochelle, Bengio, Manzagol, "Extracting and composing robust features with denoising autoencoders", ICML
2008, figure 3.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

from harmonium import Autoencoder
from harmonium.plot import FiltersDisplay

LEVELS = (0.0, 0.25, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with mnist.npz")
    parser.add_argument("--output", type=Path, default=Path("denoising_filters.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_units, n_epochs, n_rows = (20, 2, 300) if arguments.quick else (500, 40, 20000)

    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as file:
        train, test = (file[name].reshape(len(file[name]), -1) / np.float32(255) for name in ("x_train", "x_test"))
        labels, test_labels = file["y_train"][:n_rows], file["y_test"]
    train = train[:n_rows]
    figure, axes = plt.subplots(1, 3, figsize=(15, 5.6), layout="constrained")
    for ax, level in zip(axes, LEVELS, strict=True):
        model = Autoencoder(
            n_units, corruption="masking" if level else None, corruption_level=level, max_iter=n_epochs, verbose=1,
            random_state=arguments.seed,
        ).fit(train)  # fmt: skip
        classifier = LogisticRegression(C=0.1, max_iter=200).fit(model.transform(train), labels)
        error = 100 * (1 - classifier.score(model.transform(test), test_labels))
        print(f"{100 * level:.0f} % hidden: {error:.2f} % of the test images misclassified by their codes")
        title = f"{100 * level:.0f} % of the pixels hidden; test error {error:.1f} %"
        FiltersDisplay.from_estimator(model, units=range(min(100, n_units)), scale="each", ax=ax, title=title)
    figure.suptitle("The same units of three denoising autoencoders, MNIST")
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
