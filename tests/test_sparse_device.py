"""`SparseCoder` and `SparseCoding` on a GPU, or on the emulated one, against the CPU; what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import harmonium
import tolerance
from autoencoder_cases import Callback
from harmonium import SparseCoder, SparseCoding, _core, sparse_encode
from test_lasso import problem

needs_gpu = pytest.mark.skipif(not _core.cuda_available(), reason=f"GPU {_core.cuda_status()}")
LEARNING = {
    "n_components": 7, "alpha": 0.5, "max_iter": 2, "tol": 0, "max_no_improvement": None, "batch_size": 15,
    "random_state": 0, "transform_tol": 1e-4,
}  # fmt: skip


def rows(n=30):
    return problem(n, 4, 6)[0]


def near(actual, expected):
    """Codes within tol of the least objective are within sqrt(2 tol) of the best, and so is what is learned of them."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    tolerance.converged(actual, expected, np.sqrt(2 * LEARNING["transform_tol"]), 1)


@needs_gpu
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"batch_size": None, "dtype": np.float64},
        {"positive_dict": True, "positive_code": True, "shuffle": False},
        {"fit_algorithm": "ista", "sparse": True},
    ],
)
def test_a_dictionary_learned_on_either_device_is_the_same(parameters):
    given = LEARNING | parameters
    X = rows().astype(given.pop("dtype", np.float32))
    X = sp.csr_matrix(X) if given.pop("sparse", False) else X
    cpu, gpu = (SparseCoding(device=device, **given).fit(X) for device in ("cpu", "cuda"))
    assert gpu.components_.dtype == X.dtype and (gpu.n_steps_, gpu.n_iter_) == (cpu.n_steps_, cpu.n_iter_)
    near(gpu.components_, cpu.components_)
    for name, values in cpu.history_.items():
        near(gpu.history_[name], values)


@needs_gpu
def test_learning_goes_on_where_it_stopped():
    X = rows()
    whole = SparseCoding(device="cuda", **LEARNING).fit(X)
    parts = SparseCoding(device="cuda", **LEARNING)
    for _ in range(2):
        parts.partial_fit(X)
    tolerance.same_bits(parts.components_, whole.components_)
    near(parts.set_params(device="cpu").partial_fit(X).components_, whole.partial_fit(X).components_)


@needs_gpu
def test_an_interrupted_fit_keeps_its_last_whole_pass():
    def interrupt(model):
        if model.n_iter_ == 1:
            raise KeyboardInterrupt

    model = SparseCoding(device="cuda", **LEARNING).set_callbacks(Callback(interrupt))
    with pytest.raises(KeyboardInterrupt):
        model.fit(rows())
    assert model.n_iter_ == 1
    tolerance.same_bits(
        model.components_, SparseCoding(device="cuda", **LEARNING | {"max_iter": 1}).fit(rows()).components_
    )


@needs_gpu
def test_coders_code_there_and_keep_their_device(tmp_path):
    x, D, alpha = problem(5, 8, 6)
    coder = SparseCoder(D, transform_alpha=alpha, device="cuda")
    expected = sparse_encode(x, D, alpha=alpha, device="cuda")
    tolerance.same_bits(coder.transform(x), expected)
    harmonium.save(coder, tmp_path / "coder.safetensors")
    again = harmonium.load(tmp_path / "coder.safetensors")
    assert again.device == "cuda"
    tolerance.same_bits(again.transform(x), expected)
    learned = SparseCoding(device="cuda", **LEARNING | {"max_iter": 1}).fit(x)
    tolerance.same_bits(learned.transform(x), sparse_encode(x, learned.components_, alpha=0.5, tol=1e-4, device="cuda"))


@needs_gpu
def test_solvers_that_do_not_run_there_are_refused():
    x = rows(5)
    for name, algorithm in (("fit_algorithm", "lars"), ("fit_algorithm", "cd"), ("transform_algorithm", "lasso_lars")):
        model = SparseCoding(device="cuda", **{name: algorithm})
        with pytest.raises(
            ValueError, match=f"SparseCoding: {name}='{algorithm}' does not run on device='cuda'; there"
        ):
            model.fit(x)
        assert not hasattr(model, "components_")


def test_devices_that_are_not_there_are_refused():
    x, D, _ = problem(5, 8, 6)
    with pytest.raises(ValueError, match="SparseCoder: device='tpu' is not None"):
        SparseCoder(D, device="tpu").transform(x)
    model = SparseCoding(device="cuda:99")
    with pytest.raises(RuntimeError, match=r"the GPU is off|there is no GPU 99"):
        model.fit(x)
    assert not hasattr(model, "components_")
