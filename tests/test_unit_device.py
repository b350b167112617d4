"""Training of machines with units of any type on a GPU, or on the emulated one, against the same on the CPU."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

import tolerance
from device_arrays import device_under_test
from harmonium import RBM
from harmonium._device import is_on_gpu
from test_unit_training import EXACT, LEARNED, make, random_data, same_model
from unit_machines import KINDS, Kind

pytestmark = pytest.mark.filterwarnings("ignore:.*(standardise X|hidden units).*:UserWarning")


@pytest.fixture
def gpu(request):
    return device_under_test("cuda", request.config.getoption("--require-gpu"))


def named(name):
    return next(kind for kind in KINDS if str(kind) == name)


def both(kind, X, sample_weight=None, n_hidden=20, **parameters):
    """One epoch on both devices. Parameters of order 1 move by rate times sums of a batch's rows, in every step."""
    settings = {"n_iter": 1, "batch_size": 20, "random_state": 0, **kind.parameters, **parameters}
    cpu, gpu = (
        RBM(n_hidden, visible=kind.visible, hidden=kind.hidden, device=device, **settings).fit(
            X, sample_weight=sample_weight
        )
        for device in ("cpu", "cuda")
    )
    dtype = cpu.components_.dtype
    terms = cpu._steps * (cpu.batch_size + X.shape[1])
    for name in LEARNED:
        was, now = getattr(cpu, name), getattr(gpu, name)
        if name == "h_samples_" and kind.hidden == "bernoulli":
            tolerance.exact(now, was)
        else:
            tolerance.near_sum(now, was, 1 + np.abs(was), terms, dtype=dtype)
    for name, values in cpu.history_.items():
        tolerance.near_sum(gpu.history_[name], np.asarray(values), 1 + np.abs(values), terms, dtype=dtype)
    return cpu, gpu


MIXED = named("bernoulli-gaussian-categorical-categorical-bernoulli")
WORDS = named("count-bernoulli")
REAL = named("gaussian-gaussian")
CHOICES = named("categorical-categorical-categorical-bernoulli")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_epoch_gives_the_cpu_s_likelihood(kind, gpu):
    X = random_data(kind, 45).astype(np.float32)
    cpu, there = both(kind, X, method="pcd", n_chains=7, learning_rate=0.1)
    there.set_params(device=None)  # both likelihoods on the CPU: an emulated GPU takes long over 2^20 states
    if str(kind) != "gaussian-relu":  # whose partition function is estimated
        ahead = there.log_likelihood(X) - cpu.log_likelihood(X)
        assert abs(ahead.mean()) < 0.01  # nats a row


@pytest.mark.parametrize("kind", [MIXED, WORDS, named("bernoulli-relu"), named("gaussian-relu")], ids=str)
def test_contrastive_divergence_keeps_the_cpu_s_states(kind, gpu):
    both(kind, random_data(kind, 45).astype(np.float32), method="cd", n_hidden=6)


@pytest.mark.parametrize(("dtype", "weighted"), [(np.float32, False), (np.float64, True)])
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (MIXED, {"method": "cd", "momentum": 0.5, "averaging": 2, "annealing": "linear", "n_gibbs_steps": 2}),
        (MIXED, {"method": "pcd", "learn_variance": True, "weight_decay": 0.01, "centering": False}),
        (MIXED, {"method": "pt", "n_temperatures": 3, "n_chains": 5, "n_gibbs_steps": 2, "learning_rate": 0.2}),
        (WORDS, {"method": "pcd", "l1": 0.01, "n_chains": 9, "shuffle": False}),
        (WORDS, {"method": "fpcd", "sparsity_cost": 0.1, "sparsity_target": 0.2}),
        (CHOICES, {"method": "pt", "n_temperatures": 4, "learning_rate": 0.2}),
        (MIXED, {"method": "exact", "learn_variance": True, "momentum": 0.5, "averaging": None, "n_chains": 9}),
        (WORDS, {"method": "exact", "l1": 0.01, "sparsity_cost": 0.1, "sparsity_target": 0.2, "n_chains": 9}),
    ],
    ids=lambda value: str(value) if isinstance(value, Kind) else value["method"],
)
def test_ways_of_training(kind, parameters, dtype, weighted, gpu):
    X = random_data(kind, 45).astype(dtype)
    weight = np.random.default_rng(1).integers(0, 4, 45) if weighted else None
    cpu, there = both(kind, X, weight, n_hidden=4, n_iter=2, **parameters)
    if parameters["method"] == "pt":
        tolerance.exact(there.swap_rates_, cpu.swap_rates_)
        assert (there.swap_rates_ > 0.5).all() and (there.swap_rates_ < 1).any()


@pytest.mark.parametrize("kind", EXACT, ids=str)
def test_exact_gradients(kind, gpu):
    """Batches of one row and a short last one, one chain and many; states of either layer are the fewer."""
    X = random_data(kind, 45).astype(np.float32)
    if kind is WORDS:  # of several sizes, some of them empty
        X *= np.random.default_rng(2).integers(0, 5, (45, 1))
    for n_hidden in (2, 7):
        _, there = both(kind, X, method="exact", n_hidden=n_hidden, n_chains=150, learning_rate=0.1)
        assert there.h_samples_.any(axis=0).all() and (there.h_samples_[1:] != there.h_samples_[0]).any()
    both(kind, X[:3], method="exact", n_hidden=5, n_chains=1, batch_size=1, centering=False)


@pytest.mark.parametrize("averaging", [None, 3])
def test_steps_that_leave_proper_machines_are_projected_back(averaging, gpu):
    X = random_data(REAL, 20)
    trained = []
    for device in ("cpu", "cuda"):
        rbm = make(REAL, method="cd", n_iter=0, learning_rate=0.01, averaging=averaging, device=device).fit(X)
        rbm.components_ = np.array([[2.0, 0.3], [-0.4, 0.9]])
        trained.append(rbm.partial_fit(X))
    for name in ("components_", "intercept_visible_", "intercept_hidden_"):
        tolerance.near_sum(
            *(getattr(rbm, name) for rbm in trained[::-1]), np.full(getattr(trained[0], name).shape, 4.0), 100
        )
    assert 0.97 < np.linalg.norm(trained[1].components_, 2) < 0.99


@pytest.mark.parametrize("method", ["cd", "pcd", "pt", "exact"])
def test_missing_entries(method, gpu):
    rng = np.random.default_rng(0)
    X = np.hstack([rng.random((50, 70)) < np.linspace(0.1, 0.9, 70), rng.integers(0, 3, (50, 2))]).astype(np.float32)
    X[rng.random(X.shape) < 0.3] = np.nan
    kind = Kind([("bernoulli", 70), ("categorical", 2)], "bernoulli", (), parameters={"n_categories": [3, 3]})
    both(kind, X, n_hidden=5, method=method, n_iter=2, n_temperatures=2, n_gibbs_steps=2, allow_missing=True)


@pytest.mark.parametrize("sparse", [False, True])
def test_grey_data_and_what_bits_are_drawn_from(sparse, gpu):
    rng = np.random.default_rng(0)
    X = (rng.random((50, 70)) * (rng.random((50, 70)) < 0.5)).astype(np.float32)
    kind = Kind("bernoulli", "bernoulli", ())
    for draw_data in (False, True):
        both(kind, sp.csr_matrix(X) if sparse else X, n_hidden=5, draw_data=draw_data, l1=0.01)


@pytest.mark.parametrize("method", ["pcd", "exact"])
@pytest.mark.parametrize("kind", [MIXED, WORDS], ids=str)
def test_rows_on_a_gpu_train_there(kind, method, gpu):
    """The same bits as from NumPy's rows moved there."""
    X = random_data(kind, 50)
    moved = make(kind, n_iter=2, device="cuda", method=method).fit(X)
    there = gpu.array(X)
    model = make(kind, n_iter=1, method=method).fit(there).partial_fit(there)
    for name in ("components_", "intercept_visible_", "intercept_hidden_"):
        assert is_on_gpu(getattr(model, name))
        tolerance.same_bits(gpu.host(getattr(model, name)), np.ascontiguousarray(getattr(moved, name)))
    tolerance.same_bits(gpu.host(model.h_samples_), moved.h_samples_)
    same_model(pickle.loads(pickle.dumps(model)), moved)


def test_bad_input_is_refused_as_on_the_cpu(gpu):
    for kind, row, value in ((MIXED, 3, 0.5), (MIXED, 7, np.nan), (WORDS, 2, -1), (CHOICES, 5, 9), (REAL, 4, np.inf)):
        X = random_data(kind, 20)
        X[row, 0] = value
        messages = []
        for device, rows in (("cpu", X), ("cuda", X), (None, gpu.array(X))):
            model = make(kind, device=device, check_range=True)
            if kind is MIXED and value == 0.5:
                model.set_params(allow_missing=True)
            with pytest.raises(ValueError, match=r"row|allow_missing") as error:
                model.fit(rows)
            assert not hasattr(model, "components_")
            messages.append(str(error.value))
        assert messages[0] == messages[1] == messages[2]
    X = np.random.default_rng(0).random((20, 15)) < 0.5
    for device in ("cpu", "cuda"):
        with pytest.raises(ValueError, match=r"enumerates a layer .* 32768 states, at most 16384 are possible"):
            RBM(15, method="exact", device=device).fit(X)


@pytest.mark.parametrize("kind", [MIXED, REAL], ids=str)
def test_a_failed_fit_keeps_the_last_whole_epoch(kind, gpu):
    X = random_data(kind, 50)
    rbm = make(kind, n_iter=2, device="cuda", learn_variance=True).fit(X)
    before = pickle.loads(pickle.dumps(rbm))
    with pytest.raises(ArithmeticError, match="training diverged in epoch 3"):
        rbm.set_params(learning_rate=1e9, annealing=None).partial_fit(X)
    same_model(rbm, before)
    assert rbm.n_iter_ == 2
