"""What hidden units look for in handwritten digits: an autoencoder's beside a restricted Boltzmann machine's.

The picture shows the weights into the strongest hidden units of both, 500 units each, trained on the same images. The
autoencoder with tied weights only has to reconstruct; the RBM has to tell digits from all other pictures, and finds
strokes and their ends.

Data: DIR/mnist.npz with `x_train` and `x_test`, uint8 images.

Hinton, "A practical guide to training restricted Boltzmann machines", 2010. Vincent et al., "Stacked denoising
autoencoders", JMLR 11, 2010.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from harmonium import RBM, Autoencoder
from harmonium.plot import FiltersDisplay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with mnist.npz")
    parser.add_argument("--output", type=Path, default=Path("autoencoder_and_rbm_filters.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_units, n_epochs, n_rows = (20, 2, 300) if arguments.quick else (500, 20, 60000)

    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as file:
        train, test = (file[name].reshape(len(file[name]), -1) / np.float32(255) for name in ("x_train", "x_test"))
    train = train[:n_rows]
    common = {"random_state": arguments.seed, "verbose": 1}
    autoencoder = Autoencoder(n_units, max_iter=n_epochs, **common).fit(train)
    rbm = RBM(n_units, n_iter=n_epochs, draw_data=True, **common).fit(train)
    errors = {}
    for name, model in (("autoencoder", autoencoder), ("RBM", rbm)):
        errors[name] = float(((model.inverse_transform(model.transform(test)) - test) ** 2).sum(axis=1).mean())
        print(f"{name}: squared error of a test image reconstructed from its {n_units} units {errors[name]:.2f}")

    figure, axes = plt.subplots(1, 2, figsize=(13, 6.8), layout="constrained")
    for ax, (name, model) in zip(axes, (("autoencoder", autoencoder), ("RBM", rbm)), strict=True):
        title = f"{name}: squared error {errors[name]:.1f} an image"
        FiltersDisplay.from_estimator(model, n_filters=100, scale="each", ax=ax, title=title)
    figure.suptitle(f"Weights of the strongest of {n_units} hidden units, MNIST")
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
