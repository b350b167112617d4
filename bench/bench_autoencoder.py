"""Epochs of autoencoders on MNIST by harmonium and PyTorch, in turns, and what denoising and contraction cost.

    python bench/bench_autoencoder.py --data DIR [--threads N] [--rounds N]

784-500-784 and 784-1000-500-250-30 with its mirror, sigmoid units, bernoulli likelihood, tied and free weights, Adam,
float32. A round times one call of `partial_fit` (checks of X and the loss included) and one epoch of the same in
PyTorch (bench/torch_autoencoder.py), with torch.optim.Adam as it is and in its fused form. The share of the peak counts
each product as 2 n k m operations however it is computed; the derivative by the first layer's input is none of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import measure
from harmonium import Autoencoder

SHALLOW, DEEP = (500,), (1000, 500, 250, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_data_option(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=6000, help="of MNIST, in one epoch")
    parser.add_argument("--only", default="", help="comparisons whose name contains this")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    measure.introduce(f"autoencoder, {arguments.threads} thread{'s' * (arguments.threads > 1)}")
    X = measure.mnist(arguments.data, grey=True)[0][: arguments.rows]
    with measure.threads(arguments.threads):
        peak = measure.fma_peak(arguments.threads)
        print(f"peak {peak['float32']:.0f} GFLOP/s" if peak else "no g++: the FMA peak is unknown")
        rows = [
            compared(name, contenders, arguments, peak)
            for name, contenders in comparisons(X).items()
            if arguments.only in name
        ]
        peak_after = measure.fma_peak(arguments.threads)
    results = {"threads": arguments.threads, "rounds": arguments.rounds, "rows": arguments.rows}
    name = "autoencoder" if arguments.threads == 1 else f"autoencoder-{arguments.threads}-threads"
    peaks = {"peak GFLOP/s": peak, "peak GFLOP/s afterwards": peak_after}
    measure.write(name, {**results, **peaks, "comparisons": rows}, arguments.output)


class Contender:
    """An epoch that can be run again and again, and how many operations its plain products are."""

    def __init__(self, epoch: Callable[[], Any], operations: float) -> None:
        self.epoch, self.operations = epoch, operations


def operations(hidden: tuple[int, ...], rows: int) -> float:
    """Forward, backward and gradient of each layer but the backward of the first."""
    sizes = [784, *hidden]
    products = [a * b for a, b in pairwise(sizes)]
    return 2.0 * rows * (3 * 2 * sum(products) - products[0])


def ours(X: np.ndarray, hidden: tuple[int, ...], **parameters: Any) -> Contender:
    model = Autoencoder(
        hidden, **{"code_activation": "sigmoid", "batch_size": 100, "max_iter": 0, "random_state": 0, **parameters}
    ).fit(X)
    return Contender(lambda: model.partial_fit(X), operations(hidden, len(X)))


def torchs(X: np.ndarray, hidden: tuple[int, ...], *, tied: bool, fused: bool, **parameters: Any) -> Contender:
    from torch_autoencoder import TorchAutoencoder

    settings = {"tied": tied, "batch_size": 100, "fused": fused, **parameters}
    model = TorchAutoencoder([X.shape[1], *hidden], **settings)
    tensor = measure.torch.from_numpy(X)
    return Contender(lambda: model.epoch(tensor), operations(hidden, len(X)))


def comparisons(X: np.ndarray) -> dict[str, dict[str, Contender]]:
    """Name to contenders; the first is what the others are compared with."""
    found: dict[str, dict[str, Contender]] = {}
    settings: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
        ("784-500-784 tied", SHALLOW, {"tied": True}),
        ("784-500-784 free", SHALLOW, {"tied": False}),
        ("784-1000-500-250-30 tied", DEEP, {"tied": True}),
        ("784-1000-500-250-30 free", DEEP, {"tied": False}),
        ("784-1000-500-250-30 tied, batch 1000", DEEP, {"tied": True, "batch_size": 1000}),
    ]
    for name, hidden, parameters in settings:
        found[name] = {"harmonium": ours(X, hidden, **parameters)}
        if measure.torch:
            found[name]["PyTorch"] = torchs(X, hidden, fused=False, **parameters)
            found[name]["PyTorch, fused Adam"] = torchs(X, hidden, fused=True, **parameters)
    plain = ours(X, SHALLOW)
    found["denoising, 784-500 masking, against plain"] = {
        "plain": plain,
        "masking 30 %": ours(X, SHALLOW, corruption="masking"),
        "masking 50 %": ours(X, SHALLOW, corruption="masking", corruption_level=0.5),
        "gaussian": ours(X, SHALLOW, corruption="gaussian"),
    }
    found["contraction, 784-500, against plain"] = {"plain": plain, "contractive": ours(X, SHALLOW, contraction=0.1)}
    return found


def compared(
    name: str, contenders: dict[str, Contender], arguments: argparse.Namespace, peak: dict[str, float] | None
) -> dict[str, Any]:
    taken = in_turns({key: contender.epoch for key, contender in contenders.items()}, arguments.rounds)
    first = next(iter(contenders))
    row: dict[str, Any] = {"name": name, "ms an epoch": {}, "ratio": {}}
    print(f"\n{name}")
    for key, seconds in taken.items():
        row["ms an epoch"][key] = measure.spread([1e3 * s for s in seconds])
        line = f"  {key:24}{row['ms an epoch'][key]['median']:9.1f} ms"
        if peak:
            rate = contenders[key].operations / (1e-3 * row["ms an epoch"][key]["median"]) / 1e9
            row.setdefault("share of peak", {})[key] = rate / peak["float32"]
            line += f"{rate:8.1f} GFLOP/s {100 * rate / peak['float32']:4.0f} %"
        if key != first:
            row["ratio"][key] = measure.ratios(seconds, taken[first])
            line += f"   {measure.times(row['ratio'][key])}"
        print(line, flush=True)
    return row


def in_turns(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, one value a round; a first round is not counted, each begins with the next one."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(-1, rounds):
        first = max(turn, 0) % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            contenders[name]()
            if turn >= 0:
                taken[name].append(time.perf_counter() - start)
    return taken


if __name__ == "__main__":
    main()
