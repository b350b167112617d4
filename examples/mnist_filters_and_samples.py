"""An RBM of handwritten digits: what its hidden units look for, and what it draws.

The picture shows the weights of the strongest hidden units (strokes and parts of strokes: red where ink speaks for the
unit, blue where it speaks against) and samples of the model: means of the pixels after a thousand Gibbs steps from the
persistent chains. Grey values are probabilities, bits are drawn from them anew in every pass. The title has the mean
log-likelihood of test digits, between the bounds that annealing up and down gives.

Data: DIR/mnist.npz with `x_train` and `x_test`, (images, rows, columns), uint8.

Salakhutdinov, Murray, "On the quantitative analysis of deep belief networks", ICML 2008. Tieleman, "Training restricted
Boltzmann machines using approximations to the likelihood gradient", ICML 2008. Burda, Grosse, Salakhutdinov, "Accurate
and conservative estimates of MRF log-likelihood using reverse annealing", AISTATS 2015.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from harmonium import RBM
from harmonium.plot import FiltersDisplay, SamplesDisplay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with mnist.npz")
    parser.add_argument("--output", type=Path, default=Path("mnist_filters_and_samples.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_rows, n_hidden, n_epochs, n_betas, n_steps = 60_000, 500, 60, 5000, 1000
    if arguments.quick:
        n_rows, n_hidden, n_epochs, n_betas, n_steps = 1000, 50, 2, 100, 20

    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as file:
        shape = file["x_train"].shape[1:]
        train, test = (file[name][:n_rows].reshape(-1, *shape) / np.float32(255) for name in ("x_train", "x_test"))
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    # Likelihoods are of bits: the test pixels are drawn once.
    drawn = np.random.default_rng(arguments.seed).random(test.shape, np.float32) < test

    rbm = RBM(n_hidden, draw_data=True, n_iter=n_epochs, random_state=arguments.seed, verbose=1).fit(train)
    log_z = rbm.log_partition("bracket", n_betas=n_betas, random_state=arguments.seed)
    value, lower, upper = (
        float(part.mean()) for part in rbm.log_likelihood(drawn, log_partition=log_z, return_bracket=True)
    )
    result = f"{value:.2f} nats ({lower:.2f} to {upper:.2f})"
    print(f"{len(train)} digits, {n_hidden} hidden units, {n_epochs} epochs of PCD-1")
    print(f"test log-likelihood {result}; published for CD-25 and as many units: -86.34")

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 6.4), layout="constrained")
    FiltersDisplay.from_estimator(rbm, n_filters=100, image_shape=shape, ax=left, title="the strongest hidden units")
    SamplesDisplay.from_estimator(
        rbm,
        n_samples=100,
        n_steps=n_steps,
        random_state=arguments.seed,
        image_shape=shape,
        ax=right,
        title=f"samples, {n_steps} Gibbs steps from the chains of training",
    )
    figure.suptitle(f"RBM of MNIST digits, {n_hidden} hidden units: {result} a test digit")
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
