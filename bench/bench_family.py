"""The figures of the RBM family: exact likelihoods of small machines, bags of words, tempering, annealing.

1. Bars and Stripes (4 x 4) and Shifting Bar (9), all patterns, centred PCD: exact log-likelihood of 10 seeds, summed
   over patterns; the ceiling is that of a table of the patterns.
2. mushrooms, dna and nips-0-12 with 23 hidden units, exact: mean test log-likelihood beside the published RBM's
   (Larochelle and Murray 2011, as reprinted by Germain et al. 2015).
3. Replicated softmax on 20 Newsgroups, CSR: an epoch of CD-1 beside the same in PyTorch on a dense float32 matrix.
4. A parallel tempering step of 10 temperatures beside 10 plain Gibbs steps, 784 x 500.
5. Annealing up and down on twelve trained machines of all types: how often the exact log Z lies in the bracket.

    python bench/bench_family.py --data DIR
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import measure
from harmonium import RBM

PUBLISHED = {"mushrooms": -15.15, "dna": -96.74, "nips": -277.37}
PARTS = ("patterns", "tables", "words", "tempering", "annealing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_data_option(parser)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    measure.introduce("the RBM family")
    results: dict[str, Any] = {}
    if "patterns" in arguments.parts:
        with measure.threads(1):
            results["patterns"] = patterns(arguments.seeds)
    if "tables" in arguments.parts and arguments.data:
        with measure.threads(1):
            results["tables"] = tables(arguments.data)
    if "words" in arguments.parts and arguments.data:
        results["words"] = [words(arguments.data, hidden, n, arguments.rounds) for hidden in (50, 500) for n in (1, 2)]
    if "tempering" in arguments.parts:
        with measure.threads(1):
            results["tempering"] = tempering(arguments.rounds)
    if "annealing" in arguments.parts:
        results["annealing"] = annealing()
    name = "family" if set(arguments.parts) == set(PARTS) else "family-" + "-".join(results)
    measure.write(name, results, arguments.output)


# -- exact likelihoods ---------------------------------------------------------------------------------------------


def bars_and_stripes(side: int) -> np.ndarray:
    lines = np.array(list(itertools.product([0, 1], repeat=side)), dtype=np.uint8)
    bars = np.repeat(lines[:, :, None], side, axis=2)
    return np.concatenate([bars, bars.transpose(0, 2, 1)]).reshape(2 * len(lines), -1)


def patterns(n_seeds: int) -> dict[str, Any]:
    found = {}
    # Nine states far from each other: the weights that keep them apart grow long, and the rate must last as long.
    for name, X, hidden, annealing, n_chains in (
        ("Bars and Stripes 4x4", bars_and_stripes(4), 16, 300, 2000),
        ("Shifting Bar 9", np.eye(9, dtype=np.uint8), 9, 3000, 500),
    ):
        _, counts = np.unique(X, axis=0, return_counts=True)
        ceiling = float((counts * np.log(counts / len(X))).sum())
        parameters: dict[str, Any] = {"n_iter": 20_000, "learning_rate": 1.0, "annealing": annealing}
        parameters["n_chains"] = n_chains
        sums, seconds = [], []
        for seed in range(n_seeds):
            rbm = RBM(hidden, batch_size=len(X), random_state=seed, **parameters)
            start = time.perf_counter()
            rbm.fit(X)
            seconds.append(time.perf_counter() - start)
            sums.append(float(rbm.log_likelihood(X).sum()))
        within = sum(value >= 1.02 * ceiling for value in sums)
        print(
            f"{name}: {min(sums):.2f} to {max(sums):.2f}, ceiling {ceiling:.3f}; within 2 % in {within} of {n_seeds} "
            f"seeds, {statistics.median(seconds):.0f} s each",
            flush=True,
        )
        found[name] = {"ceiling": ceiling, "sums": sums, "within 2 %": within, "hidden": hidden, **parameters}
    return found


def tables(folder: Path) -> dict[str, Any]:
    found = {}
    epochs = {"mushrooms": 3000, "dna": 300, "nips": 300}
    with np.load(folder / "binary_benchmarks.npz") as file:
        data = {name: [file[f"{name}_{part}"] for part in ("train", "test")] for name in PUBLISHED}
    for name, (train, test) in data.items():
        rbm = RBM(23, n_iter=epochs[name], n_chains=500, annealing=3000 if name == "mushrooms" else 300, random_state=0)
        start = time.perf_counter()
        rbm.fit(train)
        seconds = time.perf_counter() - start
        value = float(rbm.log_likelihood(test).mean())
        print(f"{name}: test {value:.2f} (published {PUBLISHED[name]}), {seconds:.1f} s", flush=True)
        found[name] = {"test": value, "published": PUBLISHED[name], "epochs": epochs[name], "seconds": seconds}
    return found


# -- bags of words ---------------------------------------------------------------------------------------------------


def words(folder: Path, hidden: int, n_threads: int, rounds: int) -> dict[str, Any]:
    with np.load(folder / "newsgroups20_2000.npz") as file:
        counts, indices, indptr = (file[f"train_{part}"] for part in ("data", "indices", "indptr"))
        X = sp.csr_matrix((counts.astype(np.float32), indices, indptr), shape=file["train_shape"])[:4000]
    rbm = RBM(hidden, visible="count", method="cd", random_state=0).partial_fit(X)
    contenders = {"harmonium": lambda: rbm.partial_fit(X)}
    if measure.torch:
        contenders["PyTorch"] = replicated_softmax_in_torch(X, hidden)
    with measure.threads(n_threads):
        seconds = measure.alternate(contenders, rounds)
    line = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [b / a for a, b in zip(seconds["harmonium"], seconds.get("PyTorch", []), strict=False)]
    print(f"20 Newsgroups, {X.shape[0]} documents, {hidden} hidden units, {n_threads} threads: ", end="")
    print(", ".join(f"{name} {value:.3f} s an epoch" for name, value in line.items()), end="")
    print(f"; {statistics.median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f})" if ratios else "", flush=True)
    return {"hidden": hidden, "threads": n_threads, "seconds": seconds, "ratios": ratios}


def replicated_softmax_in_torch(X: sp.csr_matrix, hidden: int) -> Any:
    torch = measure.torch
    V = torch.tensor(X.toarray())
    W, b, c = torch.randn(X.shape[1], hidden) * 0.01, torch.zeros(X.shape[1]), torch.zeros(hidden)

    def epoch() -> None:
        with torch.inference_mode():
            for v in V[torch.randperm(len(V))].split(100):
                n = v.sum(1, keepdim=True)
                h = torch.sigmoid(v @ W + n * c)
                p = torch.softmax(torch.bernoulli(h) @ W.T + b, 1)
                # Bags of different sizes at once: the most words for each, of which the first n count.
                most = int(n.max())
                drawn = torch.multinomial(p, most, replacement=True)
                kept = (torch.arange(most) < n).float()
                model_v = torch.zeros_like(v).scatter_add_(1, drawn, kept)
                model_h = torch.sigmoid(model_v @ W + n * c)
                W.add_(v.T @ h - model_v.T @ model_h, alpha=1e-6)
                b.add_((v - model_v).sum(0), alpha=1e-6)
                c.add_((n * (h - model_h)).sum(0), alpha=1e-6)

    return epoch


# -- sampling --------------------------------------------------------------------------------------------------------


def tempering(rounds: int) -> dict[str, Any]:
    X = np.random.default_rng(0).random((1000, 784)) < 0.2
    rbm = RBM(500, n_iter=2, random_state=0).fit(X)
    steps, chains = 20, 100
    seconds = measure.alternate(
        {
            "10 temperatures": lambda: rbm.sample(chains, sampler="pt", n_steps=steps, random_state=0),
            "10 Gibbs steps": lambda: rbm.sample(chains, n_steps=10 * steps, random_state=0),
        },
        rounds,
    )
    ratios = [a / b for a, b in zip(seconds["10 temperatures"], seconds["10 Gibbs steps"], strict=True)]
    print(
        f"tempering, 784 x 500, {chains} chains: a step of 10 temperatures takes {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f}-{max(ratios):.3f}) of the time of 10 Gibbs steps",
        flush=True,
    )
    return {"chains": chains, "seconds": seconds, "ratios": ratios}


def annealing() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, (500, 1))
    bits = (rng.random((500, 8)) < np.where(z, 0.85, 0.15)).astype(float)
    real = 0.8 * rng.normal(size=(500, 5)) + 1.2 * z - 0.6
    codes = np.where(rng.random((500, 4)) < 0.8, 2 * z, rng.integers(0, 4, (500, 4))).astype(float)
    bags = np.stack([rng.multinomial(10, [0.4, 0.3, 0.1, 0.1, 0.1][:: 1 if one else -1]) for one in z[:, 0]])
    mixed = np.hstack([bits[:, :3], real[:, :2], codes[:, :2]])
    blocks = [("bernoulli", 3), ("gaussian", 2), ("categorical", 2)]
    machines: list[tuple[np.ndarray, dict[str, Any]]] = [
        (bits, {}),
        (bits, {"hidden": "gaussian"}),
        (bits, {"hidden": "relu"}),
        (bits, {"method": "pt"}),
        (real, {"visible": "gaussian"}),
        (real, {"visible": "gaussian", "hidden": "gaussian"}),
        (real, {"visible": "gaussian", "learn_variance": True}),
        (codes, {"visible": "categorical"}),
        (codes, {"visible": "categorical", "hidden": "gaussian"}),
        (codes, {"visible": "categorical", "hidden": "relu"}),
        (bags, {"visible": "count"}),
        (mixed, {"visible": blocks}),
    ]
    inside, widths, runs = 0, [], 0
    for X, parameters in machines:
        rbm = RBM(5, n_iter=100, learning_rate=0.05, random_state=0, **parameters).fit(X)
        exact = rbm.log_partition("exact").value
        for seed in range(17):
            z_hat = rbm.log_partition("bracket", n_betas=500, random_state=seed)
            inside += z_hat.lower <= exact <= z_hat.upper
            widths.append(z_hat.upper - z_hat.lower)
            runs += 1
    width = statistics.median(widths)
    print(f"annealing, twelve machines: exact log Z in the bracket in {inside} of {runs} runs, width {width:.3f} nats")
    return {"inside": inside, "runs": runs, "median width": width}


if __name__ == "__main__":
    main()
