"""What the bench of the GPU runs on: the machine and its clock, PyTorch's ways of multiplying, reports."""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import measure
from measure import torch

Call = Callable[..., Any]
MODES = ("float32", "tf32", "bf16")


class Machine:
    """Where all run, and its clock."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.dry, self.rounds = arguments.dry_run, arguments.rounds
        self.device = "cpu" if self.dry else "cuda"
        self.random = np.random.default_rng(arguments.seed)
        self.ceilings: dict[str, float] = {}

    def size(self, full: int, tiny: int) -> int:
        return tiny if self.dry else full

    def tensor(self, array: np.ndarray) -> Any:
        """As PyTorch has it; as it is where that is not installed."""
        return array if torch is None else torch.from_numpy(array).to(self.device)

    def pinned(self, array: np.ndarray) -> np.ndarray:
        """Where copies to and from the GPU are fastest."""
        return array if self.dry else torch.from_numpy(array).pin_memory().numpy()

    def array(self, array: np.ndarray) -> Any:
        """On the GPU as CuPy has it."""
        if self.dry:
            return array
        import cupy

        return cupy.asarray(array)

    def seconds(self, call: Call) -> float:
        """Between two events; a call of harmonium returns when it is done, so the second comes after it too."""
        if self.dry:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        first.record()
        call()
        last.record()
        torch.cuda.synchronize()
        return first.elapsed_time(last) / 1e3

    def in_turns(self, contenders: dict[str, Call], repeats: int = 1) -> dict[str, list[float]]:
        """Seconds of each, one median of `repeats` a round; a first round is not counted."""
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        names = list(contenders)
        for turn in range(-1, self.rounds):
            first = max(turn, 0) % len(names)
            for name in names[first:] + names[:first]:
                value = statistics.median(self.seconds(contenders[name]) for _ in range(repeats))
                if turn >= 0:
                    taken[name].append(value)
        return taken

    def measure_ceilings(self) -> None:
        n, m = self.size(8192, 64), self.size(1 << 30, 1 << 12)
        if torch is None:
            self.ceilings = {"bf16 TFLOP/s": np.nan, "copy TB/s": np.nan}
            return
        a, b = (torch.randn(n, n, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        source = torch.randn(m, device=self.device)
        to = torch.empty_like(source)
        taken = self.in_turns({"product": lambda: a @ b, "copy": lambda: to.copy_(source)}, 10)
        self.ceilings = {
            "bf16 TFLOP/s": 2 * n**3 / statistics.median(taken["product"]) / 1e12,
            "copy TB/s": 2 * source.nbytes / statistics.median(taken["copy"]) / 1e12,
        }


@contextlib.contextmanager
def mode(name: str, device: str) -> Iterator[None]:
    """PyTorch's products: float32, the same by TF32, or bfloat16 by autocast."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def in_modes(call: Call, device: str) -> dict[str, Call]:
    def run(name: str, *arguments: Any) -> Any:
        with mode(name, device):
            return call(*arguments)

    if torch is None:
        return {}
    return {f"PyTorch {name}": functools.partial(run, name) for name in MODES}


def report(what: str, taken: dict[str, list[float]], **others: Any) -> dict[str, Any]:
    """Prints and returns seconds, and how many times harmonium is faster than each peer, round by round."""
    ours = next(iter(taken))
    found: dict[str, Any] = {"seconds": {name: measure.spread(values) for name, values in taken.items()}, **others}
    found["ratio"] = {name: measure.ratios(values, taken[ours]) for name, values in taken.items() if name != ours}
    print(f"\n{what}")
    for name, values in found["seconds"].items():
        ratio = f"   {measure.times(found['ratio'][name])}" if name in found["ratio"] else ""
        print(f"  {name:20}{1e3 * values['median']:12.4f} ms{ratio}")
    for name, value in others.items():
        print(f"  {name}: {value}")
    return found


def a_step(machine: Machine, calls: dict[str, Call], few: int, many: int, steps: int = 1) -> dict[str, list[float]]:
    """Seconds a step, `steps` to a unit of the calls' argument: long calls less short ones, no starts and copies."""
    each = [(name, call, n) for n in (few, many) for name, call in calls.items()]
    taken = machine.in_turns({f"{name} {n}": functools.partial(call, n) for name, call, n in each})
    pairs = {name: zip(taken[f"{name} {few}"], taken[f"{name} {many}"], strict=True) for name in calls}
    return {name: [max(b - a, 1e-9) / ((many - few) * steps) for a, b in pair] for name, pair in pairs.items()}
