"""harmonium: classical latent-variable models, fast and exact."""

from ._blas import load_core

load_core()

from . import _core, callbacks, image, ops  # noqa: E402
from ._core import DivergenceError, OutOfDeviceMemory  # noqa: E402
from ._device import hand_over_cublas  # noqa: E402
from ._lasso import sparse_encode  # noqa: E402
from ._log_partition import LogPartition  # noqa: E402
from ._threads import register_with_threadpoolctl  # noqa: E402
from .autoencoder import Autoencoder  # noqa: E402
from .classifier import RBMClassifier  # noqa: E402
from .factor_analysis import FactorAnalysis  # noqa: E402
from .linear_factor_model import LinearFactorModel  # noqa: E402
from .ppca import PPCA  # noqa: E402
from .rbm import RBM, BernoulliRBM  # noqa: E402
from .sparse_coder import SparseCoder  # noqa: E402
from .sparse_coding import SparseCoding  # noqa: E402
from .versions import show_versions  # noqa: E402

__version__ = _core.__version__

from .persistence import load, save  # noqa: E402

register_with_threadpoolctl()
hand_over_cublas()

__all__ = [
    "PPCA",
    "RBM",
    "Autoencoder",
    "BernoulliRBM",
    "DivergenceError",
    "FactorAnalysis",
    "LinearFactorModel",
    "LogPartition",
    "OutOfDeviceMemory",
    "RBMClassifier",
    "SparseCoder",
    "SparseCoding",
    "__version__",
    "callbacks",
    "image",
    "load",
    "ops",
    "plot",
    "save",
    "show_versions",
    "sparse_encode",
]


def __getattr__(name: str) -> object:
    # matplotlib is optional and slow to import: harmonium.plot is loaded at its first use.
    if name == "plot":
        import importlib

        return importlib.import_module("harmonium.plot")
    raise AttributeError(f"module 'harmonium' has no attribute {name!r}")
