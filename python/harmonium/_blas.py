"""Loads the compiled core, with OpenBLAS set to the kernels that this CPU can run.

OpenBLAS picks its kernels by the CPU's model name when it is loaded, and takes names that it does not know for much
older processors. What the CPU can do is known from its features. OpenBLAS reads its choice from the environment,
once: it is set around the loading of our copy alone, so the one that NumPy has loaded, and any that is loaded later,
chooses as ever. A choice that the user has made in the environment stands.
"""

from __future__ import annotations

import os
import threading

import scipy.linalg  # noqa: F401  both before ours: they have read the environment by then

_LOCK = threading.Lock()


def _features() -> set[str]:
    """The features of this CPU as Linux lists them; none on other systems."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            return next((set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set())
    except OSError:
        return set()


def _core_type() -> str:
    features = _features()
    if features >= {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}:
        return "SkylakeX"
    if features >= {"avx2", "fma"}:
        return "Haswell"
    return ""


def load_core() -> None:
    """Import harmonium._core."""
    wanted = {"OPENBLAS_CORETYPE": _core_type(), "OPENBLAS_NUM_THREADS": "1"}
    with _LOCK:
        before = {name: os.environ.get(name) for name in wanted}
        try:
            if wanted["OPENBLAS_CORETYPE"]:
                os.environ.setdefault("OPENBLAS_CORETYPE", wanted["OPENBLAS_CORETYPE"])
            # harmonium's own threads each call a serial product; threads of OpenBLAS would only stand idle.
            os.environ["OPENBLAS_NUM_THREADS"] = "1"
            from . import _core  # noqa: F401
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
