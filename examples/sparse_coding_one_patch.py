"""One patch = 0.8 atom + 0.3 atom + 0.5 atom: what a sparse code says, written as an equation of images.

A dictionary is learned from patches of whitened photographs. Then patches of norm 1 are coded so strictly that few
atoms are left. Shown are patches whose codes have three atoms, all added, each with a say, that explain them well. The
lasso chooses the atoms but shrinks the coefficients; the figures are those of least squares on the chosen atoms. At the
right the whole code: zeros, but for three.

Data: DIR/natural_images.npz with `whitened`, (images, rows, columns), Olshausen and Field's ten pictures.

Olshausen, Field, "Emergence of simple-cell receptive field properties by learning a sparse code for natural images",
Nature 381, 1996.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from harmonium import SparseCoding, sparse_encode
from harmonium.image import extract_patches_2d

SIDE, MARGIN = 16, 8  # the filter that made the images wraps around at their borders
N_ATOMS, N_TERMS, N_SHOWN = 256, 3, 4


def least_squares(x: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(atoms.T, x, rcond=None)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with natural_images.npz")
    parser.add_argument("--output", type=Path, default=Path("sparse_coding_one_patch.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_patches, n_passes = (500, 1) if arguments.quick else (10_000, 4)

    with np.load(arguments.data / "natural_images.npz", allow_pickle=False) as file:
        images = file["whitened"]
    images /= images.std(axis=(1, 2), keepdims=True)
    patches = extract_patches_2d(
        images, (SIDE, SIDE), max_patches=n_patches, margin=MARGIN, remove_mean=True, random_state=arguments.seed
    )
    coding = SparseCoding(
        N_ATOMS,
        alpha=2.5,
        max_iter=n_passes,
        tol=0,
        max_no_improvement=None,
        random_state=arguments.seed,
        verbose=1,
    ).fit(patches)
    atoms = coding.components_

    X = patches[:]
    norms = np.linalg.norm(X, axis=1)
    X = X[norms > np.median(norms)]  # not of empty sky
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    codes = np.vstack([sparse_encode(X[i : i + 4096], atoms, alpha=0.25, tol=1e-4) for i in range(0, len(X), 4096)])
    of_three = np.flatnonzero((codes != 0).sum(axis=1) == N_TERMS)
    share, least = np.empty((2, len(of_three)))
    for i, row in enumerate(of_three):
        chosen = np.flatnonzero(codes[row])
        codes[row, chosen] = least_squares(X[row], atoms[chosen])
        share[i] = 1 - np.square(X[row] - codes[row] @ atoms).sum()
        least[i] = codes[row, chosen].min()
    print(f"{len(X)} patches of norm 1 coded; of {N_TERMS} atoms each are {len(of_three)}")
    print(f"these explain {100 * share.mean():.1f} % of a patch's power in the mean, {100 * share.max():.1f} % at best")

    rows: list[int] = []
    for row in of_three[np.argsort(-share - least, kind="stable")]:
        if len(rows) < N_SHOWN and not (codes[rows] != 0).any(axis=0)[codes[row] != 0].any():
            rows.append(int(row))
    figure = plt.figure(figsize=(16, 1.8 * len(rows) + 1.0), layout="constrained")
    axes = figure.subplots(len(rows), 3 + N_TERMS, width_ratios=[1.75, *[2.75] * N_TERMS, 2.2, 2.2], squeeze=False)

    approximately = r"$\approx$ "

    def draw(ax, image: np.ndarray, limit: float, before: str = "") -> None:
        ax.imshow(image.reshape(SIDE, SIDE), cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[], anchor="E")
        ax.spines[:].set_color("0.7")
        ax.text(-0.06, 0.5, before, transform=ax.transAxes, ha="right", va="center", fontsize=16, in_layout=False)

    for line, row in zip(axes, rows, strict=True):
        limit = np.abs(X[row]).max()
        chosen = np.argsort(-np.abs(codes[row]), kind="stable")[:N_TERMS]
        draw(line[0], X[row], limit)
        for k, (ax, atom) in enumerate(zip(line[1:-2], chosen, strict=True)):
            value = codes[row, atom]
            sign = r"$-$" if value < 0 else "$+$" if k else ""
            before = rf"{'' if k else approximately}{sign} {abs(value):.2f} $\times$"
            draw(ax, atoms[atom], np.abs(atoms[atom]).max(), before)
        sum_of_atoms = codes[row] @ atoms
        draw(line[-2], sum_of_atoms, limit, "=")
        explained = 1 - np.square(X[row] - sum_of_atoms).sum()
        line[-2].set_xlabel(f"{explained:.0%} of the power")
        terms = " ".join(f"{codes[row, atom]:+.2f} a{atom}" for atom in chosen)
        print(f"a patch = {terms}, {100 * explained:.1f} % of its power")
        line[-1].stem(np.arange(N_ATOMS), codes[row], linefmt="tab:red", markerfmt=" ", basefmt="k-")
        line[-1].set(xlim=(0, N_ATOMS), ylim=(-1.05, 1.05), yticks=[-1, 0, 1], xticks=[])
        line[-1].spines[["top", "right"]].set_visible(False)
    axes[-1, -1].set(xticks=[0, N_ATOMS], xlabel="atom")
    titles = ["patch", *("atom" for _ in range(N_TERMS)), "sum", f"the code: {N_TERMS} of {N_ATOMS}"]
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    figure.suptitle(
        "A patch of a whitened photograph is a sum of few atoms (patch and atoms of norm 1; red: above 0, blue: below)",
        fontsize="x-large",
    )
    figure.savefig(arguments.output, dpi=90)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
