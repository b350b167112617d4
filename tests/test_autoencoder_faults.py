"""What `Autoencoder` refuses, and what is left when training diverges, is stopped or interrupted."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import scipy.sparse as sp

import tolerance
from autoencoder_cases import Callback, assert_same_model, grey_digits
from harmonium import Autoencoder, DivergenceError


@pytest.fixture(scope="module")
def grey():
    return grey_digits()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes=() is empty"),
        ({"hidden_layer_sizes": (5, 0)}, r"hidden_layer_sizes\[1\]=0, it must be at least 1"),
        ({"hidden_layer_sizes": (5, 3), "decoder_layer_sizes": (4,)}, r"decoder_layer_sizes is \(5,\), not \(4,\)"),
        ({"hidden_layer_sizes": None}, "hidden_layer_sizes=None, an integer or a sequence of integers is needed"),
        ({"hidden_layer_sizes": 5.0}, "hidden_layer_sizes=5.0, an integer or a sequence of integers is needed"),
        ({"likelihood": "beta"}, "likelihood='beta' is not one of 'bernoulli'"),
        ({"likelihood": [("bernoulli", 3)]}, "have 3 columns in all, X has 64"),
        ({"activation": "gelu"}, "activation='gelu' is not one of"),
        ({"solver": "adamw"}, "solver='adamw' is not one of"),
        ({"corruption": "blur"}, "corruption='blur' is not one of"),
        (
            {"corruption": "masking", "corruption_level": 1.5},
            "corruption_level=1.5, it must be at least 0 and at most 1",
        ),
        ({"dropout": 1.0}, "dropout=1.0, it must be at least 0 and less than 1"),
        ({"contraction": 0.1, "dropout": 0.1}, "contraction=0.1 and dropout=0.1 exclude each other"),
        ({"learning_rate_init": 0.0}, "learning_rate_init=0.0, it must be greater than 0"),
        ({"batch_size": 0}, "batch_size=0, it must be at least 1"),
        ({"validation_fraction": 1.0, "early_stopping": True}, "validation_fraction=1.0"),
        (
            {"pretraining": "rbm", "activation": "tanh", "hidden_layer_sizes": (4, 3)},
            "pretraining='rbm' has no hidden units",
        ),
    ],
)
def test_bad_parameters(grey, parameters, message):
    model = Autoencoder(**parameters)
    with pytest.raises((ValueError, TypeError), match=message.replace("()", r"\(\)")):
        model.fit(grey)
    assert not hasattr(model, "coefs_") and not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("likelihood", "value", "message"),
    [
        ("bernoulli", 1.5, "X contains 1.5 in row 3, column 7; a bernoulli likelihood takes values from 0 to 1"),
        ("bernoulli", -0.1, "X contains -0.1 in row 3, column 7"),
        ("poisson", -1.0, "X contains -1 in row 3, column 7; a poisson likelihood takes counts of at least 0"),
        ("gaussian", np.nan, "X contains NaN in row 3, column 7; it has to be finite"),
        ("laplace", np.inf, "X contains inf in row 3, column 7; it has to be finite"),
    ],
)
def test_values_that_a_likelihood_cannot_take(grey, likelihood, value, message, sparse):
    X = grey.copy()
    X[3, 7] = value
    model = Autoencoder(4, likelihood=likelihood, max_iter=1).fit(grey)
    before = [W.copy() for W in model.coefs_]
    given = sp.csr_matrix(X) if sparse else X
    for call in (model.fit, model.partial_fit, model.transform, model.score_samples):
        with pytest.raises(ValueError, match=message):
            call(given)
    for W, old in zip(model.coefs_, before, strict=True):
        tolerance.same_bits(np.ascontiguousarray(W), np.ascontiguousarray(old))


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_values_beyond_the_model_s_type(grey, sparse, mixed):
    """A model in float32 and X in float64."""
    X = np.column_stack([grey[:, :9], np.arange(300) % 3]) if mixed else grey.copy()
    likelihood = [("gaussian", 9), ("categorical", 1)] if mixed else "gaussian"
    model = Autoencoder(4, likelihood=likelihood, max_iter=1).fit(X.astype(np.float32))
    X[3, 7] = 1e300
    with pytest.raises(ValueError, match=r"X contains 1e\+300 in row 3, column 7, beyond float32"):
        model.transform(sp.csr_matrix(X) if sparse and not mixed else X)
    with pytest.raises(ValueError, match=r"inverse_transform: H contains 1e\+300 in row 0, column 0, beyond float32"):
        model.inverse_transform(np.full((1, 4), 1e300))


@pytest.mark.parametrize(
    ("value", "message"), [(3.0, "X contains 3 in row 1, column 0"), (0.5, "X contains 0.5 in row 1")]
)
def test_codes_that_are_none(value, message):
    X = np.tile([0.0, 1.0, 2.0], 4)[:, None]
    model = Autoencoder(2, likelihood="categorical", max_iter=1).fit(X)
    X[1] = value
    with pytest.raises(ValueError, match=message):
        model.transform(X)


def test_divergence_is_said_and_the_last_whole_epoch_kept(grey):
    model = Autoencoder(20, likelihood="poisson", max_iter=2, random_state=0).fit(16 * grey)
    before = [W.copy() for W in model.coefs_]
    model.set_params(solver="sgd", learning_rate_init=1e4)
    with pytest.raises(DivergenceError, match=r"Autoencoder: training diverged in epoch 3: .*learning_rate_init=10000"):
        model.partial_fit(16 * grey)
    for W, old in zip(model.coefs_, before, strict=True):
        tolerance.same_bits(np.ascontiguousarray(W), np.ascontiguousarray(old))
    assert model.n_iter_ == 2 and np.isfinite(model.score(16 * grey))


@pytest.mark.parametrize("parameters", [
    {"hidden_layer_sizes": (6, 4)},
    {"likelihood": "gaussian"},
    {"likelihood": [("bernoulli", 63), ("gaussian", 1)]},
    {"tied": False, "decoder_layer_sizes": (9,)},
])  # fmt: skip
def test_what_only_a_start_reads_is_not_changed_in_silence(grey, parameters):
    model = Autoencoder(6, max_iter=1, warm_start=True, random_state=0).fit(grey)
    before = copy.deepcopy(model)
    name, value = list(parameters.items())[-1]
    message = re.escape(f"{name}={value!r}, but the model that training goes on with has [")
    for method in (model.set_params(**parameters).fit, model.partial_fit):
        with pytest.raises(ValueError, match=message):
            method(grey)
    assert_same_model(model.set_params(**before.get_params()), before)
    assert model.history_ == before.history_


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_stops_training(grey, solver):
    seen = []
    model = Autoencoder(8, solver=solver, max_iter=20, random_state=0)
    model.set_callbacks(Callback(lambda m: seen.append(m.loss_) or len(seen) == 3)).fit(grey)
    assert model.n_iter_ == 3 and seen == model.loss_curve_


@pytest.mark.parametrize("solver", ["adam", "cg"])
def test_ctrl_c_keeps_the_last_whole_epoch(grey, solver):
    def interrupt(model):
        if model.n_iter_ == 4:
            raise KeyboardInterrupt

    model = Autoencoder(8, solver=solver, max_iter=20, random_state=0).set_callbacks(Callback(interrupt))
    with pytest.raises(KeyboardInterrupt):
        model.fit(grey)
    assert model.n_iter_ == len(model.loss_curve_) == 4
    assert_same_model(model, Autoencoder(8, solver=solver, max_iter=4, random_state=0).fit(grey))


def test_a_start_that_fails_changes_nothing(grey):
    """Pretraining is interrupted before there are parameters: the model of the fit before is still there."""
    model = Autoencoder(6, max_iter=1, random_state=0).fit(grey)
    before = copy.deepcopy(model)
    model.set_params(pretraining="rbm", activation="tanh", hidden_layer_sizes=(5, 4))
    with pytest.raises(ValueError, match="pretraining='rbm' has no hidden units"):
        model.fit(grey)
    model.set_params(**before.get_params())
    assert_same_model(model, before)
    assert model.history_ == before.history_


def test_verbose_shows_one_bar(grey, capsys):
    Autoencoder(4, max_iter=2, random_state=0).fit(grey)
    assert capsys.readouterr() == ("", "")
    Autoencoder(4, max_iter=2, random_state=0, verbose=1).fit(grey)
    shown = capsys.readouterr()
    assert shown.out == "" and "Autoencoder: 100%" in shown.err and "loss=" in shown.err
