"""The C++ library: built with sanitizers and tested, then installed and used by another project, then with CUDA."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reference
import tolerance

ROOT = Path(__file__).parents[1]
# cmake and ninja are installed beside the interpreter, or else on the PATH.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "HARMONIUM_ISA"},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}
MISSING = [tool for tool in ("cmake", "ninja", "c++") if not shutil.which(tool, path=ENVIRONMENT["PATH"])]

pytestmark = [
    pytest.mark.skipif(not (ROOT / "CMakePresets.json").exists(), reason="no source tree around these tests"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


def run(*command, **variables):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**ENVIRONMENT, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}"
    return done.stdout


def configure(preset, folder, *options):
    run("cmake", "--preset", preset, "-B", folder, f"-DPython_EXECUTABLE={sys.executable}", *options)


def build(folder):
    return run("cmake", "--build", folder, "--parallel", os.cpu_count())


def test_sanitized(tmp_path):
    """Every op, loop and refusal at every SIMD level, under the address and undefined-behaviour sanitizers."""
    configure("sanitize", tmp_path)
    build(tmp_path)
    report = run("ctest", "--test-dir", tmp_path, "--output-on-failure", "--verbose", "-j", "2")
    counted = re.findall(r"(\d+) checks, 0 failed", report)
    assert counted and all(int(n) > 1_000_000 for n in counted), report[-8000:]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The library as users build and install it, with every warning an error."""
    folder = tmp_path_factory.mktemp("release")
    configure("default", folder / "build", "-DHARMONIUM_TESTS=OFF", "-DHARMONIUM_WERROR=ON")
    build(folder / "build")
    run("cmake", "--install", folder / "build", "--prefix", folder / "prefix")
    return folder


def test_another_project_finds_the_installed_library(installed, tmp_path):
    prefix = f"-DCMAKE_PREFIX_PATH={installed / 'prefix'}"
    run("cmake", "-S", ROOT / "tests" / "consume", "-B", tmp_path, "-G", "Ninja", prefix)
    build(tmp_path)
    log_z = float(run(tmp_path / "consume"))
    expected = reference.log_partition(np.array([[1.0, 1.0], [1.0, -2.0]]), np.ones(2), np.ones(2))
    # Printed with 12 decimals.
    tolerance.near_sum(log_z, expected, 1e-12 / np.finfo(np.float64).eps, 1)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="there is one SIMD level on this processor")
@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_no_level_leaks_code_into_another(installed):
    """A function that two levels define under one name would run on whichever the linker keeps: on an older
    processor, an illegal instruction."""
    objects = sorted((installed / "build").glob("CMakeFiles/kernels_*.dir/**/*.o"))
    assert len(objects) >= 3 * 4
    for path in objects:
        level = re.search(r"kernels_(x86_64_v\d)\.dir", str(path)).group(1)
        lines = run("nm", "-C", "--defined-only", "-g", path).splitlines()
        names = [line.split(maxsplit=2)[2] for line in lines if line]
        assert names, path
        assert [name for name in names if f"harmonium::{level}::" not in name] == [], path


# -- CUDA ------------------------------------------------------------------------------------------------------------


def why_gpu_code_cannot_be_compiled():
    """ "" where nvcc and cuBLAS's headers are at hand."""
    found = {part.metadata["Name"] for part in importlib.metadata.distributions()}
    if not shutil.which("nvcc", path=ENVIRONMENT["PATH"]) and "nvidia-cuda-nvcc" not in found:
        return "no nvcc on the PATH, and nvidia-cuda-nvcc is not installed"
    return "" if "nvidia-cublas" in found else "nvidia-cublas is not installed"


@pytest.fixture(scope="module")
def with_cuda(installed):
    """The same tree with the emulated GPU and, where there is nvcc, with the GPU's own code: the kernels of the CPU are
    compiled already. Returns the folder of the build."""
    pybind11 = pytest.importorskip("pybind11", reason="pybind11 is not installed")
    if not shutil.which("patchelf", path=ENVIRONMENT["PATH"]):
        pytest.skip("patchelf is not installed")
    folder = installed / "build"
    link = "OFF" if why_gpu_code_cannot_be_compiled() else "ON"
    options = [
        "-DHARMONIUM_CUDA=EMULATE",
        f"-DHARMONIUM_CUDA_LINK={link}",
        "-DHARMONIUM_PYTHON=ON",
        "-DHARMONIUM_TESTS=ON",
    ]
    configure("default", folder, *options, f"-Dpybind11_DIR={pybind11.get_cmake_dir()}")
    build(folder)
    return folder


def core_in(folder):
    (module,) = folder.glob("_core.*.so")
    return module


def test_kernels_on_the_emulated_gpu(with_cuda):
    report = run(with_cuda / "tests" / "cpp" / "harmonium_device_tests")
    assert re.search(r"GPU: emulated.*\n(.*\n)*.*\b[1-9]\d{3,} checks, 0 failed", report), report[-8000:]


def test_python_on_the_emulated_gpu(with_cuda):
    """Every test that takes a device, on the emulated one."""
    names = "cuda or gpu or _device"
    command = [sys.executable, "-m", "pytest", "-q", "--require-gpu", "-k", names, "-p", "no:cacheprovider"]
    files = [
        path
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        if path != Path(__file__)  # which would begin anew
        and (path.stem.endswith(("_device", "_gpu")) or re.search(r"\b(device|gpu)\b[,)]", path.read_text()))
    ]
    report = run(*command, *files, HARMONIUM_TEST_CORE=str(core_in(with_cuda / "python")))
    assert re.search(r"\d+ passed", report) and "failed" not in report, report[-8000:]


@pytest.mark.skipif(bool(why_gpu_code_cannot_be_compiled()), reason=why_gpu_code_cannot_be_compiled())
def test_the_module_of_a_gpu_imports_without_a_driver(with_cuda):
    program = (
        "import importlib.util as u, sys\n"
        "spec = u.spec_from_file_location('harmonium._core', sys.argv[1]); core = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(core); print(core.cuda_status())"
    )
    status = run(sys.executable, "-c", program, core_in(with_cuda / "python" / "gpu"))
    if Path("/dev/nvidiactl").exists():
        assert "built without CUDA" not in status
    else:
        assert status.startswith(("off: no NVIDIA driver", "off: the driver")), status
