"""The bench of the GPU runs from end to end: its parts on the emulated GPU, tiny, with nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harmonium import _core

BENCH = Path(__file__).parents[1] / "bench" / "bench_gpu.py"
pytestmark = [
    pytest.mark.skipif(not _core.cuda_available(), reason=f"GPU {_core.cuda_status()}"),
    pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here"),
]


@pytest.mark.parametrize("parts", ["fista", "dictionary", "autoencoder", "gibbs_small annealing"])
def test_parts_run_dry(parts):
    pytest.importorskip("torch", reason="PyTorch is the peer")
    results = BENCH.parent / "results"
    before = sorted(results.glob("gpu-*"))
    command = [sys.executable, str(BENCH), "--dry-run", "--rounds", "1", "--seed", "0", "--parts", *parts.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a dry run" in done.stdout and "PyTorch tf32" in done.stdout
    assert sorted(results.glob("gpu-*")) == before
