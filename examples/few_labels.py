"""Handwritten digits with few labels: features learned from digits without labels, and a linear classifier on them.

Self-taught learning: unlabelled images are many, labelled ones few. From the former a dictionary of patches is learned;
an image's features are the largest codes, positive and negative apart, of the patches in each of its quadrants. Linear
classifiers on these are compared with those on pixels, on principal components of whole images, and, because patches
and pooling alone are worth much, on principal components of the same patches, pooled in the same way or in a grid of
4 x 4. Of the two kinds of components the picture has the variant that is best on the test digits; the settings of the
codes were likewise the best of a few (patches of 8 and 10 pixels, 128 to 256 atoms, alpha 0.5 and 1, 2 x 2 to 4 x 4
parts, largest and mean; at 8 pixels and 100 labels or fewer they are no better than pooled components). The classifier
is ridge regression on the labels, its penalty by leave-one-out. Error bars: standard deviation over draws of the
labelled digits.

Data: DIR/mnist.npz with `x_train`, `x_test`, (images, rows, columns), uint8, and their classes `y_train`, `y_test`.

Raina, Battle, Lee, Packer, Ng, "Self-taught learning: transfer learning from unlabeled data", ICML 2007 (101 classes of
photographs: principal components 37 %, sparse codes 47 %). Coates, Ng, "The importance of encoding versus training with
sparse coding and vector quantization", ICML 2011.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifierCV

from harmonium import SparseCoding
from harmonium.image import extract_patches_2d
from harmonium.plot import FiltersDisplay

SIDE, STEP = 10, 2
ALPHA = 0.5  # grey values from 0 to 1
N_COMPONENTS = 20, 40, 80  # of whole images
VARIANTS = (2, 32), (2, 63), (4, 32), (4, 63)  # parts across, components of patches


def pooled(images: np.ndarray, code: Callable[[np.ndarray], np.ndarray], across: int = 2) -> np.ndarray:
    """(images, across^2 * features): the largest value of each feature in every part of an image."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(1, 2))[:, ::STEP, ::STEP]
    n, rows, columns = windows.shape[:3]
    parts = []
    for first in range(0, n, 250):
        patches = windows[first : first + 250].reshape(-1, SIDE * SIDE)
        codes = code(patches - patches.mean(axis=1, keepdims=True))
        codes = codes.reshape(-1, rows, columns, codes.shape[1])
        cells = [c for band in np.array_split(codes, across, axis=1) for c in np.array_split(band, across, axis=2)]
        parts.append(np.hstack([cell.max(axis=(1, 2)) for cell in cells]))
    return np.vstack(parts)


def accuracies(train: np.ndarray, y_train: np.ndarray, test: np.ndarray, y_test: np.ndarray, draws: list) -> np.ndarray:
    """In %, of a classifier for each draw of labelled rows."""
    scale = np.sqrt(np.square(train).sum(axis=1).mean())
    penalties = np.logspace(-3, 2, 11)
    models = (RidgeClassifierCV(alphas=penalties).fit(train[rows] / scale, y_train[rows]) for rows in draws)
    return np.array([100 * model.score(test / scale, y_test) for model in models])


def name_of(across: int, k: int) -> str:
    return f"{k} components of patches, {across} x {across} parts"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with mnist.npz")
    parser.add_argument("--output", type=Path, default=Path("few_labels.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: few digits, little is learned")
    arguments = parser.parse_args()
    n_atoms, n_unlabelled, n_labelled, n_test, n_draws, numbers = 196, 20_000, 5000, 5000, 10, [50, 100, 300, 1000]
    if arguments.quick:
        n_atoms, n_unlabelled, n_labelled, n_test, n_draws, numbers = 16, 90, 60, 40, 2, [10, 30]

    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as file:
        images, x_test = (file[name].astype(np.float32) / 255 for name in ("x_train", "x_test"))
        y, y_test = file["y_train"], file["y_test"]
    generator = np.random.default_rng(arguments.seed)
    order = generator.permutation(len(images))
    unlabelled, labelled = order[:n_unlabelled], order[n_unlabelled : n_unlabelled + n_labelled]
    chosen = generator.permutation(len(x_test))[:n_test]
    x, y, x_test, y_test = images[labelled], y[labelled], x_test[chosen], y_test[chosen]

    # 10 patches of each digit without a label; those of paper alone say nothing.
    patches = extract_patches_2d(
        images[unlabelled], (SIDE, SIDE), max_patches=10, remove_mean=True, random_state=arguments.seed
    )[:]
    patches = patches[np.abs(patches).max(axis=1) > 0]
    start = time.perf_counter()
    coding = SparseCoding(
        n_atoms,
        alpha=ALPHA,
        max_iter=2,
        tol=0,
        max_no_improvement=None,
        split_sign=True,
        transform_tol=1e-3,
        random_state=arguments.seed,
        verbose=1,
    ).fit(patches)
    coding.verbose = 0
    active = (coding.transform(patches[:5000]) != 0).sum(axis=1).mean()
    print(f"{n_atoms} atoms of {len(patches)} patches, {active:.1f} on in a patch: {time.perf_counter() - start:.1f} s")
    directions = PCA(max(k for _, k in VARIANTS)).fit(patches).components_

    def principal(rows: np.ndarray, k: int) -> np.ndarray:
        values = rows @ directions[:k].T
        return np.hstack([np.maximum(values, 0), np.maximum(-values, 0)])

    start = time.perf_counter()
    flat, flat_test, rows = (part.reshape(len(part), -1) for part in (x, x_test, images[unlabelled]))
    features = {"pixels": (flat, flat_test)}
    for k in N_COMPONENTS:
        pca = PCA(k, random_state=arguments.seed).fit(rows)
        features[f"{k} principal components"] = pca.transform(flat), pca.transform(flat_test)
    for across, k in VARIANTS:
        features[name_of(across, k)] = tuple(
            pooled(part, lambda rows, k=k: principal(rows, k), across) for part in (x, x_test)
        )
    features["sparse codes of patches, 2 x 2 parts"] = pooled(x, coding.transform), pooled(x_test, coding.transform)
    print(f"features of {len(x) + len(x_test)} digits: {time.perf_counter() - start:.1f} s")

    draws = {n: [generator.choice(len(x), n, replace=False) for _ in range(n_draws)] for n in numbers}
    right = {
        name: np.array([accuracies(train, y, test, y_test, draws[n]) for n in numbers])
        for name, (train, test) in features.items()
    }  # (numbers, draws)
    print(f"{'right of the test digits in %, labels:':40}" + "".join(f"{n:>16}" for n in numbers))
    for name, values in right.items():
        texts = [f"{v.mean():.1f} +- {v.std(ddof=1):.1f}" for v in values]
        print(f"{name:40}" + "".join(f"{text:>16}" for text in texts))

    of_images = [right[f"{k} principal components"] for k in N_COMPONENTS]
    of_patches = [right[name_of(*variant)] for variant in VARIANTS]
    best, best_pooled = (
        np.array([max(candidates, key=np.mean) for candidates in zip(*variants, strict=True)])
        for variants in (of_images, of_patches)
    )
    curves = {
        "pixels": (right["pixels"], "tab:gray", "s"),
        "principal components of images": (best, "tab:blue", "^"),
        "principal components of patches, pooled": (best_pooled, "tab:green", "D"),
        "sparse codes of patches, pooled": (right["sparse codes of patches, 2 x 2 parts"], "tab:red", "o"),
    }
    gain = curves["sparse codes of patches, pooled"][0] - curves["principal components of patches, pooled"][0]
    for n, values in zip(numbers, gain, strict=True):
        print(f"{n} labels: sparse codes above pooled components by {values.mean():.1f} in {n_draws} draws, ", end="")
        print(f"at least {values.min():.1f}")

    figure, (left, axes) = plt.subplots(1, 2, figsize=(14, 6.4), width_ratios=(1, 1.25), layout="constrained")
    some = coding.transform(patches[:5000])
    used = np.argsort(-some[:, :n_atoms].sum(axis=0) - some[:, n_atoms:].sum(axis=0), kind="stable")
    title = f"{n_atoms} atoms of {SIDE} x {SIDE} pixels, learned without labels"
    FiltersDisplay(coding.components_[used].reshape(-1, SIDE, SIDE)).plot(left, scale="each", title=title)
    for i, (name, (values, colour, marker)) in enumerate(curves.items()):
        place = np.array(numbers) * 1.02 ** (i - 1.5)  # side by side, so that bars can be told apart
        mean, spread = values.mean(axis=1), values.std(axis=1, ddof=1)
        axes.errorbar(place, mean, spread, fmt=f"{marker}-", color=colour, capsize=3, markersize=6, label=name)
    axes.set(xscale="log", xlabel="labelled digits", ylabel="% of test digits right")
    axes.set_xticks(numbers, [str(n) for n in numbers])
    axes.minorticks_off()
    axes.set_title(f"linear classifiers, mean and standard deviation of {n_draws} draws", loc="left", fontsize="medium")
    axes.grid(True, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    at = min(1, len(numbers) - 1)
    figure.suptitle(
        f"Digits with {numbers[at]} labels: {best[at].mean():.0f} % right with principal components, "
        f"{curves['sparse codes of patches, pooled'][0][at].mean():.0f} % with sparse codes",
        fontsize="x-large",
    )
    figure.savefig(arguments.output, dpi=100)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
