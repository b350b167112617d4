"""Faces by linear factor models: mean, factors, samples, halves filled in, and how many factors are worth having.

Probabilistic PCA gives every pixel the same noise, factor analysis to each its own: much where faces have an outline,
glasses or a beard, little on forehead and cheeks. Above: the mean face and the noise of factor analysis; its factors
by varimax; faces drawn from the model, without noise; log-likelihood of people that were not in the training set,
against the number of factors. Below: of these people half a face is removed and filled in with its mean given the
other half. The removed half's log-likelihood under both models is in the title.

Data: DIR/olivetti_faces.npz with `images`, (400, 64, 64), ten pictures each of 40 people in order, 0 to 255.

Samaria, Harter, "Parameterisation of a stochastic model for human face identification", WACV 1994 (AT&T Laboratories
Cambridge). Tipping, Bishop, "Probabilistic principal component analysis", J. Royal Statistical Society B 61, 1999.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from harmonium import PPCA, FactorAnalysis
from harmonium.plot import FiltersDisplay, SamplesDisplay

PICTURES, TEST_PEOPLE = 10, 8


def held_out(train: np.ndarray, test: np.ndarray, numbers: list[int]) -> dict[str, list[float]]:
    """Mean log-likelihood of a test face for every number of factors."""
    curves: dict[str, list[float]] = {"PPCA": [], "FactorAnalysis": []}
    for k in numbers:
        for model in (PPCA(k), FactorAnalysis(k)):
            curves[type(model).__name__].append(model.fit(train).score(test))
    return curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with olivetti_faces.npz")
    parser.add_argument("--output", type=Path, default=Path("olivetti_faces.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: few factors are tried, on smaller pictures")
    arguments = parser.parse_args()
    numbers = [0, 5, 20] if arguments.quick else [0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 140]

    with np.load(arguments.data / "olivetti_faces.npz", allow_pickle=False) as file:
        images = file["images"].astype(np.float32) / 255
    if arguments.quick:
        images = images.reshape(len(images), 32, 2, 32, 2).mean(axis=(2, 4))
    side = images.shape[1]
    rows = images.reshape(len(images), -1)
    person = np.random.default_rng(arguments.seed).permutation(len(rows) // PICTURES)
    test_rows = (PICTURES * person[:TEST_PEOPLE, None] + np.arange(PICTURES)).ravel()
    test = rows[test_rows]
    train = np.delete(rows, test_rows, axis=0)

    start = time.perf_counter()
    curves = held_out(train, test, numbers)
    best = {name: numbers[int(np.argmax(curve))] for name, curve in curves.items()}
    print(f"{2 * len(numbers)} fits to {train.shape[0]} faces of {side} x {side}: {time.perf_counter() - start:.1f} s")
    print(f"{'factors':>9}{'PPCA':>12}{'FactorAnalysis':>16}   nats a face, of {TEST_PEOPLE} people held out")
    for k, *scores in zip(numbers, *curves.values(), strict=True):
        print(f"{k:9}{scores[0]:12.1f}{scores[1]:16.1f}")

    fa = FactorAnalysis(best["FactorAnalysis"], rotation="varimax", random_state=arguments.seed).fit(train)
    models = {"PPCA": PPCA(best["PPCA"]).fit(train), "FactorAnalysis": fa}

    # Two pictures of each person; left, right, upper, lower half in turns.
    shown = test[:: PICTURES // 2]
    row, column = np.divmod(np.arange(side * side), side)
    halves = [column < side // 2, column >= side // 2, row < side // 2, row >= side // 2]
    gone = np.stack([halves[i % 4] for i in range(len(shown))])
    seen = np.where(gone, np.nan, shown)
    filled = {name: model.impute(seen) for name, model in models.items()}
    nats = {name: float((m.score_samples(shown) - m.score_samples(seen)).mean()) for name, m in models.items()}
    for name in models:
        error = np.sqrt(np.square(filled[name] - shown)[gone].mean())
        print(f"{name}, {best[name]} factors: removed halves {nats[name]:.0f} nats, r.m.s. error {error:.3f} of 1")

    figure = plt.figure(figsize=(18, 10.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.12, 1))
    left, middle, right, last = above.subplots(1, 4, width_ratios=(0.42, 1, 1, 1))
    left.set_axis_off()
    noise = np.sqrt(fa.noise_variance_)
    for place, picture, title, cmap in (
        ((0, 0.52, 1, 0.42), fa.mean_, "mean", "gray"),
        ((0, 0.02, 1, 0.42), noise / noise.max(), f"noise, up to {noise.max():.2f}", "magma"),
    ):
        SamplesDisplay(picture.reshape(1, side, side)).plot(left.inset_axes(place), cmap=cmap, title=title)
    FiltersDisplay.from_estimator(
        fa, n_filters=25, scale="each", ax=middle, title=f"{min(25, best['FactorAnalysis'])} factors, turned by varimax"
    )
    drawn = fa.inverse_transform(np.random.default_rng(arguments.seed).standard_normal((25, fa.components_.shape[0])))
    SamplesDisplay(np.clip(drawn, 0, 1).reshape(-1, side, side)).plot(right, cmap="gray", title="drawn from the model")
    for (name, curve), colour in zip(curves.items(), ("tab:gray", "tab:red"), strict=True):
        last.plot(numbers, curve, "o-", color=colour, ms=4, label=f"{name}: best at {best[name]}")
        last.plot(best[name], max(curve), "o", color=colour, ms=9, mfc="none")
    last.set(xlabel="factors", ylabel="nats a face")
    low = np.median([value for curve in curves.values() for value in curve]) - 1500
    last.set_ylim(bottom=max(low, min(min(curve) for curve in curves.values()) - 50))
    last.set_title("log-likelihood of people held out", loc="left", fontsize="medium")
    last.spines[["top", "right"]].set_visible(False)
    last.grid(True, alpha=0.25, linewidth=0.6)
    last.legend(frameon=False, loc="lower center")

    ax = below.subplots()
    names = ["seen", *models, "truth"]
    lines = [np.where(gone, 0.5, shown), *(np.clip(f, 0, 1) for f in filled.values()), shown]
    SamplesDisplay(np.concatenate(lines).reshape(-1, side, side)).plot(ax, n_columns=len(shown), cmap="gray")
    height = ax.get_ylim()[0] / len(names)
    for i, name in enumerate(names):
        ax.text(-0.006 * ax.get_xlim()[1], (i + 0.5) * height, name, ha="right", va="center", fontsize="large")
    words = ", ".join(f"{name} {value:.0f}" for name, value in nats.items())
    ax.set_title(f"half of a face filled in given the other; log-likelihood of the removed half in nats: {words}")
    figure.suptitle("Olivetti faces by linear factor models", fontsize="x-large")
    figure.savefig(arguments.output, dpi=90)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
