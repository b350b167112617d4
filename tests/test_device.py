"""Which device is chosen, arrays on it and off it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tolerance
from device_arrays import device_under_test
from harmonium import _core, ops
from harmonium._device import choose_device
from harmonium.versions import versions


@pytest.fixture
def gpu(request):
    return device_under_test("cuda", request.config.getoption("--require-gpu"))


def test_versions_say_what_the_gpu_is_or_why_it_is_off():
    status = versions()["GPU"]
    assert status == _core.cuda_status()
    assert status.startswith("off: ") != _core.cuda_available()


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "", 0])
def test_what_is_no_device_is_refused(device):
    with pytest.raises(ValueError, match=r"uniform: device=.* is not None, 'cpu', 'cuda' or 'cuda:' and a number"):
        ops.uniform((2, 2), seed=0, device=device)


@pytest.mark.skipif(_core.cuda_available(), reason="there is a GPU")
def test_without_a_gpu_the_reason_is_told():
    with pytest.raises(RuntimeError, match=r"gemm: device='cuda': the GPU is off: .+"):
        ops.gemm(np.eye(2), np.eye(2), device="cuda")
    assert _core.gpu_of(np.eye(2).ctypes.data) == -1


def test_numpy_comes_back_as_numpy(gpu):
    a = np.arange(6.0).reshape(2, 3)
    for c in (ops.gemm(a, a, transpose_b=True, device="cuda"), ops.gemm(a.tolist(), a.T, device="cuda:0")):
        tolerance.exact(c, a @ a.T)
    p, words = ops.bernoulli(a, np.zeros(3), seed=1, device="cuda")
    assert isinstance(p, np.ndarray) and isinstance(words, np.ndarray)


def test_arrays_on_a_gpu_stay_there(gpu):
    a = np.arange(6.0).reshape(2, 3)
    on_gpu = gpu.array(a)
    assert choose_device("x", None, on_gpu) == choose_device("x", "cuda", on_gpu) == "cuda:0"
    c = ops.gemm(on_gpu, on_gpu, transpose_b=True)
    assert type(c) is type(on_gpu)
    tolerance.exact(gpu.host(c), a @ a.T)
    with pytest.raises(ValueError, match=r"gemm: device='cpu', but a .* on GPU 0 was given"):
        ops.gemm(on_gpu, on_gpu, device="cpu")


def test_arrays_in_two_places_are_refused(gpu):
    a = np.eye(3)
    with pytest.raises(ValueError, match=r"gemm: A is a NumPy array, B is a \S+ on GPU 0; move one"):
        ops.gemm(a, gpu.array(a))
    with pytest.raises(ValueError, match=r"bernoulli: activation is a \S+ on GPU 0, bias is a NumPy array; move one"):
        ops.bernoulli(gpu.array(a), np.zeros(3), seed=0)


class Foreign:
    """Another library's array: the interface with some of its entries changed."""

    def __init__(self, array, **changes):
        self.array = array  # kept alive
        self.__cuda_array_interface__ = {**array.__cuda_array_interface__, **changes}


def test_the_interface_is_checked(gpu):
    a = np.arange(9.0).reshape(3, 3)
    on_gpu = gpu.array(a)
    right = gpu.array(a)
    for changes in ({"stream": 1}, {"stream": 2}, {"version": 2}, {"strides": (24, 8)}):
        c = _core.gemm(right, False, Foreign(on_gpu, **changes), False)
        tolerance.exact(gpu.host(c), a @ a)
    with pytest.raises(ValueError, match=r"contiguous, row after row; its strides are \(8, 24\)"):
        _core.gemm(right, False, Foreign(on_gpu, strides=(8, 24)), False)
    with pytest.raises(ValueError, match="is not of a GPU's memory"):
        _core.gemm(right, False, Foreign(on_gpu, data=(a.ctypes.data, False)), False)
    with pytest.raises(ValueError, match="must not be masked"):
        _core.gemm(right, False, Foreign(on_gpu, mask=on_gpu), False)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.gemm(right, False, Foreign(on_gpu, typestr="<i8"), False)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (63, 40), (20000, 3)])
def test_columns_are_summarised(gpu, shape, dtype):
    rng = np.random.default_rng(0)
    x = (100 * rng.random(shape)).astype(dtype)
    least, greatest, mean, binary = _core.summarise_columns(gpu.array(x))
    tolerance.exact(least, x.min(axis=0).astype(np.float64))
    tolerance.exact(greatest, x.max(axis=0).astype(np.float64))
    wide = x.astype(np.float64)
    tolerance.near_sum(mean, wide.mean(axis=0), wide.mean(axis=0), shape[0])
    assert binary == bool(((x == 0) | (x == 1)).all())
    assert _core.summarise_columns(gpu.array((x > 50).astype(dtype)))[3]
    if dtype != np.uint8:
        x[shape[0] // 2, -1] = np.nan
        least, greatest, _, binary = _core.summarise_columns(gpu.array(x))
        assert np.isnan(least[-1]) and np.isnan(greatest[-1]) and not np.isnan(least[:-1]).any() and not binary


def test_rows_are_taken(gpu):
    x = np.random.default_rng(0).random((9, 5))
    order = np.array([8, 0, 0, 3])
    tolerance.exact(gpu.host(_core.take_rows(gpu.array(x), order)), x[order])
    with pytest.raises(ValueError, match="take_rows: row 9 of 9"):
        _core.take_rows(gpu.array(x), np.array([1, 9]))


def test_empty_arrays(gpu):
    nothing = gpu.array(np.zeros((0, 3)))
    assert gpu.host(ops.gemm(nothing, gpu.array(np.eye(3)))).shape == (0, 3)
    assert ops.uniform((0, 5), seed=0, device="cuda").shape == (0, 5)


def test_too_little_memory_is_told_with_its_size(gpu):
    with pytest.raises(MemoryError, match=r"MiB free of \d+, \d+ bytes more were asked for"):
        ops.uniform((1 << 20, 1 << 20), seed=0, device="cuda")
