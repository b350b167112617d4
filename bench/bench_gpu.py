"""harmonium on a GPU beside PyTorch and CuPy on the same one, in one run.

    python bench/bench_gpu.py [--parts NAME ...] [--rounds N]
    python bench/bench_gpu.py --dry-run        # tiny, on an emulated GPU and without PyTorch too; nothing is written

Each part checks what it times first, against float64, from fresh random inputs. Times are between CUDA events,
contenders in turns; PyTorch runs in float32 with TF32 off and on, and in bfloat16. The rate of a bfloat16 product and
the bandwidth of a copy are measured in the run.

1. product: a 4096 x 4096 matrix of zeros and ones times one of floats.
2. elementwise: draws, soft thresholds and packing of a 16384 x 16384 matrix, as shares of the copy's bandwidth.
3. cd_large: CD-1, 4096 x 4096 units, batch 4096. 4. cd_small: CD-1, 784 x 500, batch 100.
5. fista: 65536 rows of 256 numbers on 1024 atoms, to a relative gap of 1e-4; rows and codes travel from and to the
   host.
6. dictionary: a pass of dictionary learning, 65536 rows of 144 numbers, 256 atoms, batch 4096, codes to 1e-4.
7. autoencoder: an epoch of 784-1000-500-250-30, batch 1000.
8. gibbs_small, gibbs_large: a Gibbs step of 100 and of 4096 chains of 784 x 500 units.
9. annealing: a temperature of 100 runs of annealed importance sampling of the same machine.
10. agreement: the same machine of 20 hidden units trained on CPU and GPU, exact log-likelihoods compared.
"""

from __future__ import annotations

import argparse
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np

import measure
from gpu_machine import MODES, Call, Machine, a_step, in_modes, mode, report
from harmonium import RBM, Autoencoder, SparseCoding, _core, ops, sparse_encode
from measure import torch

if torch is not None:
    from torch_autoencoder import TorchAutoencoder
    from torch_dictionary import learn as torch_learn
    from torch_fista import fista as torch_fista
    from torch_rbm import TorchRBM
    from torch_rbm import anneal as torch_anneal
    from torch_rbm import gibbs as torch_gibbs

# -- parts -------------------------------------------------------------------------------------------------------


def product(machine: Machine) -> dict[str, Any]:
    n = machine.size(4096, 70)
    bits = machine.random.random((n, n)) < 0.5
    W = machine.random.standard_normal((n, n), dtype=np.float32)
    exact, scale = (
        bits.astype(np.float64) @ W.astype(np.float64),
        bits.astype(np.float64) @ np.abs(W.astype(np.float64)),
    )
    A, B = machine.array(ops.pack_bits(bits)), machine.array(W)
    a, b = machine.tensor(bits.astype(np.float32)), machine.tensor(W)
    ours = {"harmonium": lambda: ops.binary_gemm(A, B, n_columns=n, device="cuda")}
    theirs = in_modes(lambda: a @ b, machine.device)
    if not machine.dry:
        c = machine.array(bits.astype(np.float32))
        theirs["CuPy float32"] = lambda: c @ B
    errors = {}
    for name, call in {**ours, **theirs}.items():
        result = call()
        result = _numpy(result.float().cpu() if hasattr(result, "cpu") else result)
        errors[name] = float((np.abs(result.astype(np.float64) - exact) / scale).max())
    assert machine.dry or errors["harmonium"] <= errors["PyTorch float32"], errors
    taken = machine.in_turns({**ours, **theirs}, machine.size(20, 1))
    share = 6 * n**3 / statistics.median(taken["harmonium"]) / 1e12 / machine.ceilings["bf16 TFLOP/s"]
    return report(
        f"binary product, {n}^3", taken, **{"largest relative error": errors, "share of the bf16 ceiling": share}
    )


def elementwise(machine: Machine) -> dict[str, Any]:
    n = machine.size(16384, 70)
    x, bias = machine.random.standard_normal((n, n), dtype=np.float32), np.zeros(n, np.float32)
    a, b, t, bits = machine.array(x), machine.array(bias), machine.tensor(x), machine.array((x > 0).astype(np.float32))
    words = machine.array(ops.pack_bits(x > 0))
    least = machine.array(np.full(n, 0.5, np.float32))
    p, drawn = ops.bernoulli(x[:64], bias, seed=1)
    there, drawn_there = (_numpy(part) for part in ops.bernoulli(a, b, seed=1, device="cuda"))
    assert np.abs(there[:64] - p).max() < 1e-6 and (drawn_there[:64] != drawn).mean() < 0.01
    assert np.array_equal(_numpy(ops.shrink(a, least, device="cuda")), np.sign(x) * np.maximum(np.abs(x) - 0.5, 0))
    assert np.array_equal(_numpy(ops.unpack_bits(words, n, device="cuda")), x > 0)
    # What is read and written, in bytes a number.
    calls = {
        "bernoulli": (8 + 1 / 8, lambda: ops.bernoulli(a, b, seed=1, device="cuda"), None),
        "shrink": (8, lambda: ops.shrink(a, least, device="cuda"), lambda: torch.nn.functional.softshrink(t, 0.5)),
        "pack_bits": (8 + 1 / 8, lambda: ops.pack_bits(bits, device="cuda"), None),  # looked at, then packed
        "unpack_bits": (4 + 1 / 8, lambda: ops.unpack_bits(words, n, device="cuda"), None),
    }
    if torch is not None:
        calls["bernoulli"] = (*calls["bernoulli"][:2], lambda: torch.bernoulli(torch.sigmoid(t)))
    results = {}
    for name, (size, ours, theirs) in calls.items():
        contenders = {"harmonium": ours} | ({} if theirs is None or torch is None else {"PyTorch": theirs})
        taken = machine.in_turns(contenders, machine.size(20, 1))
        share = size * n * n / statistics.median(taken["harmonium"]) / 1e12 / machine.ceilings["copy TB/s"]
        results[name] = report(f"{name}, {n}^2", taken, **{"share of the copy's bandwidth": share})
    return results


def _numpy(array: Any) -> np.ndarray:
    return array.get() if hasattr(array, "get") else np.asarray(array)


def _cd(machine: Machine, visible: int, hidden: int, batch: int, batches: int) -> dict[str, Any]:
    X = machine.random.random((batch * batches, visible)) < 0.3
    numbers = machine.tensor(X.astype(np.float32))
    rows = {
        "float32": numbers,
        "tf32": numbers,
        "bf16": numbers if torch is None else numbers.bfloat16(),
    }  # in-place products are left alone by autocast
    modes = MODES if torch is not None else ()
    options = {"method": "cd", "centering": False, "learning_rate": 0.02, "batch_size": batch, "random_state": 0}

    def ours(epochs: int, device: str = "cuda") -> RBM:
        return RBM(hidden, n_iter=epochs, device=device, **options).fit(X)

    def theirs(epochs: int, name: str) -> Any:
        net = TorchRBM(
            hidden, learning_rate=0.02, batch_size=batch, n_iter=epochs, seed=0, plain=False, device=machine.device
        )
        with mode(name if name == "tf32" else "float32", machine.device):
            return net.fit(rows[name])

    fitted = ours(1)
    assert np.isfinite(fitted.components_).all() and fitted.components_.any()
    calls: dict[str, Call] = {"harmonium": ours}
    calls |= {f"PyTorch {name}": lambda epochs, name=name: theirs(epochs, name) for name in modes}
    steps = a_step(machine, calls, 1, 3, batches)
    # Three products of layers and the gradient of both phases, each by three bfloat16 parts.
    work = 3 * 2 * 5 * batch * visible * hidden
    share = work / statistics.median(steps["harmonium"]) / 1e12 / machine.ceilings["bf16 TFLOP/s"]
    return report(f"CD-1, {visible} x {hidden}, batch {batch}, a step", steps, **{"share of the bf16 ceiling": share})


def cd_large(machine: Machine) -> dict[str, Any]:
    n = machine.size(4096, 40)
    return _cd(machine, n, n, n, machine.size(16, 2))


def cd_small(machine: Machine) -> dict[str, Any]:
    return _cd(machine, machine.size(784, 30), machine.size(500, 20), machine.size(100, 10), machine.size(600, 3))


def units(machine: Machine) -> dict[str, Any]:
    """CD-1 of units of other types, and gradients by enumeration, beside the CPU's, which they have to agree with."""
    batch, batches, cols = machine.size(100, 10), machine.size(200, 3), machine.size(784, 12)
    n, hidden, results = batch * batches, machine.size(500, 6), {}
    for name, method, n_hidden, X in (
        ("gaussian", "cd", hidden, machine.random.standard_normal((n, cols), dtype=np.float32)),
        ("categorical", "cd", hidden, machine.random.integers(0, 21, (n, cols // 6))),
        ("count", "cd", hidden, machine.random.poisson(0.2, (n, cols))),
        ("bernoulli", "exact", machine.size(12, 5), machine.random.random((n, cols)) < 0.3),
    ):
        options = {"visible": name, "method": method, "learning_rate": 0.005, "batch_size": batch, "random_state": 0}

        def ours(
            epochs: int, device: str = "cuda", n: int = n_hidden, X: Any = X, options: dict[str, Any] = options
        ) -> RBM:
            return RBM(n, n_iter=epochs, device=device, **options).fit(X)

        apart = float(np.abs(ours(1).components_ - ours(1, "cpu").components_).max())
        assert apart < 1e-3, apart
        calls: dict[str, Call] = {"harmonium": ours, "the CPU": lambda epochs, ours=ours: ours(epochs, "cpu")}
        steps = a_step(machine, calls, 1, 3, batches)
        results[name] = report(
            f"{method}, {name}, {cols} x {n_hidden}, batch {batch}, a step", steps, **{"largest difference": apart}
        )
    return results


def fista(machine: Machine) -> dict[str, Any]:
    n, K, d, tol = machine.size(65536, 40), machine.size(1024, 24), machine.size(256, 9), 1e-4
    D = machine.random.standard_normal((K, d), dtype=np.float32)
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    H = machine.random.standard_normal((n, K), dtype=np.float32) * (machine.random.random((n, K)) < 0.02)
    x = (H @ D + 0.1 * machine.random.standard_normal((n, d), dtype=np.float32)).astype(np.float32)
    alpha = 0.2 * float(np.median(np.abs(x[:256] @ D.T).max(axis=1)))
    X, codes = machine.pinned(x), machine.pinned(np.empty((n, K), np.float32))
    gaps, n_iter, penalty = np.empty(n), np.empty(n, np.int32), np.full((1, 1), alpha)
    atoms = machine.tensor(D)

    def ours() -> np.ndarray:
        codes.fill(0)
        gaps.fill(np.nan)
        left = _core.lasso(X, D, penalty, None, "fista", tol, 10_000, False, codes, gaps, n_iter, 0, None, "cuda")
        assert left == 0, f"{left} rows are not done"
        return codes

    def theirs() -> Any:
        given = torch.from_numpy(X).to(machine.device, non_blocking=True)
        found, _ = torch_fista(given, atoms, alpha, tol, 2000)
        return torch.from_numpy(codes).copy_(found, non_blocking=True)

    largest = {}
    for name, call in {"harmonium": ours, **in_modes(theirs, machine.device)}.items():
        found = call()
        if not machine.dry:
            torch.cuda.synchronize()
        found = np.asarray(found, dtype=np.float64)
        largest[name] = _largest_gap(x.astype(np.float64), D.astype(np.float64), found, alpha)
    assert largest["harmonium"] <= tol * 1.1, largest
    taken = machine.in_turns({"harmonium": ours, **in_modes(theirs, machine.device)})
    return report(
        f"FISTA, {n} rows on {K} atoms of {d}", taken, **{"largest relative gap": largest, "steps": int(n_iter.max())}
    )


def _largest_gap(X: np.ndarray, D: np.ndarray, H: np.ndarray, alpha: float) -> float:
    largest = 0.0
    for first in range(0, len(X), 4096):
        x, h = X[first : first + 4096], H[first : first + 4096]
        r = x - h @ D
        objective = 0.5 * (r**2).sum(1) + alpha * np.abs(h).sum(1)
        s = np.minimum(1, alpha / np.abs(r @ D.T).max(1))
        gap = objective - s * (r * x).sum(1) + 0.5 * s**2 * (r**2).sum(1)
        largest = max(largest, float((gap / objective).max()))
    return largest


def dictionary(machine: Machine) -> dict[str, Any]:
    n, K, d, batch = machine.size(65536, 20), machine.size(256, 6), machine.size(144, 4), machine.size(4096, 10)
    atoms = machine.random.standard_normal((K, d), dtype=np.float32)
    H = machine.random.laplace(size=(n, K)) * (machine.random.random((n, K)) < 10 / K)
    X = (H @ atoms + 0.1 * machine.random.standard_normal((n, d))).astype(np.float32)
    X /= X.std()
    start = X[:K] / np.linalg.norm(X[:K], axis=1, keepdims=True)
    alpha, tol = 0.2 * float(np.median(np.abs(X[:256] @ start.T).max(axis=1))), 1e-4
    tensor, first = machine.tensor(X), machine.tensor(start)

    def ours(epochs: int) -> np.ndarray:
        model = SparseCoding(
            K, alpha=alpha, max_iter=epochs, batch_size=batch, tol=0, max_no_improvement=None, transform_tol=tol,
            dict_init=start, random_state=0, device="cuda",
        )  # fmt: skip
        return model.fit(X).components_

    def theirs(epochs: int) -> Any:
        return torch_learn(
            tensor,
            first,
            alpha,
            tol=tol,
            max_iter=machine.size(2000, 30),
            batch_size=batch,
            epochs=epochs,
            forgetting=8.0,
        )

    learned = {"start": start, "harmonium": ours(1)}
    if torch is not None:
        learned["PyTorch float32"] = theirs(1).cpu().numpy()
    objectives = {}
    for name, D in learned.items():
        h = sparse_encode(X[:2000], D, alpha=alpha)
        objectives[name] = float((0.5 * ((X[:2000] - h @ D) ** 2).sum(1) + alpha * np.abs(h).sum(1)).mean())
    gains = {name: objectives["start"] - value for name, value in objectives.items()}
    assert machine.dry or gains["harmonium"] >= 0.9 * max(gains.values()), objectives
    calls: dict[str, Call] = {"harmonium": ours, **in_modes(theirs, machine.device)}
    a_pass = a_step(machine, calls, 1, 3)
    return report(
        f"dictionary of {K} atoms of {d}, {n} rows, batch {batch}, a pass", a_pass, **{"objective": objectives}
    )


def autoencoder(machine: Machine) -> dict[str, Any]:
    sizes = [20, 12, 5] if machine.dry else [784, 1000, 500, 250, 30]
    rows, batch = machine.size(60_000, 60), machine.size(1000, 20)
    X = machine.random.random((rows, sizes[0]), dtype=np.float32)
    tensor = machine.tensor(X)

    def ours(epochs: int) -> Autoencoder:
        return Autoencoder(
            tuple(sizes[1:]), max_iter=epochs, batch_size=batch, tol=0, random_state=0, device="cuda"
        ).fit(X)

    def theirs(epochs: int) -> None:
        net = TorchAutoencoder(sizes, tied=True, batch_size=batch, fused=True, device=machine.device)
        for _ in range(epochs):
            net.epoch(tensor)

    assert np.isfinite(ours(1).loss_curve_).all()
    calls: dict[str, Call] = {"harmonium": ours, **in_modes(theirs, machine.device)}
    an_epoch = a_step(machine, calls, 1, 3)
    return report(f"autoencoder {'-'.join(map(str, sizes))}, batch {batch}, an epoch", an_epoch)


def _model(machine: Machine) -> tuple[RBM, RBM, tuple[Any, ...]]:
    """The same machine on the GPU and on the CPU, and its parameters as PyTorch has them."""
    visible, hidden = machine.size(784, 30), machine.size(500, 20)
    W = (0.1 * machine.random.standard_normal((visible, hidden))).astype(np.float32)
    b, c = (machine.random.standard_normal(n).astype(np.float32) - 1 for n in (visible, hidden))
    models = []
    for device in ("cuda", "cpu"):
        models.append(RBM(hidden, device=device))
        models[-1].components_, models[-1].intercept_visible_, models[-1].intercept_hidden_ = W.T, b, c
    return models[0], models[1], tuple(machine.tensor(part) for part in (W, b, c))


def _gibbs(machine: Machine, chains: int) -> dict[str, Any]:
    ours, cpu, parameters = _model(machine)
    v = machine.random.random((chains, len(parameters[1]))) < 0.3
    start = machine.tensor(v.astype(np.float32))
    differ = float((ours.gibbs(v, 3, random_state=0) != cpu.gibbs(v, 3, random_state=0)).mean())
    assert differ < 1e-3, differ  # a probability within rounding of its draw, and what follows from it
    calls: dict[str, Call] = {"harmonium": lambda n: ours.gibbs(v, n, random_state=0)}
    calls |= in_modes(lambda n: torch_gibbs(*parameters, start, n), machine.device)
    taken = a_step(machine, calls, *((1, 3) if machine.dry else (200, 1200)))
    return report(
        f"Gibbs step, {chains} chains of {v.shape[1]} x {len(parameters[2])}",
        taken,
        **{"draws unlike the CPU's": differ},
    )


def gibbs_small(machine: Machine) -> dict[str, Any]:
    return _gibbs(machine, machine.size(100, 10))


def gibbs_large(machine: Machine) -> dict[str, Any]:
    return _gibbs(machine, machine.size(4096, 20))


def annealing(machine: Machine) -> dict[str, Any]:
    ours, cpu, parameters = _model(machine)
    n_runs, base = machine.size(100, 10), parameters[1] * 0

    def partition(model: RBM, n: int) -> Any:
        return model.log_partition("ais", n_runs=n_runs, n_betas=n, random_state=0)

    log_z = {name: partition(model, 100).value for name, model in (("GPU", ours), ("CPU", cpu))}
    assert abs(log_z["GPU"] - log_z["CPU"]) < 1e-3 * abs(log_z["CPU"]), log_z
    calls: dict[str, Call] = {"harmonium": lambda n: partition(ours, n)}
    calls |= in_modes(lambda n: torch_anneal(parameters, base, np.linspace(0, 1, n).tolist(), n_runs), machine.device)
    taken = a_step(machine, calls, *((3, 6) if machine.dry else (200, 1200)))
    return report(f"annealing, {n_runs} runs, a temperature", taken, **{"log Z": log_z})


def agreement(machine: Machine) -> dict[str, Any]:
    X = machine.random.random((machine.size(5000, 60), machine.size(784, 20))) < 0.3
    scores = {
        device: RBM(machine.size(20, 6), method="cd", n_iter=1, random_state=0, device=device)
        .fit(X)
        .log_likelihood(X)
        .mean()
        for device in ("cpu", "cuda")
    }
    difference = abs(float(scores["cpu"] - scores["cuda"]))
    print(f"\nCPU and GPU: log-likelihoods {scores['cpu']:.4f} and {scores['cuda']:.4f}, {difference:.2g} apart")
    assert difference <= 0.01, scores
    return {"log-likelihoods": scores, "difference": difference}


FITTED = (gibbs_small, gibbs_large, annealing)
PARTS = {
    part.__name__: part
    for part in (product, elementwise, cd_large, cd_small, units, fista, dictionary, autoencoder, *FITTED, agreement)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME", help="of: " + " ".join(PARTS)
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=None, help="of the inputs; fresh ones if left out")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, PyTorch on the CPU, nothing written")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    peer = arguments.dry_run or (torch is not None and torch.cuda.is_available())
    if not (peer and _core.cuda_available()):
        parser.error(f"PyTorch and a GPU are needed; harmonium's: {_core.cuda_status()}")
    machine = Machine(arguments)
    machine.measure_ceilings()
    print(f"GPU: {_core.cuda_status()}{'; a dry run: its times mean nothing' if arguments.dry_run else ''}")
    print(", ".join(f"{name}: {value:.3g}" for name, value in machine.ceilings.items()))
    results = {name: PARTS[name](machine) for name in arguments.parts}
    if arguments.dry_run:
        return
    name = torch.cuda.get_device_name()
    path = measure.HERE / "results" / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower())}.json"
    measure.write("gpu", {"gpu": name, "ceilings": machine.ceilings, **results}, arguments.output or path)


if __name__ == "__main__":
    main()
