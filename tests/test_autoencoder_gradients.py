"""The gradient of the whole loss: by central differences, and against PyTorch's, which knows nothing of ours."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tolerance
from harmonium import Autoencoder, _core

LIKELIHOODS = ["bernoulli", "gaussian", "laplace", "poisson", "categorical"]
ACTIVATIONS = ["identity", "sigmoid", "tanh", "softplus", "relu"]
MIXED = [("bernoulli", 2), ("gaussian", 3), ("poisson", 1), ("categorical", 2)]


def draw_columns(kind, n, width, rng):
    choices = np.vstack([np.full((1, width), 2), rng.integers(0, 3, (n - 1, width))])
    return {
        "bernoulli": lambda: rng.random((n, width)),
        "gaussian": lambda: rng.normal(size=(n, width)),
        "laplace": lambda: rng.normal(size=(n, width)),
        "poisson": lambda: rng.poisson(2, (n, width)).astype(float),
        "categorical": lambda: choices.astype(float),
    }[kind]()


def model_and_data(n=6, **parameters):
    """A model with parameters drawn at some distance from where training begins, in float64."""
    rng = np.random.default_rng(0)
    likelihood = parameters.get("likelihood", "bernoulli")
    blocks = likelihood if isinstance(likelihood, list) else [(likelihood, 3 if likelihood == "categorical" else 8)]
    X = np.hstack([draw_columns(kind, n, width, rng) for kind, width in blocks])
    model = Autoencoder(**{"max_iter": 1, "random_state": 1, **parameters}).fit(X)
    theta = model.flat_parameters()
    return model, X, theta + 0.3 * rng.normal(size=theta.shape)


def assert_derivative(model, X, theta, h=1e-6, every=1):
    """Within 1e-6 of its largest entry; by every so many-th parameter."""
    _, gradient = model.loss_and_gradient(X, theta)
    numeric = gradient.copy()
    for i in range(0, len(theta), every):
        step = np.zeros_like(theta)
        step[i] = h
        numeric[i] = (model.loss_and_gradient(X, theta + step)[0] - model.loss_and_gradient(X, theta - step)[0]) / (
            2 * h
        )
    tolerance.converged(gradient, numeric, np.abs(gradient).max(), 1e-6)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("sizes", [(5,), (6, 4)])
def test_losses_and_activations(likelihood, activation, tied, sizes):
    assert_derivative(
        *model_and_data(likelihood=likelihood, activation=activation, tied=tied, hidden_layer_sizes=sizes)
    )


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus", "identity"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("sizes", [(5,), (6, 4), (6, 5, 3)])
def test_contraction(activation, tied, sizes):
    code = {"code_activation": activation, "contraction": 0.5}
    assert_derivative(*model_and_data(activation=activation, tied=tied, hidden_layer_sizes=sizes, **code))


@pytest.mark.parametrize("corruption", ["masking", "gaussian", "salt_and_pepper"])
@pytest.mark.parametrize("tied", [True, False])
def test_fixed_corruption(corruption, tied):
    extra = {"alpha": 0.1, "contraction": 0.1} if corruption == "masking" else {"dropout": 0.3}
    assert_derivative(*model_and_data(corruption=corruption, tied=tied, hidden_layer_sizes=(6, 4), **extra))


def test_mixed_columns_and_a_free_decoder():
    assert_derivative(*model_and_data(likelihood=MIXED, hidden_layer_sizes=(6, 4), corruption="salt_and_pepper"))
    assert_derivative(*model_and_data(hidden_layer_sizes=(6, 4), decoder_layer_sizes=(7, 3, 2), tied=False))


@pytest.mark.parametrize("parameters", [{"contraction": 0.2}, {"dropout": 0.3, "tied": False}], ids=str)
def test_a_layer_whose_rows_lie_further_apart(parameters):
    """As those of 128 doubles do, which are 1 KB."""
    assert_derivative(*model_and_data(hidden_layer_sizes=(128, 2), activation="tanh", **parameters), every=29)


def test_more_rows_than_are_worked_on_at_a_time():
    """The loss over all rows is the mean of the losses of its parts, and so is the gradient."""
    model, X, theta = model_and_data(n=1203, hidden_layer_sizes=(6, 4), contraction=0.2)
    loss, gradient = model.loss_and_gradient(X, theta)
    parts = [X[:400], X[400:]]
    pairs = [model.loss_and_gradient(part, theta) for part in parts]
    shares = [len(part) / len(X) for part in parts]
    tolerance.near_sum(loss, sum(s * p[0] for s, p in zip(shares, pairs, strict=True)), abs(loss), 1203)
    expected = sum(s * p[1] for s, p in zip(shares, pairs, strict=True))
    tolerance.near_sum(gradient, expected, np.full_like(expected, np.abs(expected).max()), 1203)


# -- PyTorch ---------------------------------------------------------------------------------------------------------


def torch_loss(torch, model, X, theta, seen=None):
    """The same loss written with PyTorch's functions, of a flat vector of parameters; seen: the input as corrupted."""
    F = torch.nn.functional
    functions = {
        "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "softplus": F.softplus,
        "relu": torch.relu,
    }  # fmt: skip
    at, layers = 0, []
    hidden = list(model.hidden_layer_sizes)
    sizes = [np.shape(model.coefs_[0])[0], *hidden]
    shapes = list(itertools.pairwise(sizes)) + list(itertools.pairwise(sizes[::-1]))
    for layer, (a, b) in enumerate(shapes):
        if model.tied and layer >= len(hidden):
            W = layers[len(shapes) - 1 - layer][0].T
        else:
            W, at = theta[at : at + a * b].reshape(a, b), at + a * b
        layers.append((W, theta[at : at + b]))
        at += b
    assert at == len(theta)
    target = X
    if model.likelihood == "categorical":
        target = F.one_hot(X.long(), 3).reshape(len(X), -1).to(theta.dtype)
    x = (target if seen is None else seen).clone().requires_grad_(True)
    h, code = x, None
    for layer, (W, b) in enumerate(layers):
        z = h @ W + b
        f = model.code_activation_ if layer + 1 == len(hidden) else model.activation
        h = z if layer + 1 == len(layers) else functions[f](z)
        code = h if layer + 1 == len(hidden) else code
    if model.likelihood == "bernoulli":
        loss = F.binary_cross_entropy_with_logits(z, target, reduction="sum")
    elif model.likelihood == "gaussian":
        loss = F.gaussian_nll_loss(z, target, torch.ones_like(z), full=True, reduction="sum")
    elif model.likelihood == "laplace":
        loss = -torch.distributions.Laplace(z, torch.ones_like(z)).log_prob(target).sum()
    elif model.likelihood == "poisson":
        loss = -torch.distributions.Poisson(torch.exp(z)).log_prob(target).sum()
    else:
        loss = F.cross_entropy(z.reshape(-1, 3), X.long().reshape(-1), reduction="sum")
    for unit in range(code.shape[1] if model.contraction else 0):
        (row,) = torch.autograd.grad(code[:, unit].sum(), x, create_graph=True)
        loss = loss + model.contraction * (row**2).sum()
    loss = loss / len(X)
    if model.alpha:
        loss = loss + model.alpha / 2 * sum((W**2).sum() for W, _ in layers[: len(hidden) if model.tied else None])
    return loss


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("sizes", [(5,), (6, 4)])
@pytest.mark.parametrize("contraction", [0.0, 0.3])
def test_autograd_gives_the_same(likelihood, activation, tied, sizes, contraction):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    parameters = {"activation": activation, "code_activation": activation, "tied": tied, "hidden_layer_sizes": sizes}
    model, X, theta = model_and_data(likelihood=likelihood, contraction=contraction, alpha=0.01, **parameters)
    loss, gradient = model.loss_and_gradient(X, theta)
    variable = torch.tensor(theta, requires_grad=True)
    expected = torch_loss(torch, model, torch.tensor(X), variable)
    expected.backward()
    tolerance.converged(loss, expected.item(), abs(loss), 1e-9)
    tolerance.converged(gradient, variable.grad.numpy(), np.abs(gradient).max(), 1e-9)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("corruption", ["masking", "gaussian", "salt_and_pepper"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("sizes", [(5,), (6, 4)])
@pytest.mark.parametrize("contraction", [0.0, 0.3])
def test_autograd_gives_the_same_of_corrupted_input(likelihood, corruption, tied, sizes, contraction):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    parameters = {"corruption": corruption, "tied": tied, "hidden_layer_sizes": sizes, "contraction": contraction}
    model, X, theta = model_and_data(likelihood=likelihood, activation="tanh", corruption_level=0.4, **parameters)
    loss, gradient = model.loss_and_gradient(X, theta)
    columns = np.eye(3)[X.astype(int)].reshape(len(X), -1) if likelihood == "categorical" else X
    groups = [("categorical", 3)] * X.shape[1] if likelihood == "categorical" else [(likelihood, X.shape[1])]
    data_s = likelihood in ("gaussian", "laplace", "poisson")
    low, high = (X.min(axis=0), X.max(axis=0)) if data_s else (np.zeros(columns.shape[1]), np.ones(columns.shape[1]))
    seen = _core.corrupt(columns, corruption, 0.4, model._seed, 0, 0, low, high, groups)
    assert not np.array_equal(seen, columns)
    variable = torch.tensor(theta, requires_grad=True)
    expected = torch_loss(torch, model, torch.tensor(X), variable, torch.tensor(np.asarray(seen, np.float64)))
    expected.backward()
    tolerance.converged(loss, expected.item(), abs(loss), 1e-9)
    tolerance.converged(gradient, variable.grad.numpy(), np.abs(gradient).max(), 1e-9)
