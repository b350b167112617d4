"""The kernels, one line each: checked against the float64 reference first, then timed beside the best sgemm here.

    python bench/bench_ops.py [--threads N] [--rounds N]

A product of (n, k) by (k, m) counts 2 n k m operations, however it is computed; the share of the peak is that of bare
multiply-adds (bench/fma_peak.cpp) at as many threads. Ratios are taken round by round, against the fastest of
harmonium's OpenBLAS, NumPy and PyTorch in that round. rbm_step runs on plain arrays here, so its time includes copying
them and packing the weights; what it takes within training, bench_fit.py shows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import dense_cases
import measure
from harmonium import _core, ops
from harmonium._validation import states

sys.path.append(str(measure.HERE.parent / "tests"))
import dense_reference
import every_op
import reference

VISIBLE, HIDDEN, BATCHES, DENSITIES = 784, 512, (128, 1024), (0.5, 0.13)
LIMIT = {"float32": 1e-5, "float64": 1e-13}  # of an error, relative to its row's norm


@dataclass
class Case:
    """One op on one input: what runs, what it is checked with and what it is compared with."""

    op: str
    what: str
    run: Callable[[], Any]
    error: Callable[[], float]
    dtype: str = "float32"
    operations: float = 0  # of the plain product; 0: not a product, `elements` are counted
    elements: float = 0
    peers: dict[str, Callable[[], Any]] = field(default_factory=dict)
    rivals: str = "sgemm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="ops whose name contains this")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    measure.introduce(f"ops, {arguments.threads} thread{'s' * (arguments.threads > 1)}")
    cases = [case for case in all_cases(np.random.default_rng(0)) if arguments.only in case.op]
    with measure.threads(arguments.threads):
        peak = measure.fma_peak(arguments.threads)
        if peak is None:
            print("no g++: the FMA peak is unknown, shares are of the measured sgemm and dgemm peak")
            peak = blas_peak()
        print(f"peak {peak['float32']:.0f} GFLOP/s float32, {peak['float64']:.0f} float64\n")
        print(f"{'op':16}{'input':40}{'error':>9}{'time':>11}{'rate':>15}{'peak':>7}  against the best peer")
        rows = [measured(case, arguments.rounds, peak) for case in cases]
        correct_shares(rows, peak, measure.fma_peak(arguments.threads) or peak)
    name = "ops" if arguments.threads == 1 else f"ops-{arguments.threads}-threads"
    results = {"threads": arguments.threads, "rounds": arguments.rounds, "peak GFLOP/s": peak, "rows": rows}
    measure.write(name, results, arguments.output)


def measured(case: Case, rounds: int, peak: dict[str, float]) -> dict[str, Any]:
    error = case.error()
    if not error <= LIMIT[case.dtype]:
        raise SystemExit(f"{case.op}, {case.what}: wrong, relative error {error:.2g}")
    taken = measure.alternate({"harmonium": case.run, **case.peers}, rounds)
    own = measure.spread(taken["harmonium"])
    row: dict[str, Any] = {"op": case.op, "input": case.what, "dtype": case.dtype, "error": error, "seconds": own}
    line = f"{case.op:16}{case.what:40}{error:9.1e}{1e6 * own['median']:8.1f} us"
    if case.operations:
        row["GFLOP/s"] = case.operations / own["median"] / 1e9
        row["share of peak"] = row["GFLOP/s"] / peak[case.dtype]
        line += f"{row['GFLOP/s']:8.1f} GFLOP/s{100 * row['share of peak']:6.0f}%"
    else:
        row["G elements/s"] = case.elements / own["median"] / 1e9
        line += f"{row['G elements/s']:9.2f} Gel/s{'':8}"
    if case.peers:
        best = [min(of_round) for of_round in zip(*(taken[name] for name in case.peers), strict=True)]
        row["peers"] = {name: measure.spread(taken[name]) for name in case.peers}
        row["ratio to best peer"] = measure.ratios(best, taken["harmonium"])
        quickest = min(case.peers, key=lambda name: row["peers"][name]["median"])
        line += f"  {measure.times(row['ratio to best peer'])} {case.rivals}, {quickest}"
    print(line, flush=True)
    return row


def correct_shares(rows: list[dict[str, Any]], peak: dict[str, float], at_the_end: dict[str, float]) -> None:
    """A peak that the machine's other work had hidden at first counts afterwards."""
    if all(at_the_end[dtype] <= 1.03 * peak[dtype] for dtype in peak):
        return
    print(f"\nthe peak is {at_the_end['float32']:.0f} and {at_the_end['float64']:.0f} GFLOP/s now: a busy machine;")
    print("the shares in the file are of the greater")
    peak.update({dtype: max(peak[dtype], at_the_end[dtype]) for dtype in peak})
    for row in rows:
        if "GFLOP/s" in row:
            row["share of peak"] = row["GFLOP/s"] / peak[row["dtype"]]


def blas_peak() -> dict[str, float]:
    """GFLOP/s of a large product by OpenBLAS."""
    n, found = 2048, {}
    for dtype in LIMIT:
        a = np.ones((n, n), dtype)
        found[dtype] = 2.0 * n**3 / min(measure.alternate({"gemm": lambda a=a: ops.gemm(a, a)}, 5)["gemm"]) / 1e9
    return found


# -- cases -------------------------------------------------------------------------------------------------------


def all_cases(random: np.random.Generator) -> list[Case]:
    weights = random.normal(size=(VISIBLE, HIDDEN)).astype(np.float32)
    cases = [gemm(random, n, weights) for n in BATCHES] + [gemm(random, 2048, weights, square=True)]
    for transpose in (False, True):
        for n in BATCHES:
            cases += [binary_gemm(random, n, density, weights, transpose) for density in DENSITIES]
    cases += [binary_gemm(random, n, 0.5, random.normal(size=weights.shape), False) for n in BATCHES]
    text = random.normal(size=(2000, HIDDEN)).astype(np.float32)
    cases += [sparse(random, 128, 0.13, weights), sparse(random, 1024, 0.13, weights), sparse(random, 1024, 0.02, text)]
    cases += [binary_gemm_tn(random, n, density) for n in BATCHES for density in DENSITIES]
    cases += [*(bernoulli(random, n) for n in BATCHES), rbm_step(random, BATCHES[0]), uniform()]
    cases += [Case(**line) for line in dense_cases.lines(random, dense_reference)]
    return cases + [pack(random, dtype) for dtype in (np.uint8, np.float32)]


def products(
    a: np.ndarray, b: np.ndarray, *, transpose_a: bool = False, transpose_b: bool = False, own: bool = True
) -> dict[str, Callable[[], Any]]:
    """op(a) op(b) by every BLAS here."""
    left, right = (a.T if transpose_a else a), (b.T if transpose_b else b)
    peers: dict[str, Callable[[], Any]] = {"NumPy": lambda: left @ right}
    if own:
        peers["OpenBLAS"] = lambda: ops.gemm(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    if measure.torch:
        left_tensor, right_tensor = measure.torch.from_numpy(left), measure.torch.from_numpy(right)
        peers["PyTorch"] = lambda: left_tensor @ right_tensor
    return peers


def row_error(run: Callable[[], np.ndarray], expected: Callable[[], np.ndarray]) -> Callable[[], float]:
    """Greatest norm of a row's error by the row's norm."""

    def error() -> float:
        right = expected()
        norms = np.linalg.norm(right, axis=1)
        return float((np.linalg.norm(run() - right, axis=1) / np.where(norms > 0, norms, 1)).max())

    return error


def bits(random: np.random.Generator, shape: tuple[int, int], density: float) -> np.ndarray:
    return random.random(shape) < density


def gemm(random: np.random.Generator, n: int, weights: np.ndarray, square: bool = False) -> Case:
    b = random.normal(size=(n, n)).astype(np.float32) if square else weights
    a = random.normal(size=(n, b.shape[0])).astype(np.float32)

    def run() -> np.ndarray:
        return ops.gemm(a, b)

    return Case(
        "gemm",
        f"{n} x {b.shape[0]} by {b.shape[0]} x {b.shape[1]}",
        run,
        row_error(run, lambda: reference.gemm(a.astype(np.float64), b.astype(np.float64))),
        operations=2.0 * a.size * b.shape[1],
        peers=products(a, b, own=False),
    )


def binary_gemm(random: np.random.Generator, n: int, density: float, weights: np.ndarray, transpose: bool) -> Case:
    inner, outer = weights.shape[::-1] if transpose else weights.shape
    a = bits(random, (n, inner), density)
    words = ops.pack_bits(a)
    dtype = weights.dtype.name

    def run() -> np.ndarray:
        return ops.binary_gemm(words, weights, transpose_b=transpose, n_columns=inner)

    orientation = "W^T" if transpose else "W"
    return Case(
        "binary_gemm",
        f"{n} x {inner}, {100 * density:.0f} % on, by {orientation}{' float64' * (dtype == 'float64')}",
        run,
        row_error(run, lambda: reference.binary_gemm(a.astype(np.float64), weights.astype(np.float64), transpose)),
        dtype=dtype,
        operations=2.0 * n * inner * outer,
        peers=products(a.astype(dtype), weights, transpose_b=transpose),
        rivals="dgemm" if dtype == "float64" else "sgemm",
    )


def sparse(random: np.random.Generator, n: int, density: float, weights: np.ndarray) -> Case:
    a = bits(random, (n, weights.shape[0]), density)
    rows = sp.csr_matrix(a, dtype=np.float32)
    given = states("bench_ops", rows, weights.dtype)

    def run() -> np.ndarray:
        return _core.binary_gemm(given, weights, False)

    return Case(
        "binary_gemm",
        f"{n} x {weights.shape[0]}, CSR with {100 * density:.0f} % on",
        run,
        row_error(run, lambda: reference.binary_gemm(a.astype(np.float64), weights.astype(np.float64))),
        operations=2.0 * a.size * weights.shape[1],
        peers={"SciPy's CSR": lambda: rows @ weights, **products(a.astype(np.float32), weights)},
        rivals="sgemm or CSR",
    )


def binary_gemm_tn(random: np.random.Generator, n: int, density: float) -> Case:
    a = bits(random, (n, VISIBLE), density)
    b = random.normal(size=(n, HIDDEN)).astype(np.float32)
    words = ops.pack_bits(a)

    def run() -> np.ndarray:
        return ops.binary_gemm_tn(words, b, n_columns=VISIBLE)

    return Case(
        "binary_gemm_tn",
        f"({n} x {VISIBLE})^T, {100 * density:.0f} % on",
        run,
        row_error(run, lambda: reference.binary_gemm_tn(a.astype(np.float64), b.astype(np.float64))),
        operations=2.0 * a.size * HIDDEN,
        peers=products(a.astype(np.float32), b, transpose_a=True),
    )


def bernoulli(random: np.random.Generator, n: int) -> Case:
    a = random.normal(scale=3, size=(n, HIDDEN)).astype(np.float32)
    bias = random.normal(size=HIDDEN).astype(np.float32)

    def error() -> float:
        p, words = ops.bernoulli(a, bias, seed=1)
        draws = reference.uniform(1, reference.STREAMS["user"], 0, *a.shape)
        exact, _ = reference.bernoulli((a + bias).astype(np.float64), 0.0, 1.0, draws)
        if not np.array_equal(ops.unpack_bits(words, HIDDEN), draws < p):
            return np.inf
        return float((np.abs(p - exact) / exact).max())

    peers = {"NumPy": lambda: draw_by_numpy(random, a, bias)}
    if measure.torch:
        tensor, offset = measure.torch.from_numpy(a), measure.torch.from_numpy(bias)
        noise = measure.torch.empty_like(tensor)
        peers["PyTorch bernoulli"] = lambda: measure.torch.bernoulli((tensor + offset).sigmoid_())
        peers["PyTorch uniform_"] = lambda: noise.uniform_().lt_((tensor + offset).sigmoid_())
    return Case(
        "bernoulli",
        f"{n} x {HIDDEN}: p and bits",
        lambda: ops.bernoulli(a, bias, seed=1),
        error,
        elements=a.size,
        peers=peers,
        rivals="sigmoid and draw",
    )


def draw_by_numpy(random: np.random.Generator, a: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return random.random(a.shape, np.float32) < 1 / (1 + np.exp(-(a + bias)))


def rbm_step(random: np.random.Generator, n: int) -> Case:
    """n rows of the data and as many of the model: the model's probabilities, the gradient, the update."""
    given = every_op.step_arguments(random, VISIBLE, HIDDEN, n, n, np.dtype(np.float32), dense=False)
    switches = {"centred": True, "momentum": 0.0, "weight_decay": 0.0}

    def run() -> Any:
        return every_op.run_step(given, **switches)

    def error() -> float:
        after = run()[2]
        wide = {name: value.astype(np.float64) for name, value in given.items()}
        states = [wide.pop(name) for name in ("data", "data_probability", "model")]
        numbers = {name: value for name, value in after.items() if not isinstance(value, np.ndarray)}
        _, expected = reference.rbm_step(*states, {**wide, **numbers})
        return row_error(lambda: after["weights"], lambda: expected["weights"])()

    peers: dict[str, Callable[[], Any]] = {}
    if measure.torch:
        tensors = {name: measure.torch.from_numpy(value) for name, value in given.items() if value.dtype != bool}
        data, model = (measure.torch.from_numpy(given[name].astype(np.float32)) for name in ("data", "model"))

        def plain() -> Any:
            w = tensors["weights"]
            p = measure.torch.sigmoid(model @ w + tensors["hidden_bias"])
            return w + every_op.LEARNING_RATE * (data.T @ tensors["data_probability"] - model.T @ p / n)

        peers["PyTorch, not centred"] = plain
    return Case(
        "rbm_step",
        f"{n} + {n} x {VISIBLE} x {HIDDEN}",
        run,
        error,
        operations=2.0 * 3 * n * VISIBLE * HIDDEN,
        peers=peers,
        rivals="a step",
    )


def uniform() -> Case:
    """By `ops.uniform`, for tests and users; training draws inside bernoulli and never stores a number."""
    shape = (1024, HIDDEN)
    generator = np.random.Generator(np.random.Philox(0))

    def error() -> float:
        expected = reference.uniform(7, reference.STREAMS["user"], 3, *shape)
        return 0.0 if np.array_equal(ops.uniform(shape, seed=7, step=3), expected) else np.inf

    return Case(
        "uniform",
        f"{shape[0]} x {shape[1]} Philox4x32-10",
        lambda: ops.uniform(shape, seed=7),
        error,
        elements=shape[0] * shape[1],
        peers={"NumPy's Philox": lambda: generator.random(shape, np.float32)},
        rivals="draws",
    )


def pack(random: np.random.Generator, dtype: type) -> Case:
    a = bits(random, (1024, VISIBLE), 0.13).astype(dtype)

    def error() -> float:
        return 0.0 if np.array_equal(ops.unpack_bits(ops.pack_bits(a), VISIBLE), a) else np.inf

    return Case(
        "pack_bits",
        f"1024 x {VISIBLE} {np.dtype(dtype).name}, range checked",
        lambda: ops.pack_bits(a),
        error,
        elements=a.size,
        peers={"np.packbits": lambda: np.packbits(a != 0, axis=1, bitorder="little")},
        rivals="packing unchecked",
    )


if __name__ == "__main__":
    main()
