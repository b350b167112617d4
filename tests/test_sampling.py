"""Draws of the model against its distribution, computed over all states."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

import reference
import tolerance
from harmonium import RBM, _core, ops
from models import draw_parameters, machine, widened

DTYPES = [np.float32, np.float64]
N = 40_000


def numbers_of(v):
    """The number of every row among `reference.all_states`."""
    return (np.asarray(v) @ 2 ** np.arange(v.shape[1])).astype(int)


def counts(v):
    return np.bincount(numbers_of(v), minlength=2 ** v.shape[1])


def probabilities(parameters):
    """Of all visible states."""
    W, b, c = widened(parameters)
    p = np.exp(reference.log_likelihood(W, b, c, reference.all_states(len(b))))
    return p / p.sum()


def exact_draws(parameters, n, dtype, seed=0):
    p = probabilities(parameters)
    return reference.all_states(len(parameters[1]), dtype)[np.random.default_rng(seed).choice(len(p), n, p=p)]


# -- the distribution ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 4), (3, 6), (1, 1)])
def test_sample_draws_from_the_model(shape, dtype):
    parameters = draw_parameters(*shape, dtype=dtype)
    v = machine(*parameters).sample(N, n_steps=60, random_state=0)
    tolerance.statistical(tolerance.chi_square(counts(v), probabilities(parameters)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_steps", [1, 2])
def test_a_gibbs_step_leaves_the_model_alone(n_steps, dtype):
    """From exact draws: no mixing hides a wrong conditional."""
    parameters = draw_parameters(5, 4, 2.0, dtype=dtype)
    start = exact_draws(parameters, N, dtype)
    v = machine(*parameters).gibbs(start, n_steps, random_state=0)
    assert (v != start).any()
    tolerance.statistical(tolerance.chi_square(counts(v), probabilities(parameters)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("state", [[0, 0, 0, 0], [1, 0, 1, 1]])
def test_a_gibbs_step_is_the_transition_of_the_model(state, dtype):
    parameters = draw_parameters(4, 3, 1.5, dtype=dtype)
    expected = reference.transition(*widened(parameters), np.array(state, dtype=float), reference.all_states(4))
    rbm, start = machine(*parameters), np.repeat(np.array([state], dtype=dtype), N, axis=0)
    tolerance.statistical(tolerance.chi_square(counts(rbm.gibbs(start, random_state=1)), expected))
    by_sample = rbm.sample(N, n_steps=1, init=start, random_state=2)
    tolerance.statistical(tolerance.chi_square(counts(by_sample), expected))


def test_successive_steps_are_independent():
    """Two steps from one state: were numbers drawn twice, the two would be correlated."""
    parameters = draw_parameters(4, 3, 1.5)
    states, zero = reference.all_states(4), np.zeros(4)
    step = np.array([reference.transition(*parameters, state, states) for state in states])
    v = machine(*parameters).gibbs(np.zeros((N, 4)), 2, random_state=3)
    expected = reference.transition(*parameters, zero, states) @ step
    tolerance.statistical(tolerance.chi_square(counts(v), expected))


def test_sampling_goes_on_from_the_persistent_chains():
    """The first half step draws v from the stored hidden states."""
    W, b, c = draw_parameters(4, 3, 2.0)
    rbm = machine(W, b, c)
    h = np.array([[1, 0, 1]], dtype=float)
    rbm.h_samples_ = h
    v = rbm.sample(N, n_steps=1, random_state=0)
    on = reference.sigmoid(b + h[0] @ W.T)
    expected = np.where(reference.all_states(4) == 1, on, 1 - on).prod(axis=1)
    tolerance.statistical(tolerance.chi_square(counts(v), expected))
    # More samples than chains: every chain as often as any other.
    rbm.h_samples_ = np.array([[0, 0, 0], [1, 1, 1]], dtype=float)
    v = rbm.sample(2 * N, n_steps=1, random_state=0)
    for first in (0, 1):
        on = reference.sigmoid(b + rbm.h_samples_[first] @ W.T)
        expected = np.where(reference.all_states(4) == 1, on, 1 - on).prod(axis=1)
        tolerance.statistical(tolerance.chi_square(counts(v[first::2]), expected))


# -- clamping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_clamped_samples_follow_the_conditional(dtype):
    parameters = draw_parameters(5, 4, 1.5, dtype=dtype)
    mask = np.array([True, False, True, False, False])
    values = np.array([1, 0, 0, 0, 0], dtype=dtype)
    v = machine(*parameters).sample(N, n_steps=80, clamp=(mask, values), random_state=0)
    tolerance.exact(v[:, mask], np.repeat(values[None, mask], N, axis=0))
    p = probabilities(parameters)
    p = np.where((reference.all_states(5)[:, mask] == values[mask]).all(axis=1), p, 0)
    tolerance.statistical(tolerance.chi_square(counts(v), p / p.sum()))


def test_each_row_may_be_clamped_differently():
    rng = np.random.default_rng(0)
    mask, values = rng.random((200, 70)) < 0.5, (rng.random((200, 70)) < 0.5).astype(float)
    rbm = machine(*draw_parameters(70, 9, 0.2))
    v = rbm.sample(200, n_steps=3, clamp=(mask, values), random_state=0)
    tolerance.exact(v[mask], values[mask])
    assert (v[~mask] != values[~mask]).any()
    # What is not clamped is not looked at.
    other = np.where(mask, values, np.nan)
    tolerance.exact(rbm.sample(200, n_steps=3, clamp=(mask, np.where(mask, values, 1)), random_state=0), v)
    tolerance.exact(rbm.sample(200, n_steps=3, clamp=(mask, other), random_state=0), v)
    tolerance.exact(rbm.sample(200, n_steps=3, clamp=(mask, values), init=values, random_state=0)[mask], values[mask])


@pytest.mark.parametrize(
    ("clamp", "error", "said"),
    [
        ((np.zeros(6), np.zeros(6)), TypeError, "the mask of clamp is of type float64, bool is needed"),
        ((np.zeros(5, bool), np.zeros(6)), ValueError, r"clamp is \(5,\) and \(6,\), it must fit \(3, 6\)"),
        ((np.zeros((2, 6), bool), np.zeros(6)), ValueError, r"clamp is \(2, 6\) and \(6,\), it must fit \(3, 6\)"),
        ((np.ones(6, bool), np.full(6, 0.5)), ValueError, "between 0 and 1"),
        ((np.ones(6, bool), np.full(6, 2.0)), ValueError, "row 0, column 0"),
    ],
)
def test_clamps_that_do_not_fit_are_refused(clamp, error, said):
    with pytest.raises(error, match=f"RBM.sample.*{said}"):
        machine(*draw_parameters(6, 4)).sample(3, n_steps=1, clamp=clamp)


# -- what goes in and comes out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes_and_types(dtype):
    rbm = machine(*draw_parameters(70, 9, dtype=dtype))
    v = rbm.sample(7, n_steps=2, random_state=0)
    assert (v.shape, v.dtype) == ((7, 70), dtype)
    assert set(np.unique(v)) == {0, 1}
    assert rbm.sample(n_steps=2).shape == (1, 70)
    for start in (v, v.astype(bool), v.astype(int), sp.csr_matrix(v)):
        moved = rbm.gibbs(start, random_state=0)
        assert (moved.shape, moved.dtype) == ((7, 70), bool)
        tolerance.exact(moved, rbm.gibbs(v, random_state=0))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda m: m.sample(0), ValueError, "RBM.sample: n_samples=0, it must be at least 1"),
        (lambda m: m.sample(2.0), TypeError, "RBM.sample: n_samples=2.0 is of type float"),
        (lambda m: m.sample(2, n_steps=0), ValueError, "RBM.sample: n_steps=0, it must be at least 1"),
        (lambda m: m.sample(2, init=np.zeros((3, 6))), ValueError, "RBM.sample: init has 3 rows, n_samples=2"),
        (lambda m: m.sample(2, init=np.zeros((2, 5))), ValueError, "RBM.sample: init has 5 columns, the model has 6"),
        (lambda m: m.gibbs(np.zeros((2, 6)), 0), ValueError, "RBM.gibbs: n_steps=0, it must be at least 1"),
        (lambda m: m.gibbs(np.zeros((2, 5))), ValueError, "5"),
        (lambda m: m.gibbs(np.full((2, 6), 1.5)), ValueError, "RBM.gibbs: X holds 1.5 in row 0, column 0"),
    ],
)
def test_bad_arguments_are_refused(call, error, said):
    with pytest.raises(error, match=said):
        call(machine(*draw_parameters(6, 4)))


def test_random_state_decides_the_draws():
    rbm, v = machine(*draw_parameters(70, 9)), np.zeros((20, 70))
    for draw in (
        lambda seed: rbm.gibbs(v, 3, random_state=seed),
        lambda seed: rbm.sample(20, n_steps=3, random_state=seed),
    ):
        tolerance.exact(draw(1), draw(1))
        tolerance.exact(draw(np.random.RandomState(1)), draw(1))
        assert (draw(1) != draw(2)).any()


def test_without_random_state_every_call_draws_anew_and_the_sequence_repeats():
    X = load_digits().data[:200] > 7
    sequences = []
    for _ in range(2):
        rbm = RBM(5, n_iter=1, random_state=0).fit(X)
        sequences.append([rbm.gibbs(X[:50]), rbm.gibbs(X[:50]), rbm.sample(50, n_steps=2), rbm.sample(50, n_steps=2)])
    for first, second in zip(*sequences, strict=True):
        tolerance.exact(first, second)
    (a, b, c, d), _ = sequences
    assert (a != b).any()
    assert (c != d).any()


def test_a_row_draws_the_same_whatever_stands_beside_it():
    """Rows of 0 and 1 times weights in eighths: no sum is rounded, so nothing but the draws could differ."""
    W, b, c = (np.round(8 * part) / 8 for part in draw_parameters(70, 20))
    rbm, v = machine(W, b, c), np.random.default_rng(0).random((600, 70)) < 0.4
    whole = rbm.gibbs(v, 3, random_state=0)
    tolerance.exact(rbm.gibbs(v[:13], 3, random_state=0), whole[:13])
    tolerance.exact(rbm.sample(9, n_steps=4, random_state=0), rbm.sample(600, n_steps=4, random_state=0)[:9])


@pytest.mark.parametrize("dtype", DTYPES)
def test_draws_are_the_numbers_of_their_stream(dtype, device):
    """Step k draws h from stream 0 and v from stream 1 of (seed, k): bits exact given the probabilities."""
    W, b, c = parameters = draw_parameters(33, 20, dtype=dtype)
    rbm = machine(*parameters, device=device.name)
    h = (np.random.default_rng(0).random((40, 20)) < 0.5).astype(dtype)
    states, seed = _core.States.from_bits(ops.pack_bits(h), 20), 2**40 + 1
    words = _core.rbm_gibbs(W, b, c, states, True, 2, seed, None, None, None, device.name)
    v = None
    for k in range(2):
        if v is not None:
            u = reference.uniform(seed, reference.STREAMS["hidden"], k, 40, 20, dtype=dtype)
            h = (u < rbm.transform(v)).astype(dtype)
        u = reference.uniform(seed, reference.STREAMS["visible"], k, 40, 33, dtype=dtype)
        v = (u < rbm.inverse_transform(h)).astype(dtype)
    tolerance.exact(ops.unpack_bits(words, 33).astype(dtype), v)


@pytest.mark.parametrize("dtype", DTYPES)
def test_conditionals(dtype, device):
    W, b, c = parameters = draw_parameters(70, 33, dtype=dtype)
    rbm, rng = machine(*parameters, device=device.name), np.random.default_rng(0)
    W, b, c = widened(parameters)
    for name, n_units, weights, bias, call in (
        ("h given v", 70, W, c, rbm.transform), ("v given h", 33, W.T, b, rbm.inverse_transform)
    ):  # fmt: skip
        bits, grey = (rng.random((600, n_units)) < 0.3).astype(dtype), rng.random((600, n_units)).astype(dtype)
        for given in (bits, grey):
            wide = given.astype(np.float64)
            expected = reference.sigmoid(bias + wide @ weights)
            # An error of the activation counts by a quarter at most, and 4 ulp are the sigmoid's own.
            magnitude = 1 + (np.abs(bias) + np.abs(wide) @ np.abs(weights)) / 4
            for form in (given, sp.csr_matrix(given)):
                p = call(form)
                assert p.dtype == dtype, name
                tolerance.near_sum(p, expected, magnitude, 2 * (n_units + 4))
