"""`sparse_encode` on a GPU, or on the emulated one: certified codes, at objectives of the CPU's; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import tolerance
from device_arrays import device_under_test
from harmonium import _core, sparse_encode
from test_lasso import assert_certified, penalties, problem

needs_gpu = pytest.mark.skipif(not _core.cuda_available(), reason=f"GPU {_core.cuda_status()}")
DTYPES = [np.float32, np.float64]


@needs_gpu
@pytest.mark.parametrize("algorithm", ["auto", "ista"])
@pytest.mark.parametrize("form", ["number", "by atom", "by row", "by code"])
@pytest.mark.parametrize("positive", [False, True])
def test_codes_are_certified(form, positive, algorithm):
    x, D, alpha = problem(13, 21, 11)
    alpha = penalties(alpha, 13, 21)[form]
    observed = np.random.default_rng(2).random(x.shape) < 0.7
    for dtype in DTYPES:
        for mask in (None, observed):
            X, atoms = x.astype(dtype), D.astype(dtype)
            options = {"alpha": alpha, "positive": positive, "mask": mask}
            codes, gaps = sparse_encode(X, atoms, return_gap=True, algorithm=algorithm, device="cuda", **options)
            assert codes.dtype == dtype and codes.any()
            best = sparse_encode(X.astype(np.float64), atoms.astype(np.float64), tol=1e-12, **options)
            assert_certified(X, atoms, alpha, codes, gaps, positive=positive, observed=mask, best=best)


@needs_gpu
@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e30])
def test_data_of_any_size(scale):
    """1e30 squared is beyond float32: the steps in float64 start from where nothing has been done."""
    x, D, alpha = problem(9, 24, 10)
    codes, gaps = sparse_encode(scale * x, D, alpha=scale * alpha, return_gap=True, device="cuda")
    unit, unit_gaps = codes / scale, gaps / scale**2
    assert_certified(x, D, alpha, unit, unit_gaps, best=sparse_encode(x, D, alpha=alpha, tol=1e-12))


@needs_gpu
def test_rows_that_are_not_done_are_told_of():
    x, D, alpha = problem(9, 24, 10)
    with pytest.warns(ConvergenceWarning, match="of 9 rows stopped at max_iter=2"):
        sparse_encode(x, D, alpha=alpha, max_iter=2, device="cuda")


@needs_gpu
def test_the_same_call_gives_the_same_bits():
    x, D, alpha = problem(150, 30, 10)
    first, again = (sparse_encode(x, D, alpha=alpha, device="cuda") for _ in range(2))
    assert first.tobytes() == again.tobytes()


@pytest.fixture
def gpu(request):
    return device_under_test("cuda", request.config.getoption("--require-gpu"))


@pytest.mark.parametrize("how", ["plain", "init", "mask", "free"])
def test_rows_on_a_gpu_are_coded_there(gpu, how):
    x, D, alpha = problem(9, 21, 11)
    rng = np.random.default_rng(4)
    for dtype in DTYPES:
        X, atoms = x.astype(dtype), D.astype(dtype)
        options = {"alpha": np.full(21, alpha)}
        if how == "init":
            options["init"] = rng.standard_normal((9, 21)).astype(dtype)
        if how == "mask":
            options["mask"] = rng.random(x.shape) < 0.7
        if how == "free":
            options["alpha"][3] = 0
        expected = sparse_encode(X, atoms, return_gap=True, device="cuda", **options)
        there = {name: gpu.array(value) for name, value in options.items()}
        found = sparse_encode(gpu.array(X), gpu.array(atoms), return_gap=True, **there)
        for a, b in zip(found, expected, strict=True):
            assert type(a) is type(gpu.array(X))
            tolerance.same_bits(gpu.host(a), b)


def test_what_is_refused_of_rows_on_a_gpu(gpu):
    x, D, alpha = problem(3, 4, 5)
    with pytest.raises(ValueError, match="sparse_encode: X is on GPU 0, the dictionary is a NumPy array; move one"):
        sparse_encode(gpu.array(x), D, alpha=alpha)
    with pytest.raises(ValueError, match="sparse_encode: X is a NumPy array, the dictionary is on GPU 0; move one"):
        sparse_encode(x, gpu.array(D), alpha=alpha)
    with pytest.raises(ValueError, match="algorithm='cd' does not run on device='cuda'"):
        sparse_encode(gpu.array(x), gpu.array(D), alpha=alpha, algorithm="cd")
    bad = x.copy()
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match="X contains NaN in row 2, column 1; say with mask"):
        sparse_encode(gpu.array(bad), gpu.array(D), alpha=alpha)
    D[1, 2] = np.inf
    with pytest.raises(ValueError, match="dictionary contains inf in row 1, column 2"):
        sparse_encode(gpu.array(x), gpu.array(D), alpha=alpha)


def test_refusals():
    x, D, alpha = problem(3, 4, 5)
    for algorithm in ("cd", "lasso_cd", "lasso_lars"):
        with pytest.raises(ValueError, match=f"algorithm='{algorithm}' does not run on device='cuda'; there 'fista'"):
            sparse_encode(x, D, alpha=alpha, algorithm=algorithm, device="cuda")
    with pytest.raises(ValueError, match="sparse_encode: device='tpu' is not None"):
        sparse_encode(x, D, alpha=alpha, device="tpu")
    if not _core.cuda_available():
        with pytest.raises(RuntimeError, match="sparse_encode: device='cuda': the GPU is off"):
            sparse_encode(x, D, alpha=alpha, device="cuda")


@needs_gpu
def test_steps_are_as_many_as_on_the_cpu():
    """Where objectives of bfloat16 products decided on momentum, twice as many."""
    x, D, alpha = problem(12, 48, 24, share=0.1)
    steps = {}
    for device in ("cpu", "cuda"):
        codes, gaps, steps[device] = np.zeros((12, 48)), np.empty(12), np.empty(12, np.int32)
        penalty = np.full((1, 1), alpha)
        left = _core.lasso(x, D, penalty, None, "fista", 1e-6, 1000, False, codes, gaps, steps[device], 0, None, device)
        assert left == 0
    assert abs(steps["cuda"].sum() / steps["cpu"].sum() - 1) < 0.05
