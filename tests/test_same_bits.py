"""Results do not depend on the number of threads or the SIMD level."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import every_op
import reference
import tolerance
from harmonium import _core

LEVELS = ["v1", "v3", "v4"]
SCRIPT = Path(every_op.__file__)
# Only additions, in the same order: no level rounds otherwise.
SUMS = ("gemm", "binary_gemm", "transpose_bits")

# Dot products of the lasso are summed over as many features at a time as a vector holds; all else follows from them.
SUMMED_BY_LANES = ("lasso", "gaps", "statistics", "atoms", "dictionary")


def rounded_sums():
    """What rounds otherwise at each level, with the magnitude of its sums.

    Centred, the correction of the visible biases is summed over as many hidden units at a time as a vector holds.
    """
    magnitudes = {}
    for name, arguments, switches in every_op.step_cases():
        s = {key: value.astype(np.float64) for key, value in arguments.items()}
        given = [s.pop(key) for key in ("data", "data_probability", "model")]
        s.update(switches, offset_rate=every_op.OFFSET_RATE, learning_rate=every_op.LEARNING_RATE)
        _, magnitude = reference.rbm_step_magnitude(*given, s)
        magnitudes.update({name + key: magnitude[key] for key in ("visible_bias", "visible_velocity")})
    return magnitudes


def run(code_or_script, level):
    environment = {name: value for name, value in os.environ.items() if name != "HARMONIUM_ISA"}
    if level:
        environment["HARMONIUM_ISA"] = level
    return subprocess.run([sys.executable, *code_or_script], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def highest():
    """The highest level that this processor runs."""
    done = run(["-c", "from harmonium import _core; print(_core.isa())"], None)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def here():
    return every_op.results()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads(threads, here, set_threads):
    set_threads(threads)
    assert _core.get_num_threads() == threads
    results = every_op.results()
    assert results.keys() == here.keys()
    for name, expected in here.items():
        tolerance.same_bits(results[name], expected)


def needs(level, highest):
    if highest not in LEVELS or LEVELS.index(level) > LEVELS.index(highest):
        pytest.skip(f"this processor runs at most level {highest}")


@pytest.fixture(scope="module")
def of_highest(highest, tmp_path_factory):
    return results_at(highest, tmp_path_factory.mktemp("highest"))


def results_at(level, folder):
    done = run([str(SCRIPT), str(folder / "results.npz")], level)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "results.npz") as results:
        assert results["level"] == level
        return {name: results[name] for name in results if name != "level"}


@pytest.mark.parametrize("level", ["v3", "v4"])
def test_levels_with_fused_multiply_add_give_the_same_bits(level, highest, of_highest, here, tmp_path):
    needs(level, highest)
    results = here if level == _core.isa() else results_at(level, tmp_path)
    assert results.keys() == of_highest.keys()
    rounded = rounded_sums()
    for name, expected in of_highest.items():
        if name in rounded:
            tolerance.near_sum(results[name], expected, rounded[name], 2 * 150)
        elif name.startswith(SUMMED_BY_LANES):
            tolerance.near_sum(results[name], expected, 1 + np.abs(expected), 2 * 150)
        else:
            tolerance.same_bits(results[name], expected)


def test_the_lowest_level_sums_alike(highest, of_highest, tmp_path):
    needs("v1", highest)
    results = results_at("v1", tmp_path)
    assert results.keys() == of_highest.keys()
    names = [name for name in of_highest if name.startswith(SUMS)]
    assert len(names) > 50
    for name in names:
        tolerance.same_bits(results[name], of_highest[name])


@pytest.mark.parametrize("level", [level for level in LEVELS if level != _core.isa()])
def test_each_level_keeps_its_bounds_and_draws_by_its_probabilities(level, highest):
    """The tests of the ops at the levels they do not run at anyway: bounds in ulp, draws that are u < p for that p."""
    needs(level, highest)
    chosen = "uniform_layout or elementary or bernoulli or transpose or (rbm_step and switches2)"
    options = ["-q", "-x", "-p", "no:cacheprovider", "-k", chosen]
    done = run(["-m", "pytest", str(SCRIPT.parent / "test_ops.py"), *options], level)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize("level", ["v2", "V3"])
def test_unknown_levels_are_refused(level):
    done = run(["-c", "from harmonium import _core; _core.isa()"], level)
    assert done.returncode != 0
    assert f"ValueError: HARMONIUM_ISA={level} is not a level; use v1, v3 or v4" in done.stderr


def test_absent_levels_are_refused(highest):
    absent = "baseline" if highest == "v4" else "v4"
    done = run(["-c", "from harmonium import _core; _core.isa()"], absent)
    assert done.returncode != 0
    assert f"ValueError: HARMONIUM_ISA={absent}: this CPU runs at most {highest}" in done.stderr
