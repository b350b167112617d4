"""`SparseCoder` and `SparseCoding` on a GPU, or on the emulated one, against the CPU; what they refuse."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

import harmonium
import tolerance
from autoencoder_cases import Callback
from device_arrays import device_under_test
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


@pytest.fixture
def gpu(request):
    return device_under_test("cuda", request.config.getoption("--require-gpu"))


@pytest.mark.parametrize(
    "parameters",
    [
        {"dtype": np.float64, "split_sign": True},
        {"batch_size": None, "dict_init": problem(1, 7, 6)[1].astype(np.float32)},
        {"dtype": bool, "n_components": 9},
    ],
)
def test_rows_on_a_gpu_are_learned_from_there(gpu, parameters, tmp_path):
    """The same bits as from NumPy's rows moved there: they are the same rows."""
    given = LEARNING | parameters
    x = rows()
    dtype = given.pop("dtype", np.float32)
    X = x > 0.5 if dtype is bool else x.astype(dtype)
    moved = SparseCoding(device="cuda", **given).fit(X)
    there = gpu.array(X)
    if "dict_init" in given:
        given["dict_init"] = gpu.array(given["dict_init"])
    model = SparseCoding(**given).partial_fit(there).partial_fit(there)
    assert (model.n_steps_, model.n_features_in_) == (moved.n_steps_, 6) and model.history_ == moved.history_
    codes = model.transform(there)
    for found, expected in (
        (SparseCoding(**given).fit(there).components_, moved.components_),
        (model.components_, moved.components_),
        (codes, moved.transform(X)),
    ):
        assert type(found) is type(there)
        tolerance.same_bits(gpu.host(found), expected)
    near(gpu.host(model.inverse_transform(codes)), moved.inverse_transform(gpu.host(codes)))
    assert len(model.get_feature_names_out()) == codes.shape[1]
    harmonium.save(model, tmp_path / "model.safetensors")
    for kept in (pickle.loads(pickle.dumps(model)), harmonium.load(tmp_path / "model.safetensors")):
        tolerance.same_bits(kept.components_, moved.components_)


def test_a_coder_on_a_gpu_takes_and_gives_arrays_of_its_library(gpu, tmp_path):
    x, D, alpha = problem(5, 8, 6)
    coder = SparseCoder(gpu.array(D), transform_alpha=alpha, split_sign=True)
    here = SparseCoder(D, transform_alpha=alpha, split_sign=True, device="cuda")
    codes = coder.fit(gpu.array(x)).transform(gpu.array(x))
    tolerance.same_bits(gpu.host(codes), here.transform(x))
    back, expected = gpu.host(coder.inverse_transform(codes)), here.inverse_transform(gpu.host(codes))
    tolerance.near_sum(back, expected, np.abs(gpu.host(codes)) @ np.abs(np.vstack([D, D])), 16, dtype=back.dtype)
    harmonium.save(coder, tmp_path / "coder.safetensors")
    tolerance.same_bits(harmonium.load(tmp_path / "coder.safetensors").dictionary, D)


def test_what_is_refused_of_rows_on_a_gpu(gpu):
    x, D, _ = problem(5, 8, 6)
    there, coder = gpu.array(x), SparseCoder(gpu.array(D))
    for call in (coder.fit, coder.transform):
        with pytest.raises(ValueError, match=r"SparseCoder.\w+: X is a NumPy array, the dictionary is on GPU 0"):
            call(x)
    with pytest.raises(ValueError, match=r"SparseCoder.inverse_transform: X is on GPU 0, the dictionary is a NumPy"):
        SparseCoder(D).inverse_transform(gpu.array(np.zeros((2, 8))))
    with pytest.raises(ValueError, match=r"SparseCoder\.inverse_transform: codes have 6 columns, 8 are needed"):
        coder.inverse_transform(there)
    with pytest.raises(ValueError, match="X has 8 features, but SparseCoder is expecting 6"):
        coder.fit(there).transform(gpu.array(D.T))
    with pytest.raises(ValueError, match="SparseCoding: X is on GPU 0, dict_init is a NumPy array; move one"):
        SparseCoding(8, dict_init=D).fit(there)
    with pytest.raises(ValueError, match="SparseCoding: fit_algorithm='cd' does not run on device='cuda'"):
        SparseCoding(fit_algorithm="cd").fit(there)
    bad = x.copy()
    bad[2, 1] = np.nan
    model = SparseCoding(3, max_iter=1, random_state=0)
    with pytest.raises(ValueError, match=r"SparseCoding\.fit: X contains NaN in row 2, column 1"):
        model.fit(gpu.array(bad))
    assert not hasattr(model, "components_")
    model.fit(there)
    for call in (model.partial_fit, model.transform):
        with pytest.raises(ValueError, match=r"SparseCoding.\w+: X is a NumPy array, components_ of the"):
            call(x)
    for rows_there in (gpu.array(D.T), gpu.array(x[0])):
        with pytest.raises(ValueError, match=r"X has 8 columns, the model has 6|at least one row and one column"):
            model.partial_fit(rows_there)


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
