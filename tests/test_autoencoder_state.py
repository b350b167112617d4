"""What an `Autoencoder` carries from one call to the next, and how its first parameters come about."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import dense_reference
import tolerance
from autoencoder_cases import assert_same_model, grey_digits
from harmonium import Autoencoder, DivergenceError, load, save

RULES = ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]


@pytest.fixture(scope="module")
def grey():
    return grey_digits()


# -- one step --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "parameters",
    [
        {"corruption": "masking", "contraction": 0.1, "alpha": 0.05},
        {"corruption": "salt_and_pepper", "dropout": 0.3, "hidden_layer_sizes": (9, 4)},
        {"corruption": "gaussian", "contraction": 0.2, "hidden_layer_sizes": (9, 5, 4), "activation": "tanh"},
        {"likelihood": "poisson", "activation": "softplus", "alpha": 0.1, "hidden_layer_sizes": (9, 4)},
        {"likelihood": "laplace", "corruption": "salt_and_pepper"},
    ],
)
def test_a_step_goes_down_the_gradient_of_the_loss(grey, parameters, tied, sparse):
    """Training and `loss_and_gradient` go different ways to the same numbers."""
    X = sp.csr_matrix(4 * grey - (parameters.get("likelihood") == "laplace")) if sparse else grey
    given = {"hidden_layer_sizes": 7, "check_range": False, **parameters}
    model = Autoencoder(
        **given, tied=tied, solver="sgd", learning_rate_init=0.01, batch_size=500, max_iter=0, random_state=1
    ).fit(X)
    before = model.flat_parameters()
    loss, gradient = model.loss_and_gradient(X)
    model.partial_fit(X)
    step = 0.01 * gradient
    tolerance.near_sum(model.flat_parameters(), before - step, np.abs(before) + np.abs(step).max(), 400)
    if "alpha" not in parameters:  # else the record holds the penalty behind the step
        tolerance.near_sum(model.loss_, loss, abs(loss), 300)


# -- from call to call -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", RULES)
@pytest.mark.parametrize("after", RULES)
def test_what_one_rule_keeps_is_not_read_by_another(grey, before, after):
    """Adagrad would take the roots of momentum's steps; Adam's first steps after another rule are corrected anew."""
    model = Autoencoder(6, solver=before, max_iter=2, random_state=0).fit(grey)
    start, steps = model.flat_parameters(), model._steps
    model.set_params(solver=after, learning_rate_init=1e-3, batch_size=500)
    _, gradient = model.loss_and_gradient(grey)
    model.partial_fit(grey)
    if before == after:
        return
    kept = np.zeros({"sgd": 0, "adam": 2}.get(after, 1) * start.size)
    numbers = {"rate": 1e-3, "momentum": 0.9, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    expected, _ = dense_reference.update(after, gradient, kept, start, step=1, **numbers)
    assert model._steps == steps + 1
    # A rate of 1e-3 times a share of the gradient's error that its root may magnify.
    tolerance.converged(model.flat_parameters(), expected, 1e-3, 1e-4)


def test_a_shallow_copy_trains_alone(grey):
    model = Autoencoder(5, max_iter=2, random_state=0).fit(grey)
    whole = copy.deepcopy(model)
    copy.copy(model).partial_fit(grey)
    assert model.history_ == whole.history_
    assert_same_model(model.partial_fit(grey), whole.partial_fit(grey))


def test_the_record_keeps_to_what_is_known(grey):
    model = Autoencoder(4, max_iter=0, random_state=0).fit(grey)
    assert not hasattr(model, "loss_") and not hasattr(model, "validation_scores_")
    assert model.loss_curve_ == [] and model.n_iter_ == 0
    model.set_params(max_iter=2, early_stopping=True).fit(grey)
    assert len(model.validation_scores_) == 2
    model.partial_fit(grey)
    assert np.isnan(model.validation_scores_[2]) and len(model.loss_curve_) == 3
    assert not hasattr(model, "best_validation_score_"), "it is of other parameters"


def test_many_epochs_are_several_calls(grey, monkeypatch):
    """Epochs beyond any array's size: they are recorded piece by piece."""
    expected = Autoencoder(3, max_iter=7, random_state=0).fit(grey)
    monkeypatch.setattr("harmonium._autoencoder_training._AT_A_TIME", 3)
    model = Autoencoder(3, max_iter=7, random_state=0).fit(grey)
    assert_same_model(model, expected)
    assert model.history_ == expected.history_
    early = Autoencoder(3, max_iter=10**15, tol=1e9, n_iter_no_change=4, random_state=0).fit(grey)
    assert early.n_iter_ == len(early.loss_curve_) == 5


def test_early_stopping_goes_on_from_the_best(grey):
    """A second fit that only spoils the model gives back the model of the first."""
    model = Autoencoder(20, early_stopping=True, max_iter=5, warm_start=True, random_state=0).fit(grey)
    best = copy.deepcopy(model)
    model.set_params(learning_rate_init=3.0, max_iter=3).fit(grey)
    assert min(best.validation_scores_) > max(model.validation_scores_[5:]), "nothing was spoilt"
    assert_same_model(model, best)
    tolerance.near_sum(model.best_validation_score_, best.best_validation_score_, 100.0, 64)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_saved_record_is_the_same(grey, solver, tmp_path):
    """L-BFGS records no rates: NaN has to come back."""
    model = Autoencoder(4, solver=solver, max_iter=3, random_state=0).fit(grey)
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    for name, values in model.history_.items():
        np.testing.assert_array_equal(again.history_[name], values)


def test_parameters_may_be_assigned_as_lists(grey):
    model = Autoencoder(4, max_iter=1, random_state=0).fit(grey)
    expected = model.transform(grey).astype(np.float32)
    model.coefs_ = [W.tolist() for W in model.coefs_]
    assert model.components_.shape == (4, 64) and len(model.get_feature_names_out()) == 4
    tolerance.near_sum(model.transform(grey).astype(np.float32), expected, np.ones_like(expected), 64)
    assert model.partial_fit(grey).n_iter_ == 2


# -- first parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "decoder"), [((4,), (4,)), ((4,), (6, 4)), ((8, 4), ()), ((8, 4), (8, 8, 8)), ((5, 5), (5,))]
)
def test_a_free_decoder_of_any_shape_is_drawn(grey, hidden, decoder):
    """Layers that only seem to be mirrors of others once copied their zeros."""
    model = Autoencoder(hidden, decoder_layer_sizes=decoder, tied=False, max_iter=0, random_state=0).fit(grey)
    for W in model.coefs_:
        assert np.linalg.matrix_rank(W) == min(W.shape)


@pytest.mark.parametrize("pretraining", ["rbm", "layerwise"])
def test_pretraining_leaves_the_encoder_alone_where_there_is_no_mirror(grey, pretraining):
    """A square layer in the middle is not its own mirror."""
    parameters = {"tied": False, "pretraining": pretraining, "pretraining_iter": 2, "max_iter": 0, "random_state": 0}
    mirrored = Autoencoder((10, 10), **parameters).fit(grey)
    free = Autoencoder((10, 10), decoder_layer_sizes=(), **parameters).fit(grey)
    for layer in range(2):
        tolerance.same_bits(free.coefs_[layer], mirrored.coefs_[layer])
        tolerance.same_bits(free.intercepts_[layer], mirrored.intercepts_[layer])


def counts(n=400, words=60):
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(words, 0.1), 5)
    shares = rng.dirichlet(np.full(5, 0.3), n) @ topics
    return np.array([rng.multinomial(rng.poisson(80), p) for p in shares]).astype(np.float64)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_stack_of_rbms_of_counts_begins_at_their_rates(sparse):
    """A replicated softmax takes its hidden biases once a word and gives no number of words."""
    X = counts()
    model = Autoencoder(
        (20, 5), likelihood="poisson", pretraining="rbm", pretraining_iter=3, max_iter=0, random_state=0
    ).fit(sp.csr_matrix(X) if sparse else X)
    means = model.reconstruct(X).mean(axis=0)
    tolerance.near_sum(means, X.mean(axis=0), X.mean(axis=0) + 1, 0.5 / len(X) / np.finfo(float).eps)
    with pytest.raises(ValueError, match="pretraining='rbm' of counts takes a first layer of sigmoid units"):
        Autoencoder(20, likelihood="poisson", pretraining="rbm").fit(X)


MIXED = [("categorical", 2), ("gaussian", 2), ("poisson", 1)]


def mixed(n=200):
    rng = np.random.default_rng(0)
    codes = np.vstack([[2, 3], np.column_stack([rng.integers(0, 3, n - 1), rng.integers(0, 4, n - 1)])])
    return np.column_stack([codes, 100 + 50 * rng.normal(size=(n, 2)), rng.poisson(4, n)])


def one_hot(X):
    return np.column_stack([np.eye(3)[X[:, 0].astype(int)], np.eye(4)[X[:, 1].astype(int)], X[:, 2:]])


def test_columns_behind_choices_are_read_where_they_stand():
    """Codes and one-hot columns put the others at different places: limits and spreads have to follow."""
    X = mixed()
    parameters = {"likelihood": MIXED, "corruption": "salt_and_pepper", "max_iter": 2, "random_state": 0}
    by_code = Autoencoder(6, **parameters).fit(X)
    sizes = [("categorical", 7), *MIXED[1:]]
    by_column = Autoencoder(6, n_categories=[3, 4], **{**parameters, "likelihood": sizes}).fit(one_hot(X))
    assert_same_model(by_code, by_column)
    assert by_code.loss_and_gradient(X)[0] == by_code.loss_and_gradient(one_hot(X))[0]
    assert_same_model(by_code.partial_fit(X), by_column.partial_fit(X))


def test_salt_and_pepper_are_the_data_s_in_the_loss_too(grey):
    """`loss_and_gradient` is the loss that `fit` minimises."""
    X = 7 * grey - 3
    model = Autoencoder(
        8, likelihood="gaussian", corruption="salt_and_pepper", solver="sgd", learning_rate_init=1e-30, batch_size=300,
        max_iter=0, random_state=0,
    ).fit(X)  # fmt: skip
    loss, _ = model.loss_and_gradient(X)
    assert model.partial_fit(X).loss_ == loss


# -- divergence ------------------------------------------------------------------------------------------------------


def test_rows_far_from_all_others_are_no_divergence():
    """Batches of one row: the first lies at the mean, another a million times as far out."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 10))
    X[100] = 1e6
    X[0] = X.mean(axis=0)
    model = Autoencoder(
        3, likelihood="gaussian", batch_size=1, shuffle=False, learning_rate_init=1e-9, max_iter=2, random_state=0
    ).fit(X)
    assert model.n_iter_ == 2
    with pytest.raises(DivergenceError, match="in epoch 3"):
        model.set_params(learning_rate_init=1e12, solver="sgd").partial_fit(X)


@pytest.mark.parametrize(
    ("likelihood", "solver", "rate"),
    [("gaussian", "sgd", 3.0), ("gaussian", "momentum", 1.0), ("poisson", "adam", 10.0), ("bernoulli", "adam", 1e3)],
)
def test_one_step_an_epoch_leaves_no_parameters_that_have_diverged(grey, likelihood, solver, rate):
    """By little each step, or by a last step of an epoch at once."""
    X = grey[:100] * (16 if likelihood == "poisson" else 1)
    activation = "identity" if likelihood == "gaussian" else "sigmoid"
    parameters = {"likelihood": likelihood, "activation": activation, "random_state": 0}
    begun = Autoencoder(20, max_iter=0, **parameters).fit(X)
    model = Autoencoder(20, max_iter=300, solver=solver, learning_rate_init=rate, **parameters)
    with pytest.raises(DivergenceError, match="use a smaller learning_rate_init"):
        model.fit(X)
    # Far above every batch's beginning is a thousand times it; their mean over the rows, with some slack, no more.
    assert -model.score(X) < 2e3 * (1 - begun.score(X))


@pytest.mark.parametrize("sparse", [False, True])
def test_a_fit_that_ends_worse_than_it_began_says_so(grey, sparse):
    """Units that saturate keep the loss of a rate far too large below what counts as divergence."""
    X = sp.csr_matrix(grey) if sparse else grey
    model = Autoencoder(20, solver="sgd", learning_rate_init=1e3, max_iter=50, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"ended at a loss of \S+ a row, worse than the 2\d\.\d+ that it began"):
        model.fit(X)
    assert -model.score(X) > 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(learning_rate_init=0.1).fit(X)


def test_an_optimiser_that_cannot_move_says_so(grey):
    with pytest.warns(ConvergenceWarning, match="lbfgs takes no step from here"):
        Autoencoder(4, likelihood="gaussian", solver="lbfgs", max_iter=3, random_state=0).fit(load_digits().data * 1e19)
