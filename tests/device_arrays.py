"""Arrays on a GPU for tests: CuPy's where there are any, else the plainest there can be, on the emulated GPU too."""

from __future__ import annotations

import numpy as np
import pytest

from harmonium import _core


class OnCpu:
    """What a test body does on the CPU: nothing but NumPy."""

    name = "cpu"
    array = staticmethod(np.asarray)
    host = staticmethod(np.asarray)


class OnGpu:
    name = "cuda"

    def __init__(self):
        # The emulated GPU has none of CuPy's memory.
        emulated = _core.cuda_status().startswith("emulated")
        self.cupy = None if emulated else _cupy()

    def array(self, values):
        values = np.ascontiguousarray(values)
        return self.cupy.asarray(values) if self.cupy else _core.DeviceArray(values)

    def host(self, array):
        if isinstance(array, np.ndarray):  # of NumPy's, moved by device="cuda"
            return array
        return self.cupy.asnumpy(array) if self.cupy else array.numpy()


def _cupy():
    try:
        import cupy
    except ImportError:
        return None
    return cupy


def device_under_test(name, require_gpu):
    """The device, or a skip that says why there is none; with require_gpu a failure."""
    if name == "cpu":
        return OnCpu()
    if not _core.cuda_available():
        (pytest.fail if require_gpu else pytest.skip)(f"GPU {_core.cuda_status()}")
    return OnGpu()
