"""What `Autoencoder` does: scikit-learn's checks, training and its state, sparse and mixed input, bad input."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks

import tolerance
from autoencoder_cases import assert_same_model, grey_digits
from harmonium import Autoencoder, load, save


@pytest.fixture(scope="module")
def grey():
    return grey_digits()


# check_range=False because the checks feed values far outside [0, 1], which the default refuses.
@parametrize_with_checks(
    [
        Autoencoder(4, check_range=False, max_iter=3),
        Autoencoder((6, 4), likelihood="gaussian", max_iter=3, activation="tanh", tied=False),
        Autoencoder(4, likelihood="laplace", max_iter=3, corruption="salt_and_pepper", contraction=0.1),
        Autoencoder(4, likelihood="gaussian", max_iter=3, solver="lbfgs", alpha=0.01),
        Autoencoder(4, likelihood="gaussian", max_iter=3, early_stopping=True, dropout=0.1, corruption="gaussian"),
        Autoencoder((5, 4), likelihood="gaussian", max_iter=2, pretraining="layerwise", pretraining_iter=2),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


# -- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(20,), (30, 8)])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("solver", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "lbfgs", "cg"])
def test_every_solver_learns(grey, solver, sizes, tied):
    model = Autoencoder(sizes, tied=tied, solver=solver, max_iter=20, batch_size=30, random_state=0).fit(grey)
    start = Autoencoder(sizes, tied=tied, max_iter=0, random_state=0).fit(grey)
    assert model.score(grey) > start.score(grey) + 1
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.n_iter_ == len(model.loss_curve_) <= 20


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu", "softplus"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace", "poisson"])
def test_defaults_learn_whatever_the_layers(grey, activation, likelihood):
    X = np.round(16 * grey) if likelihood == "poisson" else grey
    model = Autoencoder(20, activation=activation, likelihood=likelihood, max_iter=40, batch_size=20, random_state=0)
    error = ((model.fit(X).reconstruct(X) - X) ** 2).mean()
    assert np.isfinite(error) and error < 0.8 * X.var(axis=0).mean()


def test_training_begins_at_the_means(grey):
    """Before any step the mean of the outputs' inputs gives the data's mean, whatever the weights drawn."""
    for likelihood in ("bernoulli", "gaussian", "poisson"):
        start = Autoencoder(30, likelihood=likelihood, max_iter=0, random_state=0).fit(grey)
        best = Autoencoder(30, likelihood=likelihood, max_iter=0, random_state=0).fit(grey)
        best.coefs_ = [np.zeros_like(W) for W in start.coefs_]
        p = np.clip(grey.mean(axis=0), 1e-3, 1 - 1e-3)
        best.intercepts_[1][:] = {"bernoulli": np.log(p / (1 - p)), "gaussian": p, "poisson": np.log(p)}[likelihood]
        assert start.score(grey) > best.score(grey) - 0.2 * abs(best.score(grey))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"corruption": "masking", "solver": "momentum"},
        {"corruption": "gaussian", "dropout": 0.2, "learning_rate": "exponential"},
        {"tied": False, "hidden_layer_sizes": (16, 6), "contraction": 0.1, "learning_rate": "invscaling"},
    ],
)
def test_partial_fit_pass_by_pass_is_fit(grey, parameters):
    whole = Autoencoder(**{"hidden_layer_sizes": 16, "max_iter": 4, "random_state": 3, **parameters}).fit(grey)
    passes = clone(whole)
    for _ in range(4):
        passes.partial_fit(grey)
    assert_same_model(whole, passes)
    assert passes.loss_curve_ == whole.loss_curve_ and passes.n_iter_ == 4


def test_warm_start_goes_on(grey):
    whole = Autoencoder(16, max_iter=6, random_state=3).fit(grey)
    halves = Autoencoder(16, max_iter=3, random_state=3, warm_start=True).fit(grey).fit(grey)
    assert_same_model(whole, halves)
    assert halves.n_iter_ == 6
    fresh = Autoencoder(16, max_iter=3, random_state=3).fit(grey).fit(grey)
    assert fresh.n_iter_ == 3


def test_early_stopping_keeps_the_best_epoch(grey):
    parameters = {
        "early_stopping": True,
        "n_iter_no_change": 3,
        "learning_rate_init": 0.1,
        "random_state": 0,
        "tol": 0.0,
    }
    model = Autoencoder(40, max_iter=200, **parameters).fit(grey)
    scores = model.validation_scores_
    best = int(np.argmax(scores))
    assert best < len(scores) - 1 < 199, "nothing was stopped"
    assert model.best_validation_score_ == scores[best]
    again = Autoencoder(40, max_iter=best + 1, **parameters).fit(grey)
    assert_same_model(model, again)


def test_training_stops_where_the_loss_does(grey):
    model = Autoencoder(8, tol=1e6, n_iter_no_change=4, max_iter=50, random_state=0).fit(grey)
    assert model.n_iter_ == 5  # the first epoch improves on nothing at all
    adaptive = Autoencoder(8, tol=1e6, n_iter_no_change=2, max_iter=50, learning_rate="adaptive", random_state=0).fit(
        grey
    )
    rates = adaptive.history_["learning_rate"]
    tolerance.near_sum(np.array(rates[-1]), np.array(0.001 / 5**4), np.array(0.001), 8)
    assert adaptive.n_iter_ < 50


@pytest.mark.parametrize(
    ("learning_rate", "last"), [("linear", 0.01 * (1 - 0.99 * 29 / 30)), ("exponential", 0.01 * 0.01 ** (29 / 30))]
)
def test_schedules_reach_a_hundredth(grey, learning_rate, last):
    model = Autoencoder(
        8, learning_rate=learning_rate, learning_rate_init=0.01, max_iter=10, batch_size=100, random_state=0
    ).fit(grey)
    tolerance.near_sum(np.array(model.history_["learning_rate"][-1]), np.array(last), np.array(0.01), 8)


def test_tied_weights_are_one_array(grey):
    model = Autoencoder((12, 5), max_iter=2, random_state=0).fit(grey)
    for W, V in zip(model.coefs_[:2], model.coefs_[:1:-1], strict=True):
        assert np.shares_memory(W, V)
        tolerance.exact(W, V.T)
    free = Autoencoder((12, 5), tied=False, max_iter=2, random_state=0).fit(grey)
    assert not np.array_equal(free.coefs_[0], free.coefs_[-1].T)


def test_a_linear_autoencoder_spans_the_leading_principal_components():
    """Baldi and Hornik 1989: the minimum is PCA's subspace. Largest principal angle under 1e-3, k = 20."""
    X = load_digits().data / 16
    X = X - X.mean(axis=0)
    model = Autoencoder(
        20, activation="identity", likelihood="gaussian", tied=False, solver="lbfgs", max_iter=3000, tol=1e-7,
        random_state=0,
    ).fit(X)  # fmt: skip
    found, _ = np.linalg.qr(model.coefs_[1].T)
    wanted = PCA(20).fit(X).components_.T
    cosines = np.linalg.svd(wanted.T @ found, compute_uv=False)
    assert np.sqrt(max(0.0, 1 - cosines.min() ** 2)) < 1e-3


@pytest.mark.parametrize("pretraining", ["rbm", "layerwise"])
@pytest.mark.parametrize("tied", [True, False])
def test_pretraining_is_a_better_start(pretraining, tied):
    X = load_digits().data / 16
    common = {"tied": tied, "random_state": 0, "max_iter": 0, "batch_size": 20, "code_activation": "identity"}
    started = Autoencoder((40, 8), pretraining=pretraining, pretraining_iter=25, **common).fit(X)
    drawn = Autoencoder((40, 8), **common).fit(X)
    assert started.score(X) > drawn.score(X) + 2


def test_contraction_contracts(grey):
    plain = Autoencoder(20, max_iter=20, random_state=0, batch_size=30).fit(grey)
    held = Autoencoder(20, max_iter=20, random_state=0, batch_size=30, contraction=1.0).fit(grey)
    assert held.jacobian_norm(grey).mean() < 0.7 * plain.jacobian_norm(grey).mean()


# -- input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters", [{}, {"corruption": "masking"}, {"likelihood": "poisson"}, {"early_stopping": True}]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_csr_is_the_same_as_dense(grey, parameters, dtype):
    X = (np.round(16 * grey) if "likelihood" in parameters else grey).astype(dtype)
    X = X * (X > np.median(X))  # sparse enough for dense rows to be compressed as well
    common = {"hidden_layer_sizes": (12, 5), "max_iter": 0, "random_state": 0, "warm_start": True, **parameters}
    dense, sparse = Autoencoder(**common).fit(X), Autoencoder(**common).fit(sp.csr_matrix(X))
    sparse.intercepts_ = [b.copy() for b in dense.intercepts_]  # means of columns are summed in another order
    sparse.coefs_ = [W.copy() for W in dense.coefs_]
    dense.set_params(max_iter=3).fit(X)
    sparse.set_params(max_iter=3).fit(sp.csr_matrix(X))
    assert_same_model(dense, sparse)
    for method in ("transform", "reconstruct", "score_samples", "jacobian_norm"):
        a, b = getattr(dense, method)(X), getattr(sparse, method)(sp.csr_matrix(X))
        tolerance.near_sum(a, np.asarray(b, np.float64), np.abs(a) + 1, 200, dtype=dtype)


def test_duplicates_and_unsorted_columns_of_csr_are_summed():
    """uint8, in which 200 + 57 is 1; limits and means are of the sums too."""
    whole = np.array([[0, 257, 0], [3, 0, 0], [0, 0, 4]], np.float32)
    data, columns, begin = np.array([200, 57, 3, 4, 0], np.uint8), np.array([1, 1, 0, 2, 0]), np.array([0, 2, 3, 5])
    given = sp.csr_matrix((data, columns, begin), (3, 3))
    parameters = {"likelihood": "poisson", "corruption": "salt_and_pepper", "max_iter": 2, "random_state": 0}
    assert_same_model(Autoencoder(2, **parameters).fit(given), Autoencoder(2, **parameters).fit(whole))
    tolerance.exact(given.data, data)


@pytest.mark.parametrize("likelihood", ["bernoulli", "categorical"])
@pytest.mark.parametrize("layout", ["fortran", "strided", "reversed"])
def test_layouts_in_memory(grey, likelihood, layout):
    X = np.round(grey)
    given = {
        "fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "reversed": X[::-1].copy()[::-1],
    }
    parameters = {"likelihood": likelihood, "max_iter": 1, "random_state": 0}
    assert_same_model(Autoencoder(3, **parameters).fit(given[layout]), Autoencoder(3, **parameters).fit(X))


def test_blocks_may_be_an_array(grey):
    """NumPy makes text of the numbers in it."""
    blocks = [("bernoulli", 30), ("gaussian", 34)]
    model = Autoencoder(3, likelihood=np.array(blocks), max_iter=1, random_state=0).fit(grey)
    assert_same_model(model, Autoencoder(3, likelihood=blocks, max_iter=1, random_state=0).fit(grey))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float16])
def test_codes_of_any_type(grey, dtype):
    X = np.round(grey * (1 if dtype is bool else 2)).astype(dtype)
    parameters = {"likelihood": "categorical", "max_iter": 1, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Autoencoder(3, **parameters).fit(X)
    assert_same_model(model, Autoencoder(3, **parameters).fit(X.astype(np.float32)))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_dtypes(grey, dtype):
    model = Autoencoder(5, max_iter=1, random_state=0).fit((grey > 0.5).astype(dtype))
    wanted = np.float64 if dtype == np.float64 else np.float32
    assert {W.dtype for W in model.coefs_ + model.intercepts_} == {np.dtype(wanted)}
    assert model.transform(grey).dtype == wanted


def test_mixed_columns():
    rng = np.random.default_rng(0)
    h = rng.normal(size=(400, 2))
    X = np.column_stack(
        [h[:, 0] > 0, h @ [1, 1], h[:, 1], np.digitize(h[:, 0], [-0.5, 0.5]), rng.poisson(np.exp(h[:, 1]))]
    )
    likelihood = [("bernoulli", 1), ("gaussian", 2), ("categorical", 1), ("poisson", 1)]
    model = Autoencoder(
        (30, 2), activation="tanh", likelihood=likelihood, max_iter=100, batch_size=20, random_state=0
    ).fit(X)
    tolerance.exact(model.n_categories_, np.array([3]))
    mean = model.reconstruct(X)
    assert mean.shape == (400, 7)
    tolerance.near_sum(mean[:, 3:6].sum(axis=1), np.ones(400), np.ones(400), 16)
    assert (mean[:, 3:6].argmax(axis=1) == X[:, 3]).mean() > 0.9
    one_hot = np.column_stack([X[:, :3], np.eye(3)[X[:, 3].astype(int)], X[:, 4]])
    tolerance.same_bits(model.transform(one_hot), model.transform(X))


def test_score_samples_is_log_p_of_x_given_its_code(grey):
    model = Autoencoder(10, max_iter=5, random_state=0).fit(grey)
    p = model.reconstruct(grey)
    expected = (grey * np.log(p) + (1 - grey) * np.log1p(-p)).sum(axis=1)
    tolerance.near_sum(model.score_samples(grey), expected, np.abs(expected) * 1e3, 64)
    assert model.score(grey) == model.score_samples(grey).mean()


def test_assigned_parameters_are_used(grey):
    model = Autoencoder(3, max_iter=1, random_state=0).fit(grey)
    W = np.random.default_rng(0).normal(size=(64, 3))
    model.coefs_, model.intercepts_ = [W, W.T], [np.ones(3), np.zeros(64)]
    expected = 1 / (1 + np.exp(-(grey @ W + 1)))
    tolerance.near_sum(model.transform(grey), expected, np.ones_like(expected), 500)
    model.partial_fit(grey)
    assert np.abs(model.coefs_[0] - W).max() < 0.1  # trained on from there
    model.coefs_[1] = 2 * model.coefs_[1]
    with pytest.raises(
        ValueError, match=r"tied=True, but the decoder in coefs_ does not mirror the encoder: coefs_\[1\]"
    ):
        model.transform(grey)


# -- saving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"tied": False, "hidden_layer_sizes": (6, 4)}, {"likelihood": [("poisson", 60), ("bernoulli", 4)]}],
)
@pytest.mark.parametrize("way", ["pickle", "file", "deepcopy"])
def test_a_saved_model_is_the_same_and_trains_on_alike(grey, parameters, way, tmp_path):
    model = Autoencoder(**{"hidden_layer_sizes": 6, "max_iter": 2, "random_state": 0, **parameters}).fit(grey)
    if way == "file":
        save(model, tmp_path / "model.safetensors")
        again = load(tmp_path / "model.safetensors")
    else:
        again = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    assert_same_model(model, again)
    tolerance.same_bits(model.transform(grey), again.transform(grey))
    assert_same_model(model.partial_fit(grey), again.partial_fit(grey))
    assert again.history_ == model.history_
