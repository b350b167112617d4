"""What is running: for bug reports, and for the question why it is slow."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

from . import _core

_PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "array-api-compat",
    "tqdm",
    "safetensors",
    "matplotlib",
    "cupy-cuda13x",
    "nvidia-cublas",
)


def versions() -> dict[str, str]:
    """Everything that `show_versions` prints, by name."""
    found = {
        "harmonium": _core.__version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "SIMD level": f"{_core.isa()} (HARMONIUM_ISA chooses another)",
        "BLAS": f"OpenBLAS, {_core.blas_core()} kernels" if _core.blas_core() else "a CBLAS chosen at build time",
        "threads": f"{_core.get_num_threads()} (HARMONIUM_NUM_THREADS, OMP_NUM_THREADS or threadpoolctl)",
        "GPU": _core.cuda_status(),
    }
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def show_versions() -> None:
    """Print versions, the SIMD level and BLAS kernels in use, threads, and the GPU or why there is none.

    Examples
    --------
    >>> import harmonium
    >>> harmonium.show_versions()  # doctest: +ELLIPSIS
    harmonium...
    """
    for name, value in versions().items():
        print(f"{name:<14} {value}")
