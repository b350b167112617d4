"""What the benches share: which machine this is, fair timing, real data, files of results."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

import harmonium
from harmonium.versions import versions

HERE = Path(__file__).resolve().parent

try:
    import torch
except ImportError:
    torch = None


# -- the machine ---------------------------------------------------------------------------------------------


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> dict[str, str]:
    """Model, family and number as Linux gives them; virtual machines often hide the first."""
    wanted = ("model name", "cpu family", "model")
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = (part.strip() for part in line.partition(":"))
            if name in wanted:
                found.setdefault(name, value)
    found.setdefault("model name", platform.processor() or platform.machine())
    return found


def machine() -> dict[str, Any]:
    """What a result depends on beside the code."""
    described = {"cpu": _cpu(), "cores": n_cores(), "versions": versions()}
    described["versions"]["torch"] = torch.__version__ if torch else "not installed"
    described["blas of others"] = sorted(
        {
            f"{Path(library['filepath']).name}: {library['internal_api']} {library['version']}, "
            f"{library.get('architecture', 'unknown')} kernels"
            for library in threadpoolctl.threadpool_info()
            if library["user_api"] == "blas"
        }
    )
    described["date"] = datetime.date.today().isoformat()
    return described


def fma_peak(threads: int) -> dict[str, float] | None:
    """GFLOP/s of bare multiply-adds, float32 and float64; None without g++."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "fma_peak")
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread"]
        subprocess.run([compiler, *flags, str(HERE / "fma_peak.cpp"), "-o", str(program)], check=True)
        printed = subprocess.run([str(program), str(threads)], check=True, capture_output=True, text=True)
    single, double = map(float, printed.stdout.split())
    return {"float32": single, "float64": double}


# -- timing --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """All libraries at n threads: harmonium, every BLAS and OpenMP, PyTorch."""
    before = torch.get_num_threads() if torch else 0
    with threadpoolctl.threadpool_limits(n):
        if torch:
            torch.set_num_threads(n)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def alternate(
    contenders: dict[str, Callable[[], Any]], rounds: int, *, at_least: float = 0.02
) -> dict[str, list[float]]:
    """Seconds a call, one value a round and contender.

    Every round runs all contenders, each round beginning with the next one: what else the machine does, and how
    it changes its clock, meets all alike. A value is the median of as many calls as take `at_least` seconds.
    """
    calls = {}
    for name, call in contenders.items():
        call()
        calls[name] = max(1, round(at_least / max(_seconds(call), 1e-7)))
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            call = contenders[name]
            taken[name].append(statistics.median(_seconds(call) for _ in range(calls[name])))
    return taken


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float]:
    """How many times faster, round by round: what both met in a round cancels."""
    return spread([s / f for s, f in zip(slow, fast, strict=True)])


def times(ratio: dict[str, float]) -> str:
    """A ratio in print."""
    return f"{ratio['median']:5.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})"


# -- data and results ----------------------------------------------------------------------------------------


def add_data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("HARMONIUM_DATA"),
        help="folder with mnist.npz: x_train and x_test, uint8 images (default: the variable HARMONIUM_DATA)",
    )


def mnist(folder: Path | str, *, grey: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Training and test images of MNIST in rows: bool, threshold at one half, or float32 between 0 and 1."""
    with np.load(Path(folder) / "mnist.npz", allow_pickle=False) as file:
        train, test = (file[name].reshape(len(file[name]), -1) for name in ("x_train", "x_test"))
    if grey:
        return train / np.float32(255), test / np.float32(255)
    return train > 127, test > 127


def write(name: str, results: dict[str, Any], output: Path | None) -> None:
    """Results and machine as JSON, by default to bench/results/<name>-<cpu>.json."""
    described = machine()
    cpu = described["cpu"]
    words = [cpu["model name"], *(cpu[key] for key in ("cpu family", "model") if key in cpu)]
    path = output or HERE / "results" / f"{name}-{re.sub(r'[^a-z0-9]+', '-', ' '.join(words).lower())}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"bench": name, "machine": described, **results}, file, indent=1, default=float)
        file.write("\n")
    print(f"\nwritten: {os.path.relpath(path)}")


def introduce(what: str) -> None:
    cpu = _cpu()
    print(f"{what}: harmonium {harmonium.__version__}, {versions()['SIMD level']}, on {cpu['model name']}", end="")
    print(f" (family {cpu['cpu family']}, model {cpu['model']})" if "cpu family" in cpu else "", end="")
    print(f", {n_cores()} cores")
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5:
        print(f"load {os.getloadavg()[0]:.1f}: other work runs here; ratios on several threads mean little then")
