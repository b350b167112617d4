"""Lets test modules and the scripts that they start import what stands beside them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

# A build of the core to be tested in place of the installed one, such as that with the emulated GPU.
if "HARMONIUM_TEST_CORE" in os.environ:
    _spec = importlib.util.spec_from_file_location("harmonium._core", os.environ["HARMONIUM_TEST_CORE"])
    sys.modules["harmonium._core"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["harmonium._core"])


def pytest_addoption(parser):
    parser.addoption(
        "--require-gpu", action="store_true", help="tests of a GPU fail where there is none, emulated or real"
    )


def pytest_configure(config):
    """Where tests run side by side BLAS has one thread, and so in processes that they start: its threads wait busily
    for one another on the same cores. The library's own threads are as many as ever."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


# Tests of these files share what is costly to make, and stay in one process; the first to begin take longest.
TOGETHER = re.compile(r"test_(cpp|same_bits)\.py::(?!test_sanitized)")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With -n: whole groups of tests, the largest first, then each of the others where there is room."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            found = TOGETHER.search(nodeid)
            return found.group(1) if found else nodeid

    return Scheduling(config, log)


def pytest_collection_finish(session):
    """With --require-gpu nothing is skipped for want of one: the run ends here, and says why the GPU is off."""
    from harmonium import _core

    if session.config.getoption("--require-gpu") and not _core.cuda_available():
        raise pytest.UsageError(f"--require-gpu: the GPU is {_core.cuda_status()}")


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """Where a test's body runs: `.name` is a `device` parameter, `.array` and `.host` move arrays there and back."""
    from device_arrays import device_under_test

    return device_under_test(request.param, request.config.getoption("--require-gpu"))


@pytest.fixture(autouse=True)
def same_draws_every_time():
    """What draws without a seed (random_state=None, scikit-learn's checks) draws from NumPy's global generator."""
    np.random.seed(0)  # noqa: NPY002 (what scikit-learn draws from)


@pytest.fixture
def set_threads():
    """A function that sets the number of threads; the environment's is back after the test."""
    from harmonium import _core

    yield _core.set_num_threads
    _core.set_num_threads(0)
