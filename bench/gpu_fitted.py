"""Parts of bench_gpu.py: what a fitted RBM does on a GPU, beside the same in PyTorch on the same one."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_machine import Call, Machine, a_step, in_modes, report
from harmonium import RBM
from measure import torch

if torch is not None:
    from torch_rbm import anneal as torch_anneal
    from torch_rbm import gibbs as torch_gibbs
    from torch_rbm import log_partition as torch_log_partition


def _model(machine: Machine, hidden: int) -> tuple[RBM, RBM, tuple[Any, ...]]:
    """The same machine on the GPU and on the CPU, and its parameters as PyTorch has them."""
    visible = machine.size(784, 30)
    W = (0.1 * machine.random.standard_normal((visible, hidden))).astype(np.float32)
    b, c = (machine.random.standard_normal(n).astype(np.float32) - 1 for n in (visible, hidden))
    models = []
    for device in ("cuda", "cpu"):
        models.append(RBM(hidden, device=device))
        models[-1].components_, models[-1].intercept_visible_, models[-1].intercept_hidden_ = W.T, b, c
    return models[0], models[1], tuple(machine.tensor(part) for part in (W, b, c))


def _gibbs(machine: Machine, chains: int) -> dict[str, Any]:
    ours, cpu, parameters = _model(machine, machine.size(500, 20))
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
    ours, cpu, parameters = _model(machine, machine.size(500, 20))
    n_runs, base = machine.size(100, 10), parameters[1] * 0

    def partition(model: RBM, n: int) -> Any:
        return model.log_partition("ais", n_runs=n_runs, n_betas=n, random_state=0)

    log_z = {name: partition(model, 100).value for name, model in (("GPU", ours), ("CPU", cpu))}
    assert abs(log_z["GPU"] - log_z["CPU"]) < 1e-3 * abs(log_z["CPU"]), log_z
    calls: dict[str, Call] = {"harmonium": lambda n: partition(ours, n)}
    calls |= in_modes(lambda n: torch_anneal(parameters, base, np.linspace(0, 1, n).tolist(), n_runs), machine.device)
    taken = a_step(machine, calls, *((3, 6) if machine.dry else (200, 1200)))
    return report(f"annealing, {n_runs} runs, a temperature", taken, **{"log Z": log_z})


def enumeration(machine: Machine) -> dict[str, Any]:
    """log Z of 784 visible and few hidden units, beside sums of softplus over batches of states; 20 on the CPU too."""
    results = {}
    for hidden, on_cpu in ((machine.size(20, 6), True), (machine.size(25, 8), False)):
        ours, cpu, parameters = _model(machine, hidden)
        calls: dict[str, Call] = {"harmonium": lambda ours=ours: ours.log_partition("exact").value}
        if torch is not None:
            for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
                model = tuple(part.to(dtype) for part in parameters)
                calls[f"PyTorch {name}"] = lambda model=model: float(torch_log_partition(model, 1 << 16))
        log_z = {name: call() for name, call in calls.items()}
        if on_cpu or torch is None:
            log_z["the CPU"] = cpu.log_partition("exact").value
        exact = log_z["the CPU" if on_cpu or torch is None else "PyTorch float64"]
        errors = {name: abs(value - exact) for name, value in log_z.items()}
        assert errors["harmonium"] <= 1e-10 + 1e-14 * abs(exact), log_z
        taken = machine.in_turns(calls)
        results[str(hidden)] = report(
            f"log Z, {hidden} hidden and {len(parameters[1])} visible units", taken, **{"error of log Z": errors}
        )
    return results
