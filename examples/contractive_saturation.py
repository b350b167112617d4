"""The contractive penalty: codes that hardly move, because their units are saturated.

On the left the Frobenius norm of dh / dx at test digits, for an autoencoder, a denoising and a contractive one; on the
right the values of their hidden units: the penalty drives them to 0 and 1, where a sigmoid is flat.

Data: DIR/mnist.npz with `x_train` and `x_test`, uint8 images.

Rifai, Vincent, Muller, Glorot, Bengio, "Contractive auto-encoders: explicit invariance during feature extraction", ICML
2011, table 1: 86 % of the contractive units saturated, 50 % of the plain ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from harmonium import Autoencoder

SATURATED = 0.05  # within this of 0 or 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with mnist.npz")
    parser.add_argument("--output", type=Path, default=Path("contractive_saturation.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_units, n_epochs, n_rows = (20, 2, 300) if arguments.quick else (500, 30, 20000)

    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as file:
        train, test = (file[name].reshape(len(file[name]), -1) / np.float32(255) for name in ("x_train", "x_test"))
    kinds = {
        "plain": {},
        "denoising, 30 % hidden": {"corruption": "masking"},
        "contractive": {"contraction": 1.0},
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    for name, parameters in kinds.items():
        model = Autoencoder(n_units, max_iter=n_epochs, verbose=1, random_state=arguments.seed, **parameters)
        model.fit(train[:n_rows])
        norm, h = model.jacobian_norm(test), model.transform(test)
        saturated = 100 * np.mean(np.minimum(h, 1 - h) < SATURATED)
        error = ((model.inverse_transform(h) - test) ** 2).sum(axis=1).mean()
        print(
            f"{name}: norm of dh/dx {norm.mean():.2f}, {saturated:.0f} % of units saturated, squared error {error:.2f}"
        )
        left.hist(norm, bins=80, range=(0, 1.1 * norm.max()), histtype="step", density=True, label=name)
        right.hist(h.ravel(), bins=50, range=(0, 1), histtype="step", density=True, label=f"{name}: {saturated:.0f} %")
    left.set(xlabel="norm of dh / dx at a test image", yticks=[], title="How much the code moves with the image")
    right.set(xlabel="value of a hidden unit", yscale="log", title=f"Units; share within {SATURATED} of 0 or 1")
    for ax in (left, right):
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
