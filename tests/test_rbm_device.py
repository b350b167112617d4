"""RBMs on a GPU, or on the emulated one, against the same on the CPU: the same draws, sums in another order.

What a fitted model computes from rows is tested on both devices in test_sampling.py and test_likelihood.py.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

import reference
import tolerance
from autoencoder_cases import Callback
from device_arrays import device_under_test
from harmonium import RBM, BernoulliRBM, _core, load, save
from harmonium._device import is_on_gpu
from models import draw_parameters, machine

needs_gpu = pytest.mark.skipif(not _core.cuda_available(), reason=f"GPU {_core.cuda_status()}")


@pytest.fixture(scope="module")
def bits():
    return load_digits().data[:300] > 7


@pytest.fixture
def gpu(request):
    return device_under_test("cuda", request.config.getoption("--require-gpu"))


def both(model, X):
    return [model.__class__(**model.get_params() | {"device": device}).fit(X) for device in ("cpu", "cuda")]


@needs_gpu
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [
        {"method": "cd"},
        {"method": "pcd"},
        {"method": "pcd", "n_gibbs_steps": 3, "momentum": 0.5, "averaging": None, "batch_size": 32},
        {"method": "cd", "weight_decay": 0.01, "annealing": "linear", "centering": False},
        {"method": "exact", "n_components": 9},
    ],
)
def test_one_epoch_gives_the_cpu_s_likelihood(bits, parameters, sparse):
    X = sp.csr_matrix(bits.astype(np.float32)) if sparse else bits
    cpu, gpu = both(RBM(**{"n_components": 20, "n_iter": 1, "random_state": 0, **parameters}), X)
    gpu.set_params(device=None)  # both likelihoods on the CPU: an emulated GPU takes long over 2^20 states
    ahead = gpu.log_likelihood(bits) - cpu.log_likelihood(bits)
    assert abs(ahead.mean()) < 0.01  # nats a row, both by the exact partition function
    np.testing.assert_array_equal(gpu.h_samples_, cpu.h_samples_)


@needs_gpu
def test_scikit_learn_s_class_and_grey_data(bits):
    grey = load_digits().data[:200] / 16
    cpu, gpu = both(BernoulliRBM(12, n_iter=2, random_state=1), grey)
    # Two epochs of 20 steps each move a parameter by sums of 64 terms.
    scale = 1 + np.abs(cpu.components_)
    tolerance.near_sum(gpu.components_, cpu.components_, scale, 40 * 64, dtype=cpu.components_.dtype)
    assert gpu.n_iter_ == 2 and gpu.history_.keys() == cpu.history_.keys()


@needs_gpu
def test_an_interrupted_fit_keeps_its_last_whole_epoch(bits):
    def interrupt(model):
        if model.n_iter_ == 2:
            raise KeyboardInterrupt

    parameters = {"n_components": 8, "random_state": 0, "device": "cuda"}
    model = RBM(n_iter=5, **parameters).set_callbacks(Callback(interrupt))
    with pytest.raises(KeyboardInterrupt):
        model.fit(bits)
    whole = RBM(n_iter=2, **parameters).fit(bits)
    assert model.n_iter_ == 2
    tolerance.same_bits(np.ascontiguousarray(model.components_), np.ascontiguousarray(whole.components_))


LEARNED = (
    "components_", "intercept_visible_", "intercept_hidden_", "visible_offset_", "hidden_offset_", "h_samples_",
)  # fmt: skip


@pytest.mark.parametrize("form", ["bool", "float32", "grey", "drawn"])
def test_rows_on_a_gpu_are_trained_on_there(bits, gpu, form):
    """The same bits as from NumPy's rows moved there: they are the same rows."""
    X = load_digits().data[:200] / 16 if form in ("grey", "drawn") else bits.astype(form)
    parameters = {"n_components": 9, "batch_size": 32, "random_state": 3, "draw_data": form == "drawn"}
    moved = RBM(n_iter=2, device="cuda", **parameters).fit(X)
    there = gpu.array(X)
    model = RBM(n_iter=1, **parameters).fit(there).partial_fit(there)
    for name in LEARNED:
        assert type(getattr(model, name)) is type(there)
        tolerance.same_bits(gpu.host(getattr(model, name)), np.ascontiguousarray(getattr(moved, name)))
    assert model.history_ == moved.history_ and model.n_features_in_ == X.shape[1]
    tolerance.same_bits(gpu.host(model.transform(there)), moved.transform(X))


def test_a_model_on_a_gpu_is_kept_as_numpy_s(bits, gpu, tmp_path):
    model = RBM(6, n_iter=1, random_state=0).fit(gpu.array(bits))
    save(model, tmp_path / "model.safetensors")
    for kept in (pickle.loads(pickle.dumps(model)), load(tmp_path / "model.safetensors")):
        for name in LEARNED:
            tolerance.same_bits(np.ascontiguousarray(getattr(kept, name)), gpu.host(getattr(model, name)))


def test_bad_rows_on_a_gpu_are_told_of_as_numpy_s(bits, gpu):
    for value in (np.nan, np.inf, -0.5, 2.0):
        X = bits.astype(np.float64)
        X[7, 3] = value
        messages = []
        for rows in (X, gpu.array(X)):
            model = RBM(4)
            with pytest.raises(ValueError, match="row 7, column 3") as error:
                model.fit(rows)
            assert not hasattr(model, "components_")
            messages.append(str(error.value))
        assert messages[0] == messages[1]


def test_what_is_refused_of_rows_on_a_gpu(bits, gpu):
    there = gpu.array(bits)
    with pytest.raises(ValueError, match=r"device='cpu', but a .* on GPU 0 was given"):
        RBM(4, device="cpu").fit(there)
    for rows in (gpu.array(bits[0]), gpu.array(bits[:0])):
        with pytest.raises(ValueError, match="at least one row and one column are needed"):
            RBM(4).fit(rows)
    for first, second in ((bits, there), (there, bits)):
        model = RBM(4, n_iter=1, device=None if first is there else "cuda").fit(first)
        with pytest.raises(ValueError, match=r"RBM.partial_fit: X is .*, components_ of the model is .*; move one"):
            model.partial_fit(second)
    with pytest.raises(ValueError, match=r"RBM.transform: X is on GPU 0, components_ of the model is a NumPy array"):
        RBM(4, visible="categorical", n_iter=1).fit(bits).transform(there)


# -- fitted models -------------------------------------------------------------------------------------------------


def machines(dtype, visible=70, hidden=37):
    return [machine(*draw_parameters(visible, hidden, 0.5, dtype=dtype), device=device) for device in ("cpu", "cuda")]


@needs_gpu
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fitted_model_draws_what_the_cpu_draws(dtype):
    rng = np.random.default_rng(0)
    v, grey = rng.random((20, 70)) < 0.4, rng.random((20, 70))
    mask, h = rng.random((20, 70)) < 0.3, (rng.random((7, 37)) < 0.5).astype(dtype)
    for call in (
        lambda rbm: rbm.gibbs(v, 4, random_state=1),
        lambda rbm: rbm.gibbs(sp.csr_matrix(v.astype(dtype)), random_state=1),
        lambda rbm: rbm.gibbs(grey, 2, random_state=1),
        lambda rbm: rbm.sample(20, n_steps=3, random_state=1),
        lambda rbm: rbm.sample(20, n_steps=2, init=grey, random_state=1),
        lambda rbm: rbm.sample(20, n_steps=5, clamp=(mask, v), random_state=1),
        lambda rbm: setattr(rbm, "h_samples_", h) or rbm.sample(20, n_steps=2, random_state=1),
    ):
        cpu, gpu = (call(rbm) for rbm in machines(dtype))
        assert cpu.any() and not cpu.all()
        tolerance.exact(gpu, cpu)


@needs_gpu
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_annealing_has_the_cpu_s_log_z(dtype):
    """A bracket anneals up, and down from samples."""
    cpu, gpu = (rbm.log_partition("bracket", n_runs=15, n_betas=6, random_state=0) for rbm in machines(dtype, 12, 8))
    assert gpu.method == cpu.method == "bracket"
    # Given the same draws a run's weight is the sum of 8 softplus of 12 terms below 3 each, at 5 temperatures.
    for name in ("value", "lower", "upper"):
        tolerance.near_sum(getattr(gpu, name), getattr(cpu, name), 5 * 8 * 12 * 3, 2 * 12, dtype=dtype)


@needs_gpu
def test_annealing_finds_the_partition_function():
    parameters = draw_parameters(8, 5, 0.7)
    z = machine(*parameters, device="cuda").log_partition("ais", n_runs=150, n_betas=20, random_state=0)
    tolerance.statistical((z.value - reference.log_partition(*parameters)) / z.std_error)


@needs_gpu
def test_the_methods_of_a_fitted_model_run_on_its_device(monkeypatch):
    """Each calls the core with the device's name; the mean over all rows of what is scored is the same."""
    seen = []
    for name in (
        "rbm_probability",
        "rbm_gibbs",
        "rbm_free_energy",
        "rbm_pseudo_log_likelihood",
        "rbm_log_partition",
        "rbm_anneal",
    ):
        call = getattr(_core, name)
        monkeypatch.setattr(
            _core, name, lambda *given, call=call, name=name: seen.append((name, given[-1])) or call(*given)
        )
    rbm = machine(*draw_parameters(9, 5), device="cuda")
    v = np.random.default_rng(0).random((6, 9)) < 0.5
    for method, *expected in (
        (lambda: rbm.transform(v), "rbm_probability"),
        (lambda: rbm.inverse_transform(v[:, :5]), "rbm_probability"),
        (lambda: rbm.gibbs(v), "rbm_gibbs"),
        (lambda: rbm.sample(3, n_steps=1), "rbm_gibbs"),
        (lambda: rbm.free_energy(v), "rbm_free_energy"),
        (lambda: rbm.score_samples(v), "rbm_pseudo_log_likelihood"),
        (lambda: rbm.log_partition("exact"), "rbm_log_partition"),
        (lambda: rbm.log_likelihood(v), "rbm_log_partition", "rbm_free_energy"),
        (lambda: rbm.log_partition("ais", n_runs=2, n_betas=2), "rbm_anneal"),
    ):
        seen.clear()
        method()
        assert seen == [(name, "cuda:0") for name in expected]


@pytest.mark.parametrize("form", ["bits", "grey"])
def test_a_model_on_a_gpu_takes_and_gives_arrays_of_its_library(bits, gpu, form):
    X = bits[:60] if form == "bits" else np.random.default_rng(0).random((60, bits.shape[1])).astype(np.float32)
    there = RBM(6, n_iter=1, random_state=0, device="cuda").fit(gpu.array(bits))
    here = copy.deepcopy(there)
    H = here.transform(X)
    for call in (
        lambda rbm, move: rbm.transform(move(X)),
        lambda rbm, move: rbm.inverse_transform(move(H)),
        lambda rbm, move: rbm.gibbs(move(X), 2, random_state=0),
        lambda rbm, move: rbm.sample(5, n_steps=2, random_state=0),
        lambda rbm, move: rbm.sample(60, n_steps=2, init=move(X), random_state=0),
        lambda rbm, move: rbm.sample(5, n_steps=2, sampler="pt", random_state=0),
        lambda rbm, move: rbm.free_energy(move(X)),
        lambda rbm, move: rbm.score_samples(move(X)),
        lambda rbm, move: rbm.energy(move(X), move(H)),
        lambda rbm, move: rbm.log_likelihood(move(bits[:9])),
    ):
        found = call(there, gpu.array)
        assert is_on_gpu(found)
        tolerance.same_bits(gpu.host(found), np.ascontiguousarray(call(here, np.asarray)))
    assert there.score(gpu.array(X)) == here.score(X)
    assert (
        there.log_partition("reverse_ais", n_runs=3, n_betas=3, random_state=0).value
        == here.log_partition("reverse_ais", n_runs=3, n_betas=3, random_state=0).value
    )
    for moved in (gpu.array, np.asarray):  # masks and values of clamp lie anywhere
        mask = np.arange(bits.shape[1]) < 9
        clamped = there.sample(4, n_steps=1, clamp=(moved(mask), moved(bits[:4])), random_state=0)
        tolerance.exact(gpu.host(clamped)[:, :9], bits[:4, :9].astype(gpu.host(clamped).dtype))
    for rbm, rows in ((there, X), (here, gpu.array(X))):
        with pytest.raises(ValueError, match=r"RBM\.sample: init is .*, components_ of the model is .*; move one"):
            rbm.sample(60, init=rows)
        with pytest.raises(ValueError, match=r"RBM\.transform: X is .*, components_ of the model is .*; move one"):
            rbm.transform(rows)
        with pytest.raises(ValueError, match=r"RBM\.inverse_transform: H is "):
            rbm.inverse_transform(rows)
    with pytest.raises(ValueError, match=r"RBM\.transform: X .*row 0, column 0"):
        there.transform(gpu.array(X + np.float32(2)))


@needs_gpu
def test_what_has_no_kernels_runs_on_the_cpu(bits):
    cpu, gpu = both(RBM(5, n_iter=1, random_state=0), bits[:100])
    gpu.components_, gpu.intercept_hidden_, gpu.intercept_visible_ = (
        cpu.components_,
        cpu.intercept_hidden_,
        cpu.intercept_visible_,
    )
    h = np.ones((100, 5), np.float32)
    tolerance.same_bits(gpu.energy(bits[:100], h), cpu.energy(bits[:100], h))
    assert gpu.log_partition() == cpu.log_partition()
    gpu.visible_offset_ = cpu.visible_offset_
    for sampler in ("pt", "annealed"):
        cpu_drew, gpu_drew = (rbm.sample(4, n_steps=3, sampler=sampler, random_state=0) for rbm in (cpu, gpu))
        tolerance.exact(gpu_drew, cpu_drew)


# -- devices that are not there ------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", "cuda:", 3, "cuda:x"])
def test_names_of_devices(bits, device):
    with pytest.raises(ValueError, match=r"RBM: device=.* is not None, 'cpu', 'cuda' or 'cuda:' and a number"):
        RBM(4, device=device).fit(bits)


@pytest.mark.skipif(_core.cuda_available(), reason="there is a GPU")
def test_an_absent_gpu_is_explained(bits):
    model = RBM(4, device="cuda")
    with pytest.raises(RuntimeError, match=r"RBM: device='cuda': the GPU is off: "):
        model.fit(bits)
    assert not hasattr(model, "components_")


@pytest.mark.skipif(_core.cuda_available(), reason="there is a GPU")
def test_a_fitted_model_explains_that_its_gpu_is_absent():
    rbm = machine(*draw_parameters(30, 27), device="cuda", random_state=0)
    v = np.zeros((2, 30))
    for method in (
        lambda: rbm.transform(v),
        lambda: rbm.inverse_transform(v[:, :27]),
        lambda: rbm.gibbs(v),
        lambda: rbm.sample(),
        lambda: rbm.free_energy(v),
        lambda: rbm.score_samples(v),
        lambda: rbm.log_likelihood(v),
        lambda: rbm.log_partition(),
    ):
        before = set(vars(rbm))
        with pytest.raises(RuntimeError, match=r"RBM: device='cuda': the GPU is off: "):
            method()
        assert set(vars(rbm)) == before  # no draw of the sequence has been taken
    assert rbm.set_params(device="cpu").transform(v).shape == (2, 27)
