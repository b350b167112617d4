"""Each op of dense networks against its reference, over shapes and types."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

import dense_reference as reference
import tolerance
from harmonium import _core
from reference import wide

DTYPES = [np.float32, np.float64]
ACTIVATIONS = ["identity", "sigmoid", "tanh", "relu", "softplus"]
needs_longdouble = pytest.mark.skipif(
    np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps, reason="long double is no wider than double here"
)
# Rows, inputs, outputs: less than a tile, more than one in each direction, not multiples of anything.
SHAPES = [(1, 1, 1), (7, 5, 3), (100, 70, 65), (13, 1100, 40), (260, 33, 130)]


def draws(dtype, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def sparse_states(x):
    c = sp.csr_matrix(x)
    return _core.States.from_sparse(c.indptr.astype(np.int64), c.indices.astype(np.int32), c.data, c.shape[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_within_its_ulp(dtype):
    """By a layer of one weight 1: its z is x itself."""
    size = np.geomspace(1e-30, 25, 4000)
    x = np.concatenate([-size, [0.0], size]).astype(dtype)[:, None]
    one, zero = np.ones((1, 1), dtype), np.zeros(1, dtype)
    y = _core.dense_forward(_core.States.from_dense(x), one, False, zero, "tanh")
    tolerance.ulp(y, np.tanh(x.astype(wide(dtype))), 6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("sparse", "transpose"), [(False, False), (False, True), (True, False)])
def test_dense_forward_is_a_product(dtype, shape, sparse, transpose):
    """Sparse rows take W as it is only."""
    n, k, m = shape
    x, w, bias = draws(dtype, (n, k), (k, m), m)
    if sparse:
        x[np.random.default_rng(1).random(x.shape) < 0.8] = 0
    states = sparse_states(x) if sparse else _core.States.from_dense(x)
    a = _core.dense_forward(states, w.T.copy() if transpose else w, transpose, bias, "identity")
    to = wide(dtype)
    expected = x.astype(to) @ w.astype(to) + bias
    tolerance.near_sum(a, expected, np.abs(x.astype(to)) @ np.abs(w.astype(to)) + np.abs(bias), 2 * k + 2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_forward_applies_the_activation(activation):
    x, w, bias = draws(np.float64, (50, 20), (20, 37), 37)
    z = _core.dense_forward(_core.States.from_dense(x), w, False, bias, "identity")
    a = _core.dense_forward(_core.States.from_dense(x), w, False, bias, activation)
    expected = reference.activate(activation, z.astype(np.longdouble))
    tolerance.near_sum(a, expected, np.maximum(np.abs(expected), 1e-300), 8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("transpose", [False, True])
def test_dense_backward_is_the_derivative_by_the_lower_input(dtype, activation, transpose):
    n, k, m = 60, 45, 70
    delta, w, z = draws(dtype, (n, m), (k, m), (n, k))
    a = reference.activate(activation, z).astype(dtype)
    given = w.T.copy() if transpose else w
    out = _core.dense_backward(delta, given, transpose, activation, a / dtype(0.5), 0.5)
    to = wide(dtype)
    slopes = reference.slope(activation, z.astype(to))
    expected = delta.astype(to) @ w.T.astype(to) * slopes
    # f' is taken from a, which was rounded: of a near 1 that is eps, not eps f'.
    magnitude = (np.abs(delta).astype(to) @ np.abs(w.T).astype(to)) * np.maximum(slopes, 1)
    tolerance.near_sum(out, expected, magnitude, 2 * m + 16)


def weight_step(dtype):
    return _core.weight_step_float32 if dtype == np.float32 else _core.weight_step_float64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sparse", [False, True])
def test_weight_step_contracts_over_the_batch(dtype, shape, sparse):
    n, k, m = shape
    x, delta, h, other = draws(dtype, (n, k), (n, m), (n, m), (n, k))
    x[np.random.default_rng(1).random(x.shape) < 0.7] = 0
    to = wide(dtype)
    one = weight_step(dtype)([(x, delta, sparse)])
    expected, magnitude = x.T.astype(to) @ delta.astype(to), np.abs(x.T).astype(to) @ np.abs(delta).astype(to)
    tolerance.near_sum(one, expected, magnitude, 2 * n)
    both = weight_step(dtype)([(other, h, False), (x, delta, sparse)])
    expected = expected + other.T.astype(to) @ h.astype(to)
    tolerance.near_sum(both, expected, magnitude + np.abs(other.T).astype(to) @ np.abs(h).astype(to), 4 * n)
    tolerance.near_sum(_core.column_sums(delta), delta.astype(to).sum(0), np.abs(delta).astype(to).sum(0), n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adagrad", "adam"])
def test_a_weight_step_is_the_gradient_and_then_the_update(dtype, rule):
    """To the bit: block by block is as good as one after the other."""
    x, delta, weights, kept = draws(dtype, (50, 300), (50, 90), (300, 90), {"sgd": 0, "adam": 54000}.get(rule, 27000))
    x[np.random.default_rng(1).random(x.shape) < 0.7] = 0
    kept = np.abs(kept)
    gradient = weight_step(dtype)([(x, delta, True)])
    expected, expected_kept = weights.copy(), kept.copy()
    _core.update(rule, gradient.ravel(), expected_kept, expected.reshape(-1), rate=0.01)
    weight_step(dtype)([(x, delta, True)], rule, kept, weights, 0.01)
    tolerance.same_bits(weights, expected)
    tolerance.same_bits(kept, expected_kept)


GROUPS = [("bernoulli", 21), ("gaussian", 3), ("laplace", 20), ("categorical", 4), ("categorical", 2), ("poisson", 18)]


def columns(n, dtype, seed=0):
    """x that the groups can have, z large and small."""
    rng = np.random.default_rng(seed)
    parts = []
    for kind, count in GROUPS:
        if kind == "categorical":
            parts.append(np.eye(count)[rng.integers(0, count, n)])
        elif kind == "poisson":
            parts.append(rng.poisson(2, (n, count)))
        elif kind == "bernoulli":
            parts.append(np.where(rng.random((n, count)) < 0.5, rng.random((n, count)), rng.random((n, count)) < 0.5))
        else:
            parts.append(rng.standard_normal((n, count)) * (rng.random((n, count)) < 0.5))
    x = np.hstack(parts).astype(dtype)
    return x, (rng.standard_normal(x.shape) * 4).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sparse", [False, True])
def test_likelihood_loss(dtype, sparse):
    x, z = columns(50, dtype)
    states = sparse_states(x) if sparse else _core.States.from_dense(x)
    loss, derivatives = _core.likelihood_loss(GROUPS, states, z, 0.25)
    expected, slopes, size = reference.likelihood_loss(GROUPS, x.astype(np.float64), z.astype(np.float64))
    tolerance.near_sum(loss, expected, size, 16, dtype=dtype)
    means = np.abs(reference.likelihood_mean(GROUPS, z.astype(np.float64)))
    tolerance.near_sum(derivatives, 0.25 * slopes, 0.25 * (means + np.abs(x)), 24)


@pytest.mark.parametrize("dtype", DTYPES)
def test_likelihood_mean(dtype):
    _, z = columns(50, dtype)
    expected = reference.likelihood_mean(GROUPS, z.astype(np.float64))
    tolerance.near_sum(_core.likelihood_mean(GROUPS, z), expected, np.abs(expected), 24)


@pytest.mark.parametrize("value", [60.0, -60.0])
def test_losses_of_sure_outputs_do_not_cancel(value):
    """x is what a bernoulli output is sure of: the loss is e^-60 a column, not 0 and not rounding of 60."""
    z = np.full((1, 32), value)
    x = (z > 0).astype(np.float64)
    loss, _ = _core.likelihood_loss([("bernoulli", 32)], _core.States.from_dense(x), z)
    tolerance.near_sum(loss, np.array([32 * np.exp(-60.0)]), np.array([32 * np.exp(-60.0)]), 32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["masking", "gaussian", "salt_and_pepper"])
def test_corruption_is_a_function_of_row_column_and_step(dtype, kind):
    x, _ = columns(30, dtype)
    low, high = x.min(axis=0), x.max(axis=0)
    drawn = _core.corrupt(x, kind, 0.4, 3, 2**32 + 5, 7, low, high, GROUPS)
    expected = reference.corrupt(x, kind, dtype(0.4), 3, 2**32 + 5, 7, low, high, GROUPS)
    if kind == "gaussian":  # the quantile is good to 1.2e-9, see normal.hpp
        noise = np.abs(expected - x)
        bound = 0.4 * 1.2e-9 * 10 / np.finfo(dtype).eps + np.abs(x) + noise
        tolerance.near_sum(drawn, expected.astype(np.float64), bound, 4)
    else:
        tolerance.exact(drawn, expected)
    rest = _core.corrupt(x[10:], kind, 0.4, 3, 2**32 + 5, 17, low, high, GROUPS)
    tolerance.same_bits(rest, drawn[10:])


@pytest.mark.parametrize("level", [0.1, 0.25, 0.5])
def test_the_share_that_is_masked_is_the_level(level):
    x = np.ones((400, 500), np.float32)
    masked = _core.corrupt(x, "masking", level, 1, 1, 0, x[0], x[0], [("bernoulli", 500)])
    share = (masked == 0).mean()
    tolerance.statistical((share - level) / np.sqrt(level * (1 - level) / x.size))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout(dtype):
    (x,) = draws(dtype, (20, 90))
    drawn = _core.dropout(x, 0.3, 5, 4)
    expected = reference.dropout(x, 0.3, 5, 4)
    tolerance.near_sum(drawn, expected.astype(np.float64), np.abs(x) / 0.7, 4)
    tolerance.exact(drawn == 0, expected == 0)
    tolerance.same_bits(_core.dropout(x[5:], 0.3, 5, 4, 5), drawn[5:])


def contraction_layers(activation, sizes, n=6, dtype=np.float64):
    shapes = list(pairwise(sizes))
    weights = draws(dtype, *shapes, seed=2)
    z = draws(dtype, *[(n, b) for b in sizes[1:]], seed=3)
    return [(w, activation, v) for w, v in zip(weights, z, strict=True)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(11, 7), (11, 7, 5), (70, 40, 20, 33)])
def test_contraction_is_the_norm_of_the_jacobian(dtype, activation, sizes):
    layers = contraction_layers(activation, sizes, dtype=dtype)
    given = [(w, f, reference.activate(f, z).astype(dtype)) for w, f, z in layers]
    run = _core.contraction_float32 if dtype == np.float32 else _core.contraction_float64
    penalty, _, _ = run(given)
    as_wide = [(w.astype(wide(dtype)), f, z.astype(wide(dtype))) for w, f, z in layers]
    absolute = [(np.abs(w), "identity", z) for w, _, z in as_wide]  # slopes are at most 1
    tolerance.near_sum(
        penalty, reference.contraction(as_wide), reference.contraction(absolute), 4 * sum(sizes), dtype=dtype
    )


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus"])
@pytest.mark.parametrize("sizes", [(6, 4), (6, 4, 5), (5, 4, 3, 4), (3, 7, 4)])  # the last is wider above than below
def test_gradient_of_the_contraction_by_central_differences(activation, sizes):
    layers = contraction_layers(activation, sizes, n=3)
    given = [(w, f, reference.activate(f, z)) for w, f, z in layers]
    _, by_weights, by_inputs = _core.contraction_float64(given, 0.5)
    h = 1e-5
    for layer, (w, _, z) in enumerate(layers):
        for array, gradient in ((w, by_weights[layer]), (z, by_inputs[layer])):
            numeric = np.empty_like(array)
            for place in np.ndindex(array.shape):
                value = array[place]
                array[place] = value + h
                above = reference.contraction(layers).sum()
                array[place] = value - h
                below = reference.contraction(layers).sum()
                array[place] = value
                numeric[place] = 0.5 * (above - below) / (2 * h)
            tolerance.converged(gradient, numeric, np.abs(numeric).max(), 1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "softplus"])
@pytest.mark.parametrize("sizes", [(70, 40, 33), (30, 60, 20, 7)])
def test_contraction_of_many_rows_is_that_of_each(activation, sizes):
    """Rows are worked on side by side, and by way of W^T W where that is less work."""
    layers = contraction_layers(activation, sizes, n=150)
    given = [(w, f, reference.activate(f, z)) for w, f, z in layers]
    penalty, by_weights, by_inputs = _core.contraction_float64(given, 0.5)
    one = [_core.contraction_float64([(w, f, a[i : i + 1].copy()) for w, f, a in given], 0.5) for i in range(150)]
    absolute = [(np.abs(w), "identity", a) for w, _, a in given]  # slopes and curvatures are at most 1
    size, by_absolute, _ = _core.contraction_float64(absolute, 0.5)
    terms = 4 * sum(sizes)
    tolerance.near_sum(penalty, np.concatenate([p for p, _, _ in one]), size, terms)
    for layer in range(len(sizes) - 1):
        tolerance.near_sum(by_weights[layer], sum(w[layer] for _, w, _ in one), by_absolute[layer], terms + 150)
        rows = np.concatenate([z[layer] for _, _, z in one])
        tolerance.near_sum(by_inputs[layer], rows, np.broadcast_to(size[:, None], rows.shape), terms)
    as_32 = [(w.astype(np.float32), f, a.astype(np.float32)) for w, f, a in given]
    rounded = [(w.astype(np.float64), f, a.astype(np.float64)) for w, f, a in as_32]
    _, expected, _ = _core.contraction_float64(rounded, 0.5)
    for found, exact, bound in zip(_core.contraction_float32(as_32, 0.5)[1], expected, by_absolute, strict=True):
        tolerance.near_sum(found, exact, bound, terms + 150)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"])
def test_update(dtype, rule):
    n = 20_011
    numbers = {"rate": 0.01, "momentum": 0.8, "beta_1": 0.85, "beta_2": 0.95, "epsilon": 1e-6}
    theta, kept = draws(dtype, n, {"sgd": 0, "adam": 2 * n}.get(rule, n))
    kept = np.abs(kept)
    to = wide(dtype)
    for step in (1, 2, 50):
        (g,) = draws(dtype, n, seed=step)
        # Constants as the core has them: rounded to the type, 1 - beta before that.
        expected, expected_kept = reference.update(
            rule,
            g.astype(to),
            kept.astype(to),
            theta.astype(to),
            step=step,
            **{k: to.type(v) for k, v in numbers.items()},
        )
        size = np.abs(theta) + np.abs(expected - theta).astype(np.float64) + numbers["rate"] * np.abs(g)
        _core.update(rule, g, kept, theta, step=step, **numbers)
        tolerance.near_sum(theta, expected, size, 16)
        both = np.abs(np.concatenate([g, g])[: len(kept)])
        tolerance.near_sum(kept, expected_kept, np.abs(expected_kept) + both + both**2, 8)
