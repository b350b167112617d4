"""Motifs of a protein family, found by an RBM with one categorical unit for each site.

Above, the alignment as the usual logo: a letter is as tall as its amino acid is frequent times the information at the
site. Below, the weights of the strongest hidden units in the same manner: letters above the line switch the unit on,
those below switch it off, so a unit says which residues go together, also at distant sites; grey boxes are gaps. Beside
them, how strongly each pair of sites is coupled through all hidden units, less what the two sites' mean strengths
account for: pairs that stand out are often in contact in the folded protein. In the WW domain 8-19 and 6-21 are such
pairs, of strands that lie side by side and run against each other: the sum of the site numbers stays the same. The
title compares the log-likelihood of sequences that were held out with that of independent sites.

Similar sequences share their weight: each counts as one over the number of those that it differs from in at most a
fifth of the sites. None of the training set's sequences is among the held out ones, but relatives are.

Data: DIR/protein_msa.npz with `alphabet` and, for each family, codes of shape (sequences, sites).

Tubiana, Cocco, Monasson, "Learning protein constitutive motifs from sequence data", eLife 8, 2019.
Dunn, Wahl, Gloor, "Mutual information without the influence of phylogeny or entropy dramatically improves residue
contact prediction", Bioinformatics 24, 2008 (the correction by mean strengths).
Schneider, Stephens, "Sequence logos: a new way to display consensus sequences", Nucleic Acids Research 18, 1990.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from harmonium import RBM

CHEMISTRY = {"AVILMFWC": "0.15", "STNQYH": "tab:green", "KR": "tab:blue", "DE": "tab:red", "GP": "tab:orange"}
FAR = 4  # sites: closer ones are neighbours along the chain anyway
COLOURS = {letter: colour for letters, colour in CHEMISTRY.items() for letter in letters} | {"-": "0.6"}


def draw_logo(ax: plt.Axes, heights: np.ndarray, alphabet: str, title: str) -> None:
    """Letters of these heights (sites, letters), the tallest outermost; negative ones hang below the line.

    Those too small to read are left out.
    """
    for site, column in enumerate(heights):
        for sign in (1, -1):
            level = 0.0
            for k in np.argsort(np.abs(column)):
                height = abs(column[k])
                if sign * column[k] > 0 and height > 0.08 * np.abs(heights).max():
                    path = TextPath((0, 0), alphabet[k], size=1)
                    box = path.get_extents()
                    bottom = level if sign > 0 else -level - height
                    place = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, height / box.height)
                    place.translate(site + 0.55, bottom)
                    ax.add_patch(PathPatch(place.transform_path(path), color=COLOURS.get(alphabet[k], "0.4"), lw=0))
                    level += height
    up, down = (np.clip(part, 0, None).sum(axis=1).max() for part in (heights, -heights))
    ax.set(xlim=(0.4, len(heights) + 0.6), ylim=(-1.05 * down, 1.05 * up + 1e-9))
    ax.axhline(0, color="0.3", lw=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, loc="left", fontsize="medium")


def family_weights(X: np.ndarray) -> np.ndarray:
    """One over the number of sequences that differ in at most a fifth of the sites, the sequence itself included."""
    one_hot = np.eye(X.max() + 1, dtype=np.float32)[X].reshape(len(X), -1)
    parts = (one_hot[start : start + 1000] @ one_hot.T for start in range(0, len(X), 1000))
    return np.concatenate([1 / (same >= 0.8 * X.shape[1]).sum(axis=1) for same in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with protein_msa.npz")
    parser.add_argument("--family", default="ww", help="name of the array (default: ww)")
    parser.add_argument("--output", type=Path, default=Path("protein_families.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_rows, n_hidden, n_epochs, n_betas = (500, 10, 3, 100) if arguments.quick else (None, 100, 300, 5000)

    with np.load(arguments.data / "protein_msa.npz", allow_pickle=False) as file:
        X, alphabet = np.unique(file[arguments.family], axis=0), str(file["alphabet"])
    X = np.random.default_rng(arguments.seed).permutation(X)[:n_rows].astype(np.int64)
    weight = family_weights(X)
    n_train = len(X) * 4 // 5
    train, test, train_weight, test_weight = X[:n_train], X[n_train:], weight[:n_train], weight[n_train:]

    rbm = RBM(
        n_hidden,
        visible="categorical",
        n_categories=len(alphabet),
        l1=0.0008,
        n_iter=n_epochs,
        random_state=arguments.seed,
        verbose=1,
    ).fit(train, sample_weight=train_weight)
    log_z = rbm.log_partition("bracket", n_betas=n_betas, random_state=arguments.seed)
    scores = rbm.log_likelihood(test, log_partition=log_z, return_bracket=True)
    value, lower, upper = (np.average(score, weights=test_weight) for score in scores)
    one_hot = np.eye(len(alphabet))[train]
    frequency = (np.einsum("n,nsa->sa", train_weight, one_hot) + 0.5) / (train_weight.sum() + 0.5 * len(alphabet))
    alone = np.average(np.log(frequency[np.arange(X.shape[1]), test]).sum(axis=1), weights=test_weight)
    result = f"{value:.2f} nats ({lower:.2f} to {upper:.2f}), independent sites {alone:.2f}"
    print(f"{arguments.family}: {len(X)} different sequences of {X.shape[1]} sites, as good as {weight.sum():.0f}")
    print(f"held-out log-likelihood: {result}")

    # The weights of a site may all be shifted by one number: their mean is taken away.
    W = rbm.components_.reshape(n_hidden, X.shape[1], len(alphabet)).astype(np.float64)
    W -= W.mean(axis=2, keepdims=True)
    strongest = np.argsort(-np.linalg.norm(W, axis=(1, 2)))[:5]
    spread = rbm.transform(train).var(axis=0)
    coupling = np.einsum("h,hia,hjb->ijab", spread, W, W, optimize=True)
    coupling = np.linalg.norm(coupling, axis=(2, 3)) * (1 - np.eye(X.shape[1]))
    strength = coupling.sum(axis=0)
    coupling -= np.outer(strength, strength) / strength.sum()
    first, second = np.triu_indices(X.shape[1], FAR)
    best = np.argsort(-coupling[first, second])[:6]
    pairs = ", ".join(f"{first[k] + 1}-{second[k] + 1}" for k in best)
    print(f"strongest couplings of sites at least {FAR} apart: {pairs}")

    figure = plt.figure(figsize=(17, 11), layout="constrained")
    grid = figure.add_gridspec(len(strongest) + 1, 2, width_ratios=(1.9, 1))
    information = np.log2(len(alphabet)) + (frequency * np.log2(frequency)).sum(axis=1, keepdims=True)
    draw_logo(figure.add_subplot(grid[0, 0]), frequency * information, alphabet, f"{arguments.family}: bits")
    for row, unit in enumerate(strongest, start=1):
        share = 100 * np.average(rbm.transform(train)[:, unit], weights=train_weight)
        draw_logo(figure.add_subplot(grid[row, 0]), W[unit], alphabet, f"weights of unit {unit}, on in {share:.0f} %")
    ax = figure.add_subplot(grid[1:, 1])
    ends = (0.5, X.shape[1] + 0.5)
    np.fill_diagonal(coupling, 0)
    limit = coupling.max()
    image = ax.imshow(coupling, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(*ends, *ends[::-1]))
    figure.colorbar(image, ax=ax, shrink=0.7, label="coupling (Frobenius norm), less the sites' mean strengths")
    ax.scatter(second[best] + 1, first[best] + 1, s=90, marker="s", facecolors="none", edgecolors="black")
    ax.set_title(f"pairs of sites, coupled through the hidden units\nsquares: {pairs}", loc="left", fontsize="medium")
    ax.set(xlabel="site", ylabel="site")
    figure.suptitle(f"RBM of a protein family, {n_hidden} hidden units. Held out: {result}")
    figure.savefig(arguments.output, dpi=100)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
