"""The figures that are not speed: exact log-likelihoods beside published ones, and how far AIS can be trusted.

1. Melchior, Fischer, Wiskott (2016) and their PyDeep: MNIST at threshold 0.5, 16 hidden units, PCD-1, batches of 100,
   50 epochs: -142.56 nats a test image centred, -149.05 not; -142.09 and -183.36 with black and white exchanged.
   Here for several seeds and settings, log Z by enumeration.
2. AIS with its default settings on one trained machine of 20 hidden units, 20 seeds: how often the exact log Z lies
   within 3 of its own standard errors.
3. With --drawn N: pixels drawn as bits with their grey values as probabilities, 500 hidden units, N epochs; test images
   drawn once. Salakhutdinov and Murray (2008) reach -86.34 nats by CD-25, their AIS without a bound from above.

    python bench/bench_likelihood.py --data DIR
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import measure
from harmonium import RBM

HIDDEN, BATCH = 16, 100
PUBLISHED = {"centred": -142.56, "not centred": -149.05, "centred, flipped": -142.09, "not centred, flipped": -183.36}
TARGET, FLIP_TARGET = -142.6, 0.5

# Parameters of RBM.
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "the last step": {"averaging": None},
    "constant rate": {"annealing": None},
    "constant, last step": {"annealing": None, "averaging": None},
    "500 chains": {"n_chains": 500},
    "not centred": {"centering": False},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_data_option(parser)
    parser.add_argument("--seeds", type=int, default=3, help="fits of each setting (default: 3)")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rows", type=int, default=60000, help="training images (default: all)")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--ais-seeds", type=int, default=20, help="0: leave AIS out")
    parser.add_argument(
        "--drawn", type=int, default=0, metavar="N", help="epochs of the large machine (default: left out)"
    )
    parser.add_argument("--threads", type=int, default=1, help="one panel of hidden units keeps one thread busy")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    measure.introduce("likelihoods")
    results: dict[str, Any] = {}
    with measure.threads(arguments.threads):
        if arguments.data is None:
            print("no --data: MNIST left out, AIS on scikit-learn's digits at threshold 8")
            train = load_digits().data >= 8
        else:
            train, test = measure.mnist(arguments.data)
            train = train[: arguments.rows]
            results["16 hidden units"] = small_machine(train, test, arguments)
        if arguments.ais_seeds:
            results["ais"] = annealing(train, arguments.ais_seeds, "MNIST" if arguments.data else "digits")
    if arguments.drawn and arguments.data:
        results["500 hidden units, drawn pixels"] = large_machine(arguments)
    measure.write("likelihood", results, arguments.output)


# -- exact likelihoods -----------------------------------------------------------------------------------------


def small_machine(train: np.ndarray, test: np.ndarray, arguments: argparse.Namespace) -> dict[str, Any]:
    print(
        f"\nMNIST, threshold 0.5, {len(train)} images, {HIDDEN} hidden units, PCD-1, batches of {BATCH}, "
        f"{arguments.epochs} epochs;\nexact mean log-likelihood of test images, of {arguments.seeds} seeds "
        f"(published, centred: {PUBLISHED['centred']}, flipped {PUBLISHED['centred, flipped']})\n"
    )
    print(f"{'':26}{'as they are':>24}{'flipped':>24}{'difference':>12}{'s a fit':>9}")
    found = {}
    for name in arguments.settings:
        rows = {
            kind: [likelihood(SETTINGS[name], seed, data, arguments.epochs) for seed in range(arguments.seeds)]
            for kind, data in (("normal", (train, test)), ("flipped", (~train, ~test)))
        }
        found[name] = report(name, rows)
    return {
        "data": f"MNIST, threshold 0.5, first {len(train)} training images",
        "hidden": HIDDEN,
        "batch": BATCH,
        "epochs": arguments.epochs,
        "published": PUBLISHED,
        "settings": found,
    }


def report(name: str, rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    test = {kind: [row["test"] for row in of_kind] for kind, of_kind in rows.items()}
    apart = statistics.mean(test["flipped"]) - statistics.mean(test["normal"])
    reached = min(test["normal"]) >= TARGET and abs(apart) <= FLIP_TARGET
    seconds = statistics.median(row["seconds"] for of_kind in rows.values() for row in of_kind)
    columns = (" ".join(f"{value:.2f}" for value in test[kind]) for kind in ("normal", "flipped"))
    print(f"{name:26}", *(f"{column:>23}" for column in columns), f"{apart:+11.2f} {seconds:8.1f}", end="")
    print("  reached" if reached else "", flush=True)
    parameters = {"n_components": HIDDEN, "batch_size": BATCH, **SETTINGS[name]}
    return {"parameters": parameters, **rows, "flipped minus normal": apart, "every seed reaches both": reached}


def likelihood(
    setting: dict[str, Any], seed: int, data: tuple[np.ndarray, np.ndarray], epochs: int
) -> dict[str, float]:
    """Train one machine; mean exact log-likelihoods of training and test images."""
    parameters = dict(setting)
    rbm = RBM(HIDDEN, batch_size=BATCH, n_iter=epochs, random_state=seed, **parameters)
    start = time.perf_counter()
    rbm.fit(data[0])
    seconds = time.perf_counter() - start
    log_z = rbm.log_partition("exact")
    train, test = (float(rbm.log_likelihood(X, log_partition=log_z).mean()) for X in data)
    return {"seed": seed, "train": train, "test": test, "log_partition": log_z.value, "seconds": seconds}


def large_machine(arguments: argparse.Namespace) -> dict[str, Any]:
    """On all cores; likelihood and bracket of the test images."""
    hidden, annealing = 500, 3000
    train, test = measure.mnist(arguments.data, grey=True)
    test = np.random.default_rng(0).random(test.shape, np.float32) < test
    rbm = RBM(hidden, n_iter=arguments.drawn, annealing=annealing, draw_data=True, random_state=0)
    start = time.perf_counter()
    rbm.fit(train)
    seconds = time.perf_counter() - start
    log_z = rbm.log_partition("bracket", random_state=0)
    means = [float(part.mean()) for part in rbm.log_likelihood(test, log_partition=log_z, return_bracket=True)]
    print(
        f"\nMNIST, pixels drawn, {hidden} hidden units, {arguments.drawn} epochs of PCD-1 in {seconds:.0f} s: ", end=""
    )
    print("test {:.2f} nats, between {:.2f} and {:.2f} (published: -86.34 by AIS)".format(*means), flush=True)
    found = dict(zip(("test", "lower", "upper"), means, strict=True))
    return {"hidden": hidden, "epochs": arguments.drawn, "annealing": annealing, "seconds": seconds, **found}


# -- annealed importance sampling --------------------------------------------------------------------------------


def annealing(X: np.ndarray, n_seeds: int, data: str) -> dict[str, Any]:
    """Exact log Z against AIS up and down, in standard errors."""
    hidden, epochs, runs = 20, 20, 100
    rbm = RBM(hidden, n_iter=epochs, random_state=0).fit(X)
    exact = rbm.log_partition("exact").value
    print(f"\nAIS on {data}, {hidden} hidden units after {epochs} epochs, {runs} runs; exact log Z {exact:.4f}")
    found: dict[str, Any] = {"data": data, "hidden": hidden, "epochs": epochs, "n_runs": runs, "exact": exact}
    for method in ("ais", "reverse_ais"):
        start = time.perf_counter()
        estimates = [rbm.log_partition(method, n_runs=runs, random_state=seed) for seed in range(n_seeds)]
        seconds = (time.perf_counter() - start) / n_seeds
        z = [(estimate.value - exact) / estimate.std_error for estimate in estimates]
        within = sum(abs(value) <= 3 for value in z)
        sizes = [estimate.effective_sample_size for estimate in estimates]
        print(
            f"{method:12} within 3 standard errors: {within} of {n_seeds}; z {min(z):+.2f} to {max(z):+.2f}, "
            f"standard error {statistics.median(e.std_error for e in estimates):.4f}, "
            f"effective sample size {statistics.median(sizes):.0f}, {seconds:.2f} s each"
        )
        found[method] = {
            "within 3 standard errors": within,
            "seeds": n_seeds,
            "z": z,
            "std_error": [estimate.std_error for estimate in estimates],
            "effective_sample_size": sizes,
            "seconds each": seconds,
        }
    return found


if __name__ == "__main__":
    main()
