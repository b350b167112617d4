"""A linear autoencoder learns the subspace of the leading principal components.

Without nonlinearities the squared error has one minimum up to a change of basis: the decoder's columns span what the
first k principal components span. The picture shows the largest principal angle between the two subspaces while L-BFGS
runs, and the first filters of both: the subspace is the same, its axes are not.

Data: none to be given, scikit-learn's digits.

Baldi, Hornik, "Neural networks and principal component analysis: learning from examples without local minima", Neural
Networks 2, 1989. Bourlard, Kamp, "Auto-association by multilayer perceptrons and singular value decomposition", 1988.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import subspace_angles
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from harmonium import Autoencoder
from harmonium.plot import FiltersDisplay

N_CODE = 20


class Angles:
    """A callback that records the largest principal angle after each iteration."""

    def __init__(self, axes: np.ndarray) -> None:
        self.axes, self.values = axes, []

    def setup(self, estimator: Any, context: Any) -> None: ...

    def teardown(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        if context.task_name == "epoch":
            self.values.append(float(subspace_angles(estimator.coefs_[-1].T, self.axes).max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="not needed")
    parser.add_argument("--output", type=Path, default=Path("linear_autoencoder_pca.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the iterations")
    arguments = parser.parse_args()

    X = load_digits().data / 16
    X = X - X.mean(axis=0)
    pca = PCA(N_CODE).fit(X)
    angles = Angles(pca.components_.T)
    model = Autoencoder(
        N_CODE,
        activation="identity",
        likelihood="gaussian",
        tied=False,
        solver="lbfgs",
        tol=1e-8,
        max_iter=300 if arguments.quick else 3000,
        random_state=arguments.seed,
    )
    model.set_callbacks(angles).fit(X)
    print(f"largest principal angle after {model.n_iter_} iterations: {angles.values[-1]:.2e} rad")
    errors = [((m.inverse_transform(m.transform(X)) - X) ** 2).sum(axis=1).mean() for m in (model, pca)]
    print(f"squared error a row: autoencoder {errors[0]:.6f}, principal components {errors[1]:.6f}")

    figure, axes = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    axes[0].loglog(np.arange(1, len(angles.values) + 1), angles.values)
    axes[0].axhline(1e-3, color="0.6", linewidth=0.8, linestyle="--")
    axes[0].set(
        xlabel="iteration of L-BFGS", title=f"largest of {N_CODE} principal angles (rad): {angles.values[-1]:.1e}"
    )
    axes[0].spines[["top", "right"]].set_visible(False)
    FiltersDisplay(model.coefs_[-1].reshape(-1, 8, 8)).plot(axes[1], title="decoder of the autoencoder", scale="each")
    FiltersDisplay(pca.components_.reshape(-1, 8, 8)).plot(axes[2], title="principal components", scale="each")
    figure.suptitle("Linear autoencoder and PCA on digits: the same subspace")
    figure.savefig(arguments.output, dpi=120)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
