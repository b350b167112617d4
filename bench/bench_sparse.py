"""Sparse coding beside scikit-learn: codes, dictionaries, and a stream of patches. Data: Olshausen's whitened images.

1. Codes of held-out patches, one thread, against scikit-learn's lasso_cd on the same rows and dictionary, in turns, at
   8 x 8 pixels with 128 atoms, 12 x 12 with 256 and 16 x 16 with 1024; at 12 x 12 against our ISTA and FISTA too.
   Checked first: every row's relative duality gap is at most 1e-6, recomputed here in float64, and never more than the
   gap reported; objectives are within their gaps of solutions at 1e-12.
2. The second thread.
3. Dictionary learning: one pass over 20,000 patches of 12 x 12, 256 atoms, against MiniBatchDictionaryLearning with
   fit_algorithm="cd", all cores, from the same start; mean objective of held-out patches after it.
4. A dictionary learned from 1,000,000 patches, cut as they are read, in a process of its own: its peak memory.

    python bench/bench_sparse.py [--data DIR]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.decomposition import sparse_encode as scikit_sparse_encode
from sklearn.exceptions import ConvergenceWarning

import measure
from harmonium import SparseCoding, sparse_encode
from harmonium.image import extract_patches_2d

SHAPES = ((8, 128, 2000), (12, 256, 2000), (16, 1024, 500))  # pixels a side, atoms, rows coded
ALPHA = 1.0  # images are scaled to variance 1
GAP = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_data_option(parser)
    parser.add_argument("--parts", nargs="+", metavar="NAME", help="of: codes threads learning streaming")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stream-patches", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data or HARMONIUM_DATA is needed: a folder with natural_images.npz")
    if arguments.stream:
        stream(arguments)
        return
    measure.introduce("sparse coding")
    parts = {"codes": codes, "threads": second_thread, "learning": learning, "streaming": streaming}
    results = {name: parts[name](arguments) for name in arguments.parts or parts}
    measure.write("sparse", results, arguments.output)


def images(folder: Path | str) -> np.ndarray:
    with np.load(Path(folder) / "natural_images.npz", allow_pickle=False) as file:
        whitened = file["whitened"]
    return whitened / whitened.std()


def patches(folder: Path | str, side: int, n: int, seed: int) -> np.ndarray:
    """Float64 patches, n in all; the filter wraps at the borders, so these are left out."""
    cut = extract_patches_2d(images(folder), (side, side), max_patches=-(-n // 10), margin=8, random_state=seed)
    order = np.random.default_rng(seed).permutation(len(cut))[:n]
    return cut[order].astype(np.float64)


def certificates(X: np.ndarray, D: np.ndarray, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Objectives and duality gaps in float64."""
    X, D, H = (a.astype(np.float64) for a in (X, D, H))
    R = X - H @ D
    objective = 0.5 * (R**2).sum(axis=1) + ALPHA * np.abs(H).sum(axis=1)
    s = np.minimum(1, ALPHA / np.abs(R @ D.T).max(axis=1))[:, None]
    return objective, objective - 0.5 * (X**2).sum(axis=1) + 0.5 * ((X - s * R) ** 2).sum(axis=1)


# -- codes -------------------------------------------------------------------------------------------------------


def codes(arguments: argparse.Namespace) -> dict[str, Any]:
    found = {}
    for side, atoms, rows in SHAPES:
        learned = SparseCoding(atoms, alpha=ALPHA, max_iter=2, tol=0, max_no_improvement=None, random_state=0)
        D = np.ascontiguousarray(learned.fit(patches(arguments.data, side, 20_000, 0)).components_)
        found[f"{side * side} x {atoms}"] = _codes(patches(arguments.data, side, rows, 1), D, arguments.rounds)
    return found


def _codes(X: np.ndarray, D: np.ndarray, rounds: int) -> dict[str, Any]:
    single = X.astype(np.float32), D.astype(np.float32)
    ours = {
        "cd": partial(sparse_encode, X, D, alpha=ALPHA),
        "cd, float32": partial(sparse_encode, *single, alpha=ALPHA),
    }
    if len(D) == 256:
        ours["fista"] = partial(sparse_encode, X, D, alpha=ALPHA, algorithm="fista")
        ours["ista"] = partial(sparse_encode, X[:100], D, alpha=ALPHA, algorithm="ista")
    theirs = partial(scikit_sparse_encode, X, D, algorithm="lasso_cd", alpha=ALPHA, max_iter=10_000, n_jobs=1)
    best, _ = certificates(X, D, sparse_encode(X, D, alpha=ALPHA, tol=1e-12))
    entry: dict[str, Any] = {"rows": len(X), "non-zeros": float((ours["cd"]() != 0).sum(axis=1).mean()), "ours": {}}
    print(f"\n{X.shape[1]} pixels, {len(D)} atoms, {entry['non-zeros']:.1f} codes not zero a row, one thread")
    with measure.threads(1):
        for name, call in ours.items():
            H, gaps = call(return_gap=True)
            x, d = single if name == "cd, float32" else (X[: len(H)], D)
            objective, again = certificates(x, d, H)
            assert (again <= gaps + 1e-6).all(), f"{name}: a gap reported is {(again - gaps).max():.2g} too small"
            if name != "cd, float32":
                assert (objective - best[: len(H)] <= gaps + 1e-9).all(), f"{name}: an objective is above its gap"
            entry["ours"][name] = {"largest relative gap": float((again / objective).max())}
            assert entry["ours"][name]["largest relative gap"] <= GAP * (1 + 1e-6), entry
        _, gap = certificates(X, D, theirs())
        entry["largest relative gap of scikit-learn"] = float((gap / best).max())
        taken = measure.alternate({"scikit-learn": theirs, **ours}, rounds)
    for name, seconds in taken.items():
        rows = 100 if name == "ista" else len(X)
        micro = [1e6 * s / rows for s in seconds]
        line = f"{name:14}{measure.spread(micro)['median']:9.1f} us a row"
        if name == "scikit-learn":
            theirs_micro = micro
        else:
            entry["ours"][name]["ratio"] = measure.ratios(theirs_micro, micro)
            line += f"   {measure.times(entry['ours'][name]['ratio'])}"
            line += f", largest relative gap {entry['ours'][name]['largest relative gap']:.1e}"
        print(line)
        entry.setdefault("microseconds a row", {})[name] = micro
    return entry


def second_thread(arguments: argparse.Namespace) -> dict[str, Any]:
    X = patches(arguments.data, 12, 20_000, 0)
    D = SparseCoding(256, alpha=ALPHA, max_iter=1, random_state=0).fit(X).components_
    taken = measure.alternate(
        {n: partial(sparse_encode, X, D, alpha=ALPHA, n_jobs=n) for n in (1, 2)}, arguments.rounds
    )
    ratio = measure.ratios(taken[1], taken[2])
    print(f"\nthe second thread, 20000 rows on 256 atoms: {measure.times(ratio)}")
    return {"seconds": taken, "ratio": ratio}


# -- dictionaries ------------------------------------------------------------------------------------------------


def learning(arguments: argparse.Namespace) -> dict[str, Any]:
    X, held_out = patches(arguments.data, 12, 20_000, 0), patches(arguments.data, 12, 2_000, 1)
    start = X[:256] / np.linalg.norm(X[:256], axis=1, keepdims=True)
    options = {"n_components": 256, "alpha": ALPHA, "max_iter": 1, "dict_init": start, "random_state": 0}
    scikit = {**options, "fit_algorithm": "cd", "batch_size": 256}
    fits = {
        "harmonium": lambda: SparseCoding(**options).fit(X),
        "harmonium, float32": lambda: SparseCoding(**options).fit(X.astype(np.float32)),
        "scikit-learn": lambda: MiniBatchDictionaryLearning(**scikit).fit(X),
        "scikit-learn, n_jobs=-1": lambda: MiniBatchDictionaryLearning(**scikit, n_jobs=-1).fit(X),
    }
    print(f"\none pass over 20000 patches of 12 x 12, 256 atoms, {measure.n_cores()} cores")
    found: dict[str, Any] = {"held-out objective": {}, "ratio": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, fit in fits.items():
            D = fit().components_.astype(np.float64)
            objective, _ = certificates(held_out, D, sparse_encode(held_out, D, alpha=ALPHA))
            found["held-out objective"][name] = float(objective.mean())
        taken = measure.alternate(fits, min(arguments.rounds, 3))
    found["seconds"] = taken
    fastest = min(("scikit-learn", "scikit-learn, n_jobs=-1"), key=lambda name: np.median(taken[name]))
    for name, seconds in taken.items():
        ratio = measure.ratios(taken[fastest], seconds)
        found["ratio"][name] = ratio
        print(
            f"{name:26}{measure.spread(seconds)['median']:7.3f} s, held-out objective "
            f"{found['held-out objective'][name]:.4f}   {measure.times(ratio)}"
        )
    return found


def streaming(arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--stream", "--data", str(arguments.data)]
    command += ["--stream-patches", str(arguments.stream_patches)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    print(
        f"\n{found['patches']} patches of 12 x 12 streamed, 256 atoms: {found['seconds']:.1f} s, peak memory "
        f"{found['peak MB']:.0f} MB, of which {found['before MB']:.0f} MB before learning (the patches alone would "
        f"be {found['patches'] * 144 * 4 / 2**20:.0f} MB)"
    )
    return found


def stream(arguments: argparse.Namespace) -> None:
    def megabytes(what: str) -> float:
        return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

    cut = extract_patches_2d(
        images(arguments.data), (12, 12), max_patches=arguments.stream_patches // 10, margin=8, random_state=0
    )
    before = megabytes("VmRSS")
    start = time.perf_counter()
    learned = SparseCoding(256, alpha=ALPHA, max_iter=1, max_no_improvement=None, random_state=0).fit(cut)
    seconds = time.perf_counter() - start
    assert learned.n_steps_ >= len(cut) // 256
    print(json.dumps({"patches": len(cut), "seconds": seconds, "before MB": before, "peak MB": megabytes("VmHWM")}))


if __name__ == "__main__":
    main()
