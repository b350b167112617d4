"""`Autoencoder` on a GPU, or on the emulated one, against itself on the CPU: the same draws, sums in another order."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

import tolerance
from autoencoder_cases import Callback, assert_same_model, grey_digits
from device_arrays import device_under_test
from harmonium import Autoencoder, DivergenceError, _core

pytestmark = pytest.mark.skipif(not _core.cuda_available(), reason=f"GPU {_core.cuda_status()}")
STEPS = 4000  # eps by which sums in another order, once per step, have moved a parameter after two epochs


@pytest.fixture(scope="module")
def grey():
    return grey_digits()[:150]


def both(X, *sizes, **parameters):
    parameters = {"max_iter": 2, "batch_size": 16, "random_state": 0} | parameters
    return [Autoencoder(*sizes, device=device, **parameters).fit(X) for device in ("cpu", "cuda")]


def near(actual, expected):
    tolerance.near_sum(actual, expected, 1 + np.abs(expected), STEPS, dtype=expected.dtype)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"dtype": np.float64, "solver": "momentum", "tied": False, "learning_rate": "linear"},
        {"corruption": "masking", "dropout": 0.2, "early_stopping": True},
        {"corruption": "salt_and_pepper", "solver": "sgd", "alpha": 1e-3, "shuffle": False},
        {"hidden_layer_sizes": 12, "contraction": 0.1, "learning_rate": "invscaling"},
        {"contraction": 0.1, "activation": "tanh", "code_activation": "softplus"},
        {"pretraining": "layerwise", "pretraining_iter": 1, "corruption": "gaussian", "likelihood": "gaussian"},
        {"pretraining": "rbm", "pretraining_iter": 1},
    ],
)
def test_a_fit_on_either_device_is_the_same(grey, parameters, sparse):
    given = {"hidden_layer_sizes": (20, 6)} | parameters
    X = grey.astype(given.pop("dtype", np.float32))
    cpu, gpu = both(sp.csr_matrix(X) if sparse else X, given.pop("hidden_layer_sizes"), **given)
    for a, b in zip(gpu.coefs_ + gpu.intercepts_, cpu.coefs_ + cpu.intercepts_, strict=True):
        near(np.asarray(a), np.asarray(b))
    for name, values in cpu.history_.items():
        tolerance.near_sum(np.array(gpu.history_[name]), np.array(values), np.abs(values), STEPS, dtype=X.dtype)
    near(gpu.transform(X), cpu.transform(X))
    near(gpu.reconstruct(X), cpu.reconstruct(X))
    scores = cpu.score_samples(X)
    tolerance.near_sum(gpu.score_samples(X), scores, np.abs(scores), STEPS, dtype=X.dtype)


@pytest.fixture
def gpu(request):
    return device_under_test("cuda", request.config.getoption("--require-gpu"))


@pytest.mark.parametrize(
    "parameters",
    [
        {"dtype": np.float64, "early_stopping": True, "hidden_layer_sizes": (20, 6)},
        {"corruption": "salt_and_pepper", "likelihood": [("poisson", 30), ("laplace", 34)], "tied": False},
        {"pretraining": "layerwise", "pretraining_iter": 1, "hidden_layer_sizes": (20, 6)},
        {"pretraining": "rbm", "pretraining_iter": 1, "hidden_layer_sizes": (20, 6)},
        {"solver": "lbfgs"},
    ],
)
def test_rows_on_a_gpu_are_trained_on_there(grey, gpu, parameters):
    """As NumPy's rows moved there, but for the order of the sums that are the columns' means."""
    given = {"hidden_layer_sizes": 8, "max_iter": 2, "batch_size": 16, "random_state": 0} | parameters
    X = grey.astype(given.pop("dtype", np.float32))
    there = gpu.array(X)
    moved, model = Autoencoder(**given, device="cuda").fit(X), Autoencoder(**given).fit(there)
    assert not np.array_equal(moved.coefs_[0], Autoencoder(**given | {"max_iter": 0}).fit(X).coefs_[0])
    for a, b in zip(model.coefs_ + model.intercepts_, moved.coefs_ + moved.intercepts_, strict=True):
        assert type(a) is type(there)
        near(gpu.host(a), np.ascontiguousarray(b))
    assert gpu.host(model.components_).shape == moved.components_.shape
    codes = model.transform(there)
    for name, rows in (("transform", X), ("reconstruct", X), ("inverse_transform", gpu.host(codes))):
        result = getattr(model, name)(gpu.array(rows))
        assert type(result) is type(there)
        near(gpu.host(result), getattr(moved, name)(rows))
    scores = moved.score_samples(X)
    tolerance.near_sum(gpu.host(model.score_samples(there)), scores, np.abs(scores), STEPS, dtype=X.dtype)
    assert model.score(there) == gpu.host(model.score_samples(there)).mean()


@pytest.mark.parametrize("pretraining", ["rbm", "layerwise"])
def test_pretraining_stays_on_the_gpu(grey, gpu, pretraining, monkeypatch):
    """Every layer of codes, and the machines trained on it: none goes through the host."""
    seen = []
    for name in ("rbm_train", "unit_train") if pretraining == "rbm" else ("autoencoder_train",):
        call = getattr(_core, name)
        monkeypatch.setattr(_core, name, lambda *given, call=call: seen.append(given[-1]) or call(*given))
    for rows, device in ((gpu.array(grey.astype(np.float32)), None), (grey.astype(np.float32), "cuda")):
        seen.clear()
        Autoencoder((7, 5, 3), pretraining=pretraining, pretraining_iter=1, max_iter=0, device=device).fit(rows)
        assert seen[:3] == ["cuda:0"] * 3


def test_partial_fits_of_rows_on_a_gpu_are_a_fit_and_survive_a_pickle(grey, gpu):
    X = gpu.array(grey.astype(np.float32))
    whole = Autoencoder(7, max_iter=2, batch_size=16, random_state=0).fit(X)
    parts = Autoencoder(7, batch_size=16, random_state=0).partial_fit(X).partial_fit(X)
    assert_same_model(pickle.loads(pickle.dumps(whole)), pickle.loads(pickle.dumps(parts)))


def test_callbacks_see_a_model_beside_its_rows(grey, gpu):
    X, seen = gpu.array(grey.astype(np.float32)), []
    Autoencoder(5, max_iter=2, random_state=0).set_callbacks(Callback(lambda m: seen.append(m.score(X)))).fit(X)
    assert len(seen) == 2 and seen[0] < seen[1]


def test_choices_on_a_gpu(grey, gpu):
    """Encoded on the host, trained on the GPU, and given back there."""
    X = np.floor(grey[:, 20:30] * 3).astype(np.float32)
    parameters = {"likelihood": "categorical", "max_iter": 2, "random_state": 0}
    moved, model = Autoencoder(5, device="cuda", **parameters).fit(X), Autoencoder(5, **parameters).fit(gpu.array(X))
    near(gpu.host(model.coefs_[0]), moved.coefs_[0])
    near(gpu.host(model.reconstruct(gpu.array(X))), moved.reconstruct(X))


def test_bad_rows_on_a_gpu_are_told_of_as_numpy_s(grey, gpu):
    for likelihood, value in (("bernoulli", -0.5), ("bernoulli", np.nan), ("poisson", -1.0), ("gaussian", np.inf)):
        X = grey.astype(np.float64)
        X[7, 3] = value
        messages = []
        for rows in (X, gpu.array(X)):
            with pytest.raises(ValueError, match="row 7, column 3") as error:
                Autoencoder(4, likelihood=likelihood).fit(rows)
            messages.append(str(error.value))
        assert messages[0] == messages[1]


def test_rows_and_model_in_two_places_are_refused(grey, gpu):
    X = grey.astype(np.float32)
    there = gpu.array(X)
    for first, second in ((X, there), (there, X)):
        model = Autoencoder(4, max_iter=1).fit(first)
        for method in ("transform", "partial_fit", "score_samples"):
            with pytest.raises(ValueError, match=f"Autoencoder.{method}: X is .*, coefs_ of the model is .*; move one"):
                getattr(model, method)(second)
    with pytest.raises(ValueError, match=r"device='cpu', but a .* on GPU 0 was given"):
        Autoencoder(4, device="cpu").fit(there)


@pytest.mark.parametrize("solver", ["lbfgs", "cg"])
def test_scipy_s_solvers_take_the_loss_from_the_gpu(grey, solver):
    """Their line searches branch, so what is compared is the loss that they reach."""
    cpu, gpu = both(grey.astype(np.float64), 8, solver=solver, max_iter=5)
    assert gpu.loss_ < 0.95 * gpu.loss_curve_[0]
    tolerance.near_sum(np.array(gpu.loss_), np.array(cpu.loss_), np.abs(cpu.loss_), 1e6, dtype=np.float64)


@pytest.mark.parametrize("parameters", [{"contraction": 0.2, "corruption": "masking"}, {"dropout": 0.3, "alpha": 0.1}])
def test_gradient_and_jacobian(grey, parameters):
    X = grey.astype(np.float64)
    cpu, _ = both(X, 9, **parameters)
    loss, gradient = cpu.loss_and_gradient(X)
    norms = cpu.jacobian_norm(X)
    cpu.set_params(device="cuda")
    there, other = cpu.loss_and_gradient(X)
    tolerance.near_sum(np.array(there), np.array(loss), np.abs(loss), STEPS, dtype=np.float64)
    near(other, gradient)
    near(cpu.jacobian_norm(X), norms)


def test_categories(grey):
    X = (grey[:, 20:30] * 3).astype(int)
    cpu, gpu = both(X, 5, likelihood="categorical", corruption="masking")
    near(gpu.coefs_[0], cpu.coefs_[0])
    near(gpu.reconstruct(X), cpu.reconstruct(X))


def test_partial_fits_are_a_fit(grey):
    X = grey.astype(np.float32)
    parameters = {"batch_size": 16, "random_state": 0, "corruption": "masking", "device": "cuda"}
    whole = Autoencoder(7, max_iter=3, **parameters).fit(X)
    parts = Autoencoder(7, **parameters)
    for _ in range(3):
        parts.partial_fit(X)
    assert_same_model(whole, parts)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_keeps_the_last_whole_epoch(grey, solver):
    def interrupt(model):
        if model.n_iter_ == 2:
            raise KeyboardInterrupt

    parameters = {"solver": solver, "batch_size": 16, "random_state": 0, "device": "cuda"}
    model = Autoencoder(7, max_iter=9, **parameters).set_callbacks(Callback(interrupt))
    with pytest.raises(KeyboardInterrupt):
        model.fit(grey)
    assert model.n_iter_ == len(model.loss_curve_) == 2
    assert_same_model(model, Autoencoder(7, max_iter=2, **parameters).fit(grey))


def test_divergence_is_said(grey):
    X = 100 * grey.astype(np.float32)
    model = Autoencoder(
        7, likelihood="gaussian", activation="identity", solver="sgd", learning_rate_init=1e6, device="cuda"
    )
    with pytest.raises(DivergenceError, match="use a smaller learning_rate_init"):
        model.fit(X)
    assert all(np.isfinite(W).all() for W in model.coefs_)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_last_step_that_goes_too_far_is_not_kept(grey, sparse):
    X = sp.csr_matrix(grey) if sparse else grey
    for device in ("cpu", "cuda"):
        model = Autoencoder(20, likelihood="gaussian", activation="identity", solver="sgd", device=device)
        with pytest.raises(DivergenceError, match="training diverged in epoch 1: "):
            model.set_params(learning_rate_init=100.0, batch_size=150, random_state=0).fit(X)
        assert model.n_iter_ == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"device": "gpu"}, "device='gpu' is not None"),
        ({"device": 3}, "device=3 is not None"),
        ({"device": "cuda:99"}, "there is no GPU 99"),
    ],
)
def test_what_is_refused(grey, parameters, message):
    model = Autoencoder(**parameters)
    with pytest.raises((ValueError, RuntimeError, TypeError), match=message):
        model.fit(grey)
    assert not hasattr(model, "coefs_")
