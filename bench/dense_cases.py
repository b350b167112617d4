"""The kernels of dense networks as lines of bench_ops.py: what runs, what checks it, what it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

import measure
from harmonium import _core

Line = dict[str, Any]  # the arguments of a Case


def lines(random: np.random.Generator, reference: Any) -> list[Line]:
    """`reference`: tests/dense_reference.py."""
    found = [forward(random, reference, n, density) for n in (128, 1024) for density in (1.0, 0.19)]
    found += [weight_step(random, n, density) for n in (128, 1024) for density in (1.0, 0.19)]
    return [
        *found,
        loss(random, reference),
        corrupt(random, reference),
        adam(random, reference),
        contraction(random, reference),
    ]


def relative(run: Callable[[], Any], expected: Callable[[], Any]) -> Callable[[], float]:
    """Greatest error by the greatest value."""

    def error() -> float:
        right = np.asarray(expected(), np.float64)
        return float(np.abs(np.asarray(run(), np.float64) - right).max() / np.abs(right).max())

    return error


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal(shape).astype(np.float32)


def thinned(random: np.random.Generator, x: np.ndarray, density: float) -> np.ndarray:
    return x * (random.random(x.shape) < density)


def peer(call: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
    return {"PyTorch": call} if measure.torch else {}


def forward(random: np.random.Generator, reference: Any, n: int, density: float) -> Line:
    x, w, c = thinned(random, normal(random, n, 784), density), 0.05 * normal(random, 784, 512), normal(random, 512)
    rows = sp.csr_matrix(x)
    sparse = (rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data, 784)
    given = _core.States.from_dense(x) if density == 1 else _core.States.from_sparse(*sparse)

    def run() -> np.ndarray:
        return _core.dense_forward(given, w, False, c, "sigmoid")

    peers = {}
    if measure.torch:
        tensors = [measure.torch.from_numpy(part) for part in (c, x, w)]
        peers = peer(lambda: measure.torch.sigmoid(measure.torch.addmm(*tensors)))
    what = f"{n} x 784 by 784 x 512, sigmoid" + (f", {100 * density:.0f} % not 0" if density < 1 else "")
    expected = relative(run, lambda: reference.activate("sigmoid", x.astype(np.float64) @ w + c))
    return {"op": "dense_forward", "what": what, "run": run, "error": expected, "operations": 2.0 * n * 784 * 512,
            "peers": peers, "rivals": "addmm, sigmoid"}  # fmt: skip


def weight_step(random: np.random.Generator, n: int, density: float) -> Line:
    x, delta = thinned(random, normal(random, n, 784), density), normal(random, n, 512)

    def run() -> np.ndarray:
        return _core.weight_step_float32([(x, delta, density < 1)])

    peers = {}
    if measure.torch:
        left, right = measure.torch.from_numpy(x).T, measure.torch.from_numpy(delta)
        peers = peer(lambda: left @ right)
    what = f"784 x {n} by {n} x 512" + (f", {100 * density:.0f} % not 0, packed anew" if density < 1 else "")
    expected = relative(run, lambda: x.T.astype(np.float64) @ delta)
    return {"op": "weight_step", "what": what, "run": run, "error": expected, "operations": 2.0 * n * 784 * 512,
            "peers": peers}  # fmt: skip


def loss(random: np.random.Generator, reference: Any) -> Line:
    x, z = random.random((1024, 784)).astype(np.float32), 3 * normal(random, 1024, 784)
    groups, given = [("bernoulli", 784)], _core.States.from_dense(x)

    def run() -> np.ndarray:
        return _core.likelihood_loss(groups, given, z, 1.0)[1]

    peers = {}
    if measure.torch:
        torch = measure.torch
        target = torch.from_numpy(x)

        def of_torch() -> Any:
            logits = torch.from_numpy(z).requires_grad_(True)
            torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum").backward()
            return logits.grad

        peers = peer(of_torch)
    expected = relative(run, lambda: reference.likelihood_loss(groups, x.astype(np.float64), z.astype(np.float64))[1])
    return {"op": "likelihood_loss", "what": "bernoulli, 1024 x 784, with derivatives", "run": run, "error": expected,
            "elements": float(z.size), "peers": peers, "rivals": "loss, backward"}  # fmt: skip


def corrupt(random: np.random.Generator, reference: Any) -> Line:
    x = random.random((1024, 784)).astype(np.float32)
    limits, groups = (np.zeros(784, np.float32), np.ones(784, np.float32)), [("bernoulli", 784)]

    def run() -> np.ndarray:
        return _core.corrupt(x, "masking", 0.3, 1, 2, 0, *limits, groups)

    peers = {}
    if measure.torch:
        tensor = measure.torch.from_numpy(x)
        peers = peer(lambda: tensor * (measure.torch.rand_like(tensor) >= 0.3))
    expected = relative(run, lambda: reference.corrupt(x, "masking", np.float32(0.3), 1, 2, 0, *limits, groups))
    return {"op": "corrupt", "what": "masking, 1024 x 784", "run": run, "error": expected, "elements": float(x.size),
            "peers": peers, "rivals": "rand, mask"}  # fmt: skip


def adam(random: np.random.Generator, reference: Any) -> Line:
    n = 784 * 512
    g, theta = normal(random, n), normal(random, n)
    numbers = {"rate": 0.001, "momentum": 0.9, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "step": 1}
    kept, own = np.zeros(2 * n, np.float32), theta.copy()

    def run() -> None:
        _core.update("adam", g, kept, own, **numbers)

    def error() -> float:
        fresh, memory = theta.copy(), np.zeros(2 * n, np.float32)
        _core.update("adam", g, memory, fresh, **numbers)
        zeros = np.zeros(2 * n)
        right, _ = reference.update("adam", g.astype(np.float64), zeros, theta.astype(np.float64), **numbers)
        return float(np.abs(fresh - right).max() / np.abs(right).max())

    peers = {}
    if measure.torch:
        parameter = measure.torch.nn.Parameter(measure.torch.from_numpy(theta.copy()))
        parameter.grad = measure.torch.from_numpy(g)
        optimiser = measure.torch.optim.Adam([parameter], lr=0.001, fused=True)
        peers = peer(optimiser.step)
    return {"op": "update", "what": "adam, 784 x 512", "run": run, "error": error, "elements": float(n), "peers": peers,
            "rivals": "fused Adam"}  # fmt: skip


def contraction(random: np.random.Generator, reference: Any) -> Line:
    w, z = 0.05 * normal(random, 784, 512), normal(random, 128, 512)
    h = reference.activate("sigmoid", z.astype(np.float64)).astype(np.float32)

    def run() -> np.ndarray:
        return _core.contraction_float32([(w, "sigmoid", h)])[0]

    def expected() -> np.ndarray:
        slopes = reference.slope("sigmoid", z.astype(np.float64))
        return slopes**2 @ (w.astype(np.float64) ** 2).sum(axis=0)

    return {"op": "contraction", "what": "one layer, 784 x 512, 128 rows", "run": run, "error": relative(run, expected),
            "elements": float(w.size)}  # fmt: skip
