"""A photograph without its noise: overlapping patches, each coded by the few atoms that stand out of the noise.

Noise of a known standard deviation is added to a photograph. Its patches of 8 x 8 pixels, all that there are, are coded
on a dictionary, and the image is the mean of what the codes say of each pixel, 64 times but at the borders. Noise has
no sparse code: the penalty is sigma sqrt(2 log n_atoms), which noise alone hardly ever exceeds. A lasso that strict
shrinks what it finds, so its atoms are kept and their codes found once more with hardly any penalty.

Two dictionaries: of other photographs, landscapes without a building, and of the noisy photograph itself, which needs
no other data and knows its textures; the picture has what the latter gives. For comparison the gaussian and the median
filter, each with the width that is best for this photograph. The figures are peak signal-to-noise ratios in dB.

The photograph comes with scikit-learn ("china.jpg"). Data: DIR/natural_images.npz with `raw`, (images, rows, columns),
uint8, Olshausen and Field's ten pictures, for the first dictionary.

Elad, Aharon, "Image denoising via sparse and redundant representations over learned dictionaries", IEEE Transactions on
Image Processing 15, 2006. Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81, 1994.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage
from sklearn.datasets import load_sample_image

from harmonium import SparseCoding, sparse_encode
from harmonium.image import Patches, extract_patches_2d, reconstruct_from_patches_2d
from harmonium.plot import FiltersDisplay

SIDE = 8
SIGMA = 20.0  # of the noise, of grey values up to 255


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(np.clip(image, 0, 255) - truth).mean()))


def cleaned(patches: Patches, atoms: np.ndarray, alpha: float) -> Iterator[np.ndarray]:
    """Patches as their codes have them, batch by batch."""
    for batch in patches.batches(4096):
        mean = batch.mean(axis=1, keepdims=True)
        codes = sparse_encode(batch - mean, atoms, alpha=alpha, tol=1e-3)
        # Again on the same atoms, the others out of reach: without the shrinkage.
        codes = sparse_encode(batch - mean, atoms, alpha=np.where(codes != 0, 0.003 * alpha, 1e6), tol=1e-2, init=codes)
        yield codes @ atoms + mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with natural_images.npz")
    parser.add_argument("--output", type=Path, default=Path("denoising.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="seconds: part of the photograph, little is learned")
    arguments = parser.parse_args()
    n_atoms, n_others, n_passes = (32, 100, 1) if arguments.quick else (256, 20_000, 2)

    with np.load(arguments.data / "natural_images.npz", allow_pickle=False) as file:
        others = file["raw"].astype(np.float32)
    truth = load_sample_image("china.jpg").astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    if arguments.quick:
        truth = truth[160:208, 260:308]
    noise = np.random.default_rng(arguments.seed).standard_normal(truth.shape, np.float32)
    noisy = truth + np.float32(SIGMA) * noise

    patches = extract_patches_2d(noisy, (SIDE, SIDE))
    sources = {
        "other photographs": extract_patches_2d(
            others, (SIDE, SIDE), max_patches=n_others, remove_mean=True, random_state=arguments.seed
        ),
        "the noisy photograph": extract_patches_2d(noisy, (SIDE, SIDE), remove_mean=True),
    }
    alpha = SIGMA * np.sqrt(2 * np.log(n_atoms))
    print(f"{truth.shape[0]} x {truth.shape[1]} pixels, noise of {SIGMA:g}, alpha {alpha:.1f}, {n_atoms} atoms")
    results, dictionaries = {}, {}
    for name, source in sources.items():
        start = time.perf_counter()
        coding = SparseCoding(
            n_atoms,
            alpha=2 * SIGMA,
            max_iter=n_passes,
            tol=0,
            max_no_improvement=None,
            random_state=arguments.seed,
            verbose=1,
        ).fit(source)
        learned = time.perf_counter()
        dictionaries[name] = coding.components_
        results[name] = reconstruct_from_patches_2d(
            cleaned(patches, coding.components_, alpha), truth.shape, (SIDE, SIDE)
        )
        print(
            f"atoms of {name}: {len(source)} patches learned in {learned - start:.1f} s, "
            f"{len(patches)} coded in {time.perf_counter() - learned:.1f} s"
        )
    filters = {
        "gaussian filter": [ndimage.gaussian_filter(noisy, width) for width in np.arange(0.3, 3, 0.05)],
        "median filter": [ndimage.median_filter(noisy, size) for size in (2, 3, 4, 5, 7)],
    }
    for name, images in filters.items():
        results[name] = max(images, key=lambda image: psnr(image, truth))
    figures = {name: psnr(image, truth) for name, image in {"noisy": noisy, **results}.items()}
    for name, value in figures.items():
        print(f"{value:6.2f} dB  {'sparse codes, atoms of ' if name in sources else ''}{name}")

    best = "the noisy photograph"
    shown = {
        f"with noise: {figures['noisy']:.1f} dB": noisy,
        f"gaussian filter at its best: {figures['gaussian filter']:.1f} dB": results["gaussian filter"],
        f"sparse codes: {figures[best]:.1f} dB": results[best],
        "original": truth,
    }
    figure = plt.figure(figsize=(18, 7.9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.15))
    height, width = truth.shape
    part = min(160, height, width)
    top, left = (0, 0) if arguments.quick else (150, 250)
    for ax, (title, image) in zip(above.subplots(1, 4), shown.items(), strict=True):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.add_patch(plt.Rectangle((left - 0.5, top - 0.5), part, part, fill=False, color="tab:red", linewidth=1.2))
        ax.set_title(title, fontsize="large")
        ax.set_axis_off()
    *axes, last = below.subplots(1, 5)
    for ax, image in zip(axes, shown.values(), strict=True):
        ax.imshow(image[top : top + part, left : left + part], cmap="gray", vmin=0, vmax=255)
        ax.set_axis_off()
    axes[0].set_title("the part in the frame", loc="left", fontsize="medium")
    atoms = dictionaries[best]
    some = sources[best][:: max(1, len(patches) // 5000)]
    used = np.argsort(-np.abs(sparse_encode(some, atoms, alpha=alpha, tol=1e-3)).sum(axis=0), kind="stable")[:64]
    title = f"the {len(used)} most used of {n_atoms} atoms"
    FiltersDisplay(atoms[used].reshape(-1, SIDE, SIDE)).plot(last, scale="each", title=title)
    figure.suptitle(
        f"Noise of {SIGMA:g} taken out by sparse codes of all patches of {SIDE} x {SIDE}: "
        f"{figures[best] - figures['noisy']:.1f} dB gained, by the gaussian filter "
        f"{figures['gaussian filter'] - figures['noisy']:.1f} dB",
        fontsize="x-large",
    )
    figure.savefig(arguments.output, dpi=90)
    print(f"picture: {arguments.output}")


if __name__ == "__main__":
    main()
