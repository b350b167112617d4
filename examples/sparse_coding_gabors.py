"""Atoms for natural images: sparse coding finds Gabor functions, the receptive fields of simple cells.

Patches are cut from whitened photographs as they are read, and a dictionary is learned in which few atoms make up each
of them. The picture has all atoms, those most used first: each sits in its own place (localised), has a direction
(oriented) and a width of its stripes (band-pass). To put a figure on it, every atom is fitted by a Gabor function, a
gaussian times a wave. At the right some atoms with their fits, from the best to the worst, and the strongest waves of
all that are fitted well: their directions and spatial frequencies.

For comparison the same fits are made to patches of the images, which are not of that kind.

Data: DIR/natural_images.npz with `whitened`, (images, rows, columns), Olshausen and Field's ten pictures.

Olshausen, Field, "Emergence of simple-cell receptive field properties by learning a sparse code for natural images",
Nature 381, 1996. Mairal, Bach, Ponce, Sapiro, "Online learning for matrix factorization and sparse coding", JMLR 11,
2010.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import least_squares

from harmonium import SparseCoding
from harmonium.image import extract_patches_2d
from harmonium.plot import FiltersDisplay

SIDE, MARGIN = 16, 8  # the filter that made the images wraps around at their borders
ALPHA = 2.5  # pixels have a standard deviation of 1
GOOD = 0.7  # share of an atom's power in its Gabor function from which on it is called one


def band(image: np.ndarray) -> tuple[float, float, float]:
    """Frequency and direction of the strongest wave, and the width of its band at half of its height in octaves."""
    size = 16 * len(image)
    spectrum = np.abs(np.fft.rfft2(image, (size, size)))
    peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
    wave = np.fft.fftfreq(size)[peak[0]], peak[1] / size
    frequency, direction = np.hypot(*wave), np.arctan2(-wave[0], wave[1])  # rows count downwards
    along = np.linspace(0, 4, 801)[:, None]  # times the frequency
    y, x = np.indices(image.shape).reshape(2, 1, -1)
    values = np.abs(np.exp(-2j * np.pi * along * (wave[0] * y + wave[1] * x)) @ image.ravel())
    below = np.flatnonzero(values < values[200] / 2)
    low, high = below[below < 200].max(initial=1), below[below > 200].min(initial=800)
    return frequency, direction, np.log2(high / low)


def gabor(parameters: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The Gabor function of this place, spread and wave, with the best amplitude and phase for the image."""
    row, column, spread_1, spread_2, turn, wave_row, wave_column = parameters
    y, x = np.indices(image.shape) - np.array([row, column])[:, None, None]
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    envelope = np.exp(-0.5 * ((u * np.exp(-spread_1)) ** 2 + (v * np.exp(-spread_2)) ** 2))
    phase = 2 * np.pi * (wave_row * y + wave_column * x)
    pair = np.stack([envelope * np.cos(phase), envelope * np.sin(phase)]).reshape(2, -1)
    amplitudes = np.linalg.solve(pair @ pair.T + 1e-9 * np.eye(2), pair @ image.ravel())
    return (amplitudes @ pair).reshape(image.shape)


def fit_gabor(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The fitted function, and the share of the image's power that it explains."""
    image = image / np.linalg.norm(image)
    power = image**2
    place = np.indices(image.shape).reshape(2, -1)
    centre = place @ power.ravel()
    spread = np.sqrt(2 * ((place - centre[:, None]) ** 2 @ power.ravel()) + 0.25)
    frequency, direction, _ = band(image)
    wave = -frequency * np.sin(direction), frequency * np.cos(direction)
    start = np.array([*centre, np.log(spread[1]), np.log(spread[0]), 0.0, *wave])
    low = [-2, -2, np.log(0.7), np.log(0.7), -10, -0.5, -0.5]
    high = [len(image) + 1, len(image) + 1, np.log(len(image)), np.log(len(image)), 10, 0.5, 0.5]
    start = np.clip(start, np.array(low) + 1e-3, np.array(high) - 1e-3)
    found = least_squares(lambda p: (gabor(p, image) - image).ravel(), start, bounds=(low, high), max_nfev=60)
    return gabor(found.x, image), 1 - 2 * found.cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with natural_images.npz")
    parser.add_argument("--output", type=Path, default=Path("sparse_coding_gabors.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: the picture is drawn, little is learned")
    arguments = parser.parse_args()
    n_atoms, n_patches, n_passes, n_compared = (9, 300, 2, 4) if arguments.quick else (256, 40_000, 4, 100)

    with np.load(arguments.data / "natural_images.npz", allow_pickle=False) as file:
        images = file["whitened"]
    images /= images.std(axis=(1, 2), keepdims=True)
    patches = extract_patches_2d(
        images, (SIDE, SIDE), max_patches=n_patches, margin=MARGIN, remove_mean=True, random_state=arguments.seed
    )
    start = time.perf_counter()
    coding = SparseCoding(
        n_atoms, alpha=ALPHA, max_iter=n_passes, tol=0, max_no_improvement=None, random_state=arguments.seed, verbose=1
    ).fit(patches)
    seconds = time.perf_counter() - start
    coding.verbose = 0
    some = patches[:: max(1, len(patches) // 5000)]
    codes = coding.transform(some)
    active = (codes != 0).sum(axis=1).mean()
    explained = 1 - np.square(some - coding.inverse_transform(codes)).sum() / np.square(some).sum()
    print(f"{n_passes} passes over {len(patches)} patches of {SIDE} x {SIDE}, {n_atoms} atoms: {seconds:.0f} s")
    print(f"{active:.1f} atoms a patch explain {100 * explained:.1f} % of the variance")

    used = np.argsort(-np.abs(codes).sum(axis=0), kind="stable")
    atoms = coding.components_[used].reshape(-1, SIDE, SIDE)
    functions, quality = map(np.array, zip(*map(fit_gabor, atoms), strict=True))
    frequency, direction, width = np.array([band(atom) for atom in atoms]).T
    compared = some[np.abs(some).sum(axis=1) > 0][:n_compared].reshape(-1, SIDE, SIDE)
    others = np.array([fit_gabor(patch)[1] for patch in compared])
    good = quality > GOOD
    for name, values in (("atoms", quality), ("patches", others)):
        share = 100 * (values > GOOD).mean()
        print(f"Gabor functions: {share:.1f} % of the {name} fitted to more than {GOOD:.0%} of their power, ", end="")
        print(f"median {100 * np.median(values):.1f} %")
    print(f"width of an atom's band at half its height, median: {np.median(width):.2f} octaves")

    figure = plt.figure(figsize=(15.5, 9.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.62, 1))
    title = f"{n_atoms} atoms of {SIDE} x {SIDE} pixels, the most used first, each on its own scale"
    FiltersDisplay(atoms).plot(left.subplots(), scale="each", title=title)
    above, below = right.subfigures(2, 1, height_ratios=(1, 1.1))
    shown = np.argsort(-quality, kind="stable")[np.linspace(0, n_atoms - 1, 16).astype(int)]
    pairs = np.stack([atoms[shown], functions[shown]]).reshape(2, 2, 8, SIDE, SIDE).swapaxes(0, 1)
    title = f"atoms, below each its Gabor function: best fit ({quality.max():.0%}) to worst ({quality.min():.0%})"
    FiltersDisplay(pairs.reshape(32, SIDE, SIDE)).plot(above.subplots(), scale="each", n_columns=8, title=title)
    ax = below.add_subplot(projection="polar")
    ax.scatter(direction[good] % np.pi, frequency[good], s=18, color="tab:red", alpha=0.6, linewidths=0)
    ax.set(rlim=(0, 0.3), rticks=[0.1, 0.2, 0.3], thetamin=0, thetamax=180)
    ax.grid(True, alpha=0.4, linewidth=0.6)
    ax.set_title(
        f"the strongest wave of the {good.sum()} atoms with more than {GOOD:.0%} in the fit:\n"
        "direction across its stripes, frequency in cycles a pixel",
        fontsize="medium",
    )
    figure.suptitle(
        f"Sparse coding of whitened photographs: {active:.1f} atoms a patch explain {explained:.0%} of the variance",
        fontsize="x-large",
    )
    figure.savefig(arguments.output, dpi=90)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
