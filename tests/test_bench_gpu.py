"""The bench of the GPU runs from end to end: its parts on the emulated GPU, tiny, nothing written, beside PyTorch or
without it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from harmonium import _core

BENCH = Path(__file__).parents[1] / "bench" / "bench_gpu.py"
PARTS = (
    "product",
    "elementwise",
    "cd_large",
    "cd_small",
    "units",
    "fista",
    "dictionary",
    "autoencoder",
    "gibbs_small",
    "gibbs_large",
    "annealing",
    "enumeration",
    "agreement",
)
pytestmark = [
    pytest.mark.skipif(not _core.cuda_available(), reason=f"GPU {_core.cuda_status()}"),
    pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here"),
]


def run(monkeypatch, *arguments):
    """In this process, whose core may be the emulated one."""
    monkeypatch.syspath_prepend(str(BENCH.parent))
    monkeypatch.setattr(sys, "argv", [str(BENCH), *arguments])
    return runpy.run_path(str(BENCH), run_name="__main__")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_runs_dry(part, monkeypatch, capsys):
    results = BENCH.parent / "results"
    before = sorted(results.glob("gpu-*"))
    bench = run(monkeypatch, "--dry-run", "--rounds", "1", "--seed", "0", "--parts", part)
    assert tuple(bench["PARTS"]) == PARTS
    printed = capsys.readouterr().out
    assert "a dry run" in printed and len(printed.splitlines()) > 3
    assert sorted(results.glob("gpu-*")) == before
