"""Filters of denoising autoencoders: the more of the input is hidden, the more units look for strokes.

The picture shows the same hidden units (they begin with the same weights) of three autoencoders for handwritten digits,
with 0, 25 and 50 % of the input's pixels set to 0 in training. Most are noise without; hiding makes them detectors
of strokes, and the more so the more is hidden. What is printed, and above each part: how many of the filters are
smooth (neighbouring pixels' weights correlate by 0.7 or more), and the error of a linear classifier on the codes.

It takes small first weights (initialization="he"), else they stay visible as noise; plain gradient steps, many of
them; and a weight decay just strong enough to take the rest of the noise away.

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
    n_units, n_epochs, n_rows, n_labels = (20, 2, 300, 300) if arguments.quick else (500, 25, 60000, 20000)

    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as file:
        train, test = (file[name].reshape(len(file[name]), -1) / np.float32(255) for name in ("x_train", "x_test"))
        labels, test_labels = file["y_train"][:n_labels], file["y_test"]
    train = train[:n_rows]
    figure, axes = plt.subplots(1, 3, figsize=(15, 5.6), layout="constrained")
    for ax, level in zip(axes, LEVELS, strict=True):
        model = Autoencoder(
            n_units, corruption="masking" if level else None, corruption_level=level, alpha=0.0003, initialization="he",
            solver="sgd", learning_rate_init=0.2, max_iter=n_epochs, verbose=1, random_state=arguments.seed,
        ).fit(train)  # fmt: skip
        classifier = LogisticRegression(C=0.1, max_iter=200).fit(model.transform(train[:n_labels]), labels)
        error = 100 * (1 - classifier.score(model.transform(test), test_labels))
        share = 100 * smooth(model.components_.reshape(-1, 28, 28)).mean()
        print(f"{100 * level:.0f} % hidden: {share:.0f} % of the filters are smooth, ", end="")
        print(f"{error:.2f} % of the test images misclassified by their codes", flush=True)
        title = f"{100 * level:.0f} % of the pixels hidden: {share:.0f} % smooth, test error {error:.1f} %"
        FiltersDisplay.from_estimator(model, units=range(min(100, n_units)), scale="each", ax=ax, title=title)
    figure.suptitle("The same units of three denoising autoencoders, MNIST")
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


def smooth(filters: np.ndarray) -> np.ndarray:
    """Where neighbouring weights correlate by 0.7 or more."""
    filters = filters - filters.mean(axis=(1, 2), keepdims=True)
    steps = sum((np.diff(filters, axis=axis) ** 2).sum(axis=(1, 2)) for axis in (1, 2))
    return steps <= 4 * (1 - 0.7) * (filters**2).sum(axis=(1, 2))


if __name__ == "__main__":
    main()
