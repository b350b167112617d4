"""The same machine trained by harmonium, PyTorch and scikit-learn, in turns: whole calls of fit, as users see them.

    python bench/bench_fit.py [--data DIR | --density P]

784 x 500 units. CD-1 with batches of 100 against PyTorch (bench/torch_rbm.py) on one thread and on all cores; PCD-1
with batches of 100 and of 10 from float32 against scikit-learn's BernoulliRBM on all cores; the second thread.
harmonium centres its gradients, starts from the data's base rates and records a pseudo-log-likelihood an epoch; the
others do not. Its time includes packing the data; PyTorch is given a float32 tensor ready to use.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neural_network import BernoulliRBM as PeerRBM

import measure
from harmonium import RBM

VISIBLE, HIDDEN, RATE = 784, 500, 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_data_option(parser)
    parser.add_argument("--density", type=float, help="random bits, this share of them on, instead of --data")
    parser.add_argument("--rows", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=3, help="passes over the rows in one fit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    measure.introduce("fit")
    X, data = rows_of(arguments)
    cores = measure.n_cores()
    print(f"{VISIBLE} x {HIDDEN} units, {arguments.epochs} epochs of {len(X)} rows; {data}")
    if measure.torch is None:
        print("no PyTorch here: pip install torch==2.13.0 for the comparison")
    fits = all_fits(X, arguments.epochs, cores)
    taken, fitted = in_turns(fits, arguments.rounds)
    samples = len(X) * arguments.epochs
    print(f"\n{'fit':44}{'us a sample (least to greatest)':>34}{'pseudo-log-likelihood':>24}")
    rows = {}
    for name in fits:
        per_sample = measure.spread([1e6 * seconds / samples for seconds in taken[name]])
        score = pseudo_log_likelihood(fitted[name], X)
        rows[name] = {"us a sample": per_sample, "pseudo_log_likelihood": score, "seconds": taken[name]}
        least, middle, greatest = (per_sample[key] for key in ("min", "median", "max"))
        print(f"{name:44}{middle:14.2f} ({least:7.2f} to {greatest:7.2f}){score:24.1f}")
    print("\nhow many times faster, round by round: median (least to greatest)")
    compared = {}
    for what, slow, fast in comparisons(cores):
        if slow in taken and fast in taken:
            compared[what] = measure.ratios(taken[slow], taken[fast])
            print(f"{what:66}{measure.times(compared[what])}")
    setting = {"visible": VISIBLE, "hidden": HIDDEN, "rows": len(X), "epochs": arguments.epochs, "data": data}
    name = "fit" if data.startswith("MNIST") else "fit-random"
    measure.write(name, {**setting, "rounds": arguments.rounds, "fits": rows, "ratios": compared}, arguments.output)


def rows_of(arguments: argparse.Namespace) -> tuple[np.ndarray, str]:
    if arguments.data is not None and arguments.density is None:
        X = measure.mnist(arguments.data)[0][: arguments.rows]
        return X, f"MNIST, threshold 0.5, {100 * X.mean():.0f} % of pixels on"
    density = 0.13 if arguments.density is None else arguments.density
    X = np.random.default_rng(0).random((arguments.rows, VISIBLE)) < density
    return X, f"random bits, {100 * density:g} % on"


Fit = Callable[[], Any]


def all_fits(X: np.ndarray, epochs: int, cores: int) -> dict[str, tuple[int, Fit]]:
    """Name to (threads, a call that trains from the start and returns the machine)."""
    numbers = X.astype(np.float32)
    shared: dict[str, Any] = {"learning_rate": RATE, "n_iter": epochs}

    def ours(rows: np.ndarray, method: str, batch_size: int, **others: Any) -> Fit:
        parameters = {**shared, "method": method, "batch_size": batch_size, "random_state": 0, **others}
        return lambda: RBM(HIDDEN, **parameters).fit(rows)

    def sklearns(batch_size: int) -> Fit:
        return lambda: PeerRBM(HIDDEN, **shared, batch_size=batch_size, random_state=0).fit(numbers)

    fits: dict[str, tuple[int, Fit]] = {}
    for threads in sorted({1, cores}):
        on = threads_in_words(threads)
        fits[f"harmonium CD-1, {on}"] = (threads, ours(X, "cd", 100))
        fits[f"harmonium CD-1 not centred, {on}"] = (threads, ours(X, "cd", 100, centering=False))
        fits[f"harmonium PCD-1, {on}"] = (threads, ours(numbers, "pcd", 100))
        if measure.torch:
            fits[f"PyTorch CD-1, {on}"] = (threads, torchs(numbers, epochs, plain=False))
            fits[f"PyTorch CD-1 plain, {on}"] = (threads, torchs(numbers, epochs, plain=True))
    on = threads_in_words(cores)
    fits[f"harmonium PCD-1 batch 10, {on}"] = (cores, ours(numbers, "pcd", 10))
    fits[f"scikit-learn PCD-1, {on}"] = (cores, sklearns(100))
    fits[f"scikit-learn PCD-1 batch 10, {on}"] = (cores, sklearns(10))
    return fits


def torchs(numbers: np.ndarray, epochs: int, *, plain: bool) -> Fit:
    from torch_rbm import TorchRBM

    tensor = measure.torch.from_numpy(numbers)
    return lambda: TorchRBM(HIDDEN, learning_rate=RATE, batch_size=100, n_iter=epochs, seed=0, plain=plain).fit(tensor)


def threads_in_words(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def comparisons(cores: int) -> list[tuple[str, str, str]]:
    one, all_ = threads_in_words(1), threads_in_words(cores)
    against_torch = [
        (f"{ours} against {peer}, {on}", f"{peer}, {on}", f"{ours}, {on}")
        for on in dict.fromkeys((one, all_))
        for ours in ("harmonium CD-1", "harmonium CD-1 not centred")
        for peer in ("PyTorch CD-1", "PyTorch CD-1 plain")
    ]
    against_sklearn = [
        (f"{what} against scikit-learn, {all_}", f"scikit-learn {what}, {all_}", f"harmonium {what}, {all_}")
        for what in ("PCD-1", "PCD-1 batch 10")
    ]
    more_threads = [
        (f"{name}: {all_} against {one}", f"{name}, {one}", f"{name}, {all_}")
        for name in ("harmonium CD-1", "harmonium PCD-1", "PyTorch CD-1")
        if cores > 1
    ]
    return against_torch + against_sklearn + more_threads


def in_turns(fits: dict[str, tuple[int, Fit]], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of every fit, one value a round, and the machines of the last round.

    Each round begins with the next fit. A first round is not counted.
    """
    taken: dict[str, list[float]] = {name: [] for name in fits}
    fitted: dict[str, Any] = {}
    names = list(fits)
    for turn in range(-1, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            threads, fit = fits[name]
            with measure.threads(threads):
                start = time.perf_counter()
                fitted[name] = fit()
                seconds = time.perf_counter() - start
            if turn >= 0:
                taken[name].append(seconds)
        print("." if turn >= 0 else "warm", end="", flush=True)
    print()
    return taken, fitted


def pseudo_log_likelihood(fitted: Any, X: np.ndarray) -> float:
    """Of the first 500 rows, by harmonium whoever trained: that all of them learn is worth a look."""
    judge = RBM(HIDDEN)
    if hasattr(fitted, "W"):
        judge.components_ = fitted.W.numpy().T
        judge.intercept_visible_, judge.intercept_hidden_ = fitted.b.numpy(), fitted.c.numpy()
    else:
        judge.components_ = fitted.components_
        judge.intercept_visible_, judge.intercept_hidden_ = fitted.intercept_visible_, fitted.intercept_hidden_
    judge.n_features_in_ = X.shape[1]
    return judge.score(X[:500])


if __name__ == "__main__":
    main()
