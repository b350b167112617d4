"""Halves of handwritten digits, filled in: the other half is clamped, and what is missing is drawn given it.

The picture has one test digit of each class a row, its lower half (left) or right half (right) hidden: the digit, what
the model sees of it, and several completions, each from a Gibbs chain of its own. They differ where what is seen leaves
the choice: the upper half of a 2 may be that of a 3 or a 7. Pixels that were drawn are shown as their means given the
last hidden units.

The figures are mean squared errors a hidden pixel, grey values from 0 to 1, of test digits: of the mean over
completions, an estimate of the mean of the model's conditional distribution, which has the least error that a
prediction can have where the model is right. Beside it, the training digits' mean, which does not look at the other
half, and ridge regression, the best that is linear in it.

Data: DIR/mnist.npz with `x_train`, `x_test`, (images, rows, columns), uint8, and `y_test`, the classes.

Ackley, Hinton, Sejnowski, "A learning algorithm for Boltzmann machines", Cognitive Science 9, 1985 (completion by
clamping). Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", ICML
2008.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge

from harmonium import RBM
from harmonium.plot import SamplesDisplay


def complete(rbm: RBM, rows: np.ndarray, seen: np.ndarray, n_completions: int, n_steps: int, seed: int) -> np.ndarray:
    """(rows, completions, pixels): means of the hidden pixels in the last Gibbs step, the seen ones as they are."""
    values = np.repeat(rows, n_completions, axis=0)
    drawn = rbm.sample(len(values), n_steps=n_steps, clamp=(seen, values), random_state=seed)
    means = rbm.inverse_transform(rbm.transform(drawn))
    return np.where(seen, values, means).reshape(len(rows), n_completions, -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with mnist.npz")
    parser.add_argument("--output", type=Path, default=Path("inpainting.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_rows, n_hidden, n_epochs, n_measured, n_steps = 60_000, 500, 60, 300, 500
    if arguments.quick:
        n_rows, n_hidden, n_epochs, n_measured, n_steps = 1000, 50, 2, 20, 20
    n_shown, n_averaged = 7, 20

    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as file:
        side, width = file["x_train"].shape[1:]
        train, test = (file[name].reshape(-1, side * width) / np.float32(255) for name in ("x_train", "x_test"))
        classes = file["y_test"]
    train = train[:n_rows]
    generator = np.random.default_rng(arguments.seed)
    order = generator.permutation(len(test))
    test, classes = test[order], classes[order]
    # What is clamped are states, 0 or 1: drawn once from the grey values, as those of training are in every pass.
    bits = (generator.random(test.shape, np.float32) < test).astype(np.float32)
    shown = np.array([np.flatnonzero(classes == digit)[0] for digit in np.unique(classes)])

    rbm = RBM(n_hidden, draw_data=True, n_iter=n_epochs, random_state=arguments.seed, verbose=1).fit(train)
    rbm.verbose = 0
    print(f"{len(train)} digits, {n_hidden} hidden units, {n_epochs} epochs of PCD-1")

    row, column = np.divmod(np.arange(side * width), width)
    figure, axes = plt.subplots(1, 2, figsize=(14, 8.4), layout="constrained")
    for ax, name, seen in ((axes[0], "lower", row < side // 2), (axes[1], "right", column < width // 2)):
        rows, truth = bits[:n_measured], test[:n_measured, ~seen]
        mean = complete(rbm, rows, seen, n_averaged, n_steps, arguments.seed).mean(axis=1)[:, ~seen]
        linear = Ridge(alpha=10.0).fit(train[:, seen], train[:, ~seen]).predict(rows[:, seen])
        constant = train[:, ~seen].mean(axis=0)
        squares = [((guess - truth) ** 2).mean(axis=1) for guess in (mean, linear, constant)]
        errors = [(part.mean(), part.std() / np.sqrt(len(part))) for part in squares]
        texts = [f"{value:.4f} +- {error:.4f}" for value, error in errors]
        print(
            f"{name} half of {len(rows)} test digits, mean squared error: RBM {texts[0]}, ridge regression {texts[1]}, "
            f"training mean {texts[2]}"
        )
        black = (test[shown] > 0.5).astype(np.float32)
        filled = complete(rbm, black, seen, n_shown, n_steps, arguments.seed + 1)
        masked = np.where(seen, black, 0.5)  # the hidden half in grey
        sheet = np.concatenate([test[shown, None], masked[:, None], filled], axis=1).reshape(-1, side, width)
        SamplesDisplay(sheet).plot(
            ax,
            n_columns=2 + n_shown,
            title=f"{name} half hidden: the digit, what is seen, {n_shown} completions\n"
            f"squared error: RBM {errors[0][0]:.4f}, linear {errors[1][0]:.4f}, training mean {errors[2][0]:.4f}",
        )
    figure.suptitle(
        f"Digits completed by an RBM of {n_hidden} hidden units: {n_steps} Gibbs steps with the seen half clamped"
    )
    figure.savefig(arguments.output, dpi=110)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
