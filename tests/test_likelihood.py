"""log Z, free energies and scores, against sums over all states."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

import reference
import tolerance
from harmonium import RBM, LogPartition, _core, _log_partition
from models import draw_parameters, machine, widened

DTYPES = [np.float32, np.float64]
# The bounds that the headers state: of Z, relative; and of what is computed in double from activations in T.
LOG_Z_ERROR = 1e-10
EPS = float(np.finfo(np.float64).eps)


def check_log_z(value, expected):
    """An error of Z by 1e-10 of it, and the rounding of log Z itself, which may be a large number."""
    tolerance.near_sum(np.float64(value), np.float64(expected), LOG_Z_ERROR / EPS + 4 * abs(expected), 1)


# -- log Z ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (1, 1), (1, 9), (17, 3), (11, 11)])
def test_log_partition_is_the_sum_over_all_states(shape, scale, dtype, device):
    parameters = draw_parameters(*shape, scale, dtype=dtype)
    log_z = machine(*parameters, device=device.name).log_partition()
    check_log_z(log_z.value, reference.log_partition(*widened(parameters)))
    assert log_z == LogPartition(log_z.value, 0.0, log_z.value, log_z.value, np.inf, "exact")
    assert machine(*parameters, device=device.name).log_partition("exact") == log_z


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [50.0, 200.0, 3000.0])
@pytest.mark.parametrize("shape", [(12, 8), (8, 12), (5, 14)])
def test_log_partition_of_large_weights(shape, scale, dtype, device):
    """Products of exponentials leave the range of a double on the way, log Z does not."""
    parameters = draw_parameters(*shape, scale, dtype=dtype)
    log_z = machine(*parameters, device=device.name).log_partition()
    check_log_z(log_z.value, reference.log_partition(*widened(parameters)))


def pairs(n, extra=0, seed=0):
    """n visible and n hidden units, each coupled to one only, and `extra` visible units coupled to none: Z factors."""
    rng = np.random.default_rng(seed)
    w, b, c = rng.standard_normal((3, n))
    W = np.vstack([np.diag(w), np.zeros((extra, n))])
    log_z = np.log1p(np.exp(b) + np.exp(c) + np.exp(b + c + w)).sum() + extra * np.log(2)
    return (W, np.append(b, np.zeros(extra)), c), log_z


def test_log_partition_enumerates_25_units_and_no_more():
    parameters, expected = pairs(25, extra=15)
    check_log_z(machine(*parameters).log_partition("exact").value, expected)
    parameters, expected = pairs(26, extra=1)
    with pytest.raises(ValueError, match=r"the smaller layer has 26 units, 25 can be enumerated; use method=\"ais\""):
        machine(*parameters).log_partition("exact")
    estimate = machine(*parameters).log_partition(n_runs=200, n_betas=300, random_state=0)
    assert estimate.method == "ais"
    tolerance.statistical((estimate.value - expected) / estimate.std_error)


@pytest.mark.parametrize("scale", [0.5, 30.0, 65.0])
@pytest.mark.parametrize("shape", [(50, 5), (5, 50)])
def test_log_partition_enumerates_the_smaller_layer(shape, scale, device):
    """50 units on either side of 5 are no obstacle, nor that products of their factors overflow."""
    for W, b, c in (draw_parameters(*shape, scale), [np.abs(part) for part in draw_parameters(*shape, scale)]):
        few = reference.all_states(5)
        if shape[1] == 5:
            expected = reference.logsumexp(-reference.free_energy(W.T, c, b, few))
        else:
            expected = reference.logsumexp(-reference.free_energy(W, b, c, few))
        check_log_z(machine(W, b, c, device=device.name).log_partition().value, expected)


# -- free energy and likelihood ------------------------------------------------------------------------------------


def activation_error(W, c, v, dtype):
    """Bound of the rounding error of c + v W in dtype: (D + 1) eps (|c| + |v| |W|), Higham 2002, eq. 3.13."""
    return 2 * (len(W) + 1) * float(np.finfo(dtype).eps) * (np.abs(c) + np.abs(v) @ np.abs(W))


def check_free_energy(value, parameters, v, dtype):
    W, b, c = parameters
    # softplus is no steeper than 1; the sums are taken in double.
    magnitude = np.abs(v) @ np.abs(b) + (np.abs(c) + np.abs(v) @ np.abs(W) + 1).sum(axis=1)
    bound = activation_error(W, c, v, dtype).sum(axis=1) / EPS + (sum(W.shape) + 4) * magnitude
    tolerance.near_sum(value, reference.free_energy(W, b, c, v), bound, 1)


def inputs(rng, n, columns, dtype):
    """The same kind of rows in every form that X may have."""
    v = (rng.random((n, columns)) < 0.4).astype(dtype)
    grey = rng.random((n, columns)).astype(dtype) * (rng.random((n, columns)) < 0.5)
    return {"bits": v, "sparse": sp.csr_matrix(v), "grey": grey, "sparse grey": sp.csr_matrix(grey)}


def dense(X):
    return np.asarray(X.todense() if sp.issparse(X) else X, dtype=np.float64)


@pytest.mark.parametrize("form", ["bits", "sparse", "grey", "sparse grey"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "scale"), [((1, 1), 1.0), ((12, 8), 3.0), ((70, 130), 0.3), ((130, 65), 30.0)])
def test_free_energy(shape, scale, dtype, form, device):
    parameters = draw_parameters(*shape, scale, dtype=dtype)
    X = inputs(np.random.default_rng(0), 50, shape[0], dtype)[form]
    check_free_energy(machine(*parameters, device=device.name).free_energy(X), widened(parameters), dense(X), dtype)


def test_free_energy_of_many_rows_is_that_of_each():
    """Rows are taken 4096 at a time."""
    rbm = machine(*draw_parameters(10, 6))
    v = reference.all_states(10)[np.random.default_rng(0).integers(0, 1024, 9000)]
    whole = rbm.free_energy(v)
    tolerance.same_bits(whole, np.concatenate([rbm.free_energy(v[:4000]), rbm.free_energy(v[4000:])]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [0.5, 5.0])
def test_probabilities_of_all_states_sum_to_one(scale, dtype):
    parameters = draw_parameters(10, 7, scale, dtype=dtype)
    rbm, v = machine(*parameters), reference.all_states(10, dtype)
    log_p = rbm.log_likelihood(v)
    assert log_p.dtype == np.float64 and log_p.shape == (1024,)
    # An error of log p is one of p relative to p; these sum to 1.
    W, _, c = widened(parameters)
    error = activation_error(W, c, v, dtype).sum(axis=1) + LOG_Z_ERROR
    tolerance.near_sum(np.exp(log_p).sum(), np.float64(1), error.max() / EPS, 1)
    log_z = rbm.log_partition()
    tolerance.same_bits(log_p, rbm.log_likelihood(v, log_partition=log_z))
    tolerance.near_sum(rbm.log_likelihood(sp.csr_matrix(v)), log_p, error / EPS, 1)
    tolerance.same_bits(log_p, -rbm.free_energy(v) - log_z.value)


def test_log_likelihood_refuses_grey_rows():
    rbm = machine(*draw_parameters(4, 3))
    for grey in (np.full((1, 4), 0.5), sp.csr_matrix([[0.0, 0.5, 0.0, 1.0]])):
        with pytest.raises(ValueError, match=r"RBM.log_likelihood: X holds values between 0 and 1"):
            rbm.log_likelihood(grey)


# -- pseudo-likelihood ---------------------------------------------------------------------------------------------


def check_pseudo(value, parameters, v, dtype):
    W, b, c = parameters
    # A term's slope in an activation is at most min(1, |W|); where exp(|W|) is multiplied up its rounding stays.
    slope = np.minimum(1, np.abs(W)).sum(axis=0)
    lost = np.exp(np.minimum(np.abs(W), 15)).sum()
    magnitude = np.abs(b).sum() + ((np.abs(c) + np.abs(v) @ np.abs(W) + 1) * (1 + slope)).sum(axis=1)
    bound = (activation_error(W, c, v, dtype) * slope).sum(axis=1) / EPS + 4 * (lost + sum(W.shape) * magnitude)
    tolerance.near_sum(value, reference.pseudo_log_likelihood(W, b, c, v), bound, 1)


@pytest.mark.parametrize("form", ["bits", "sparse", "grey", "sparse grey"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "scale"),
    [((1, 1), 1.0), ((12, 8), 1.0), ((70, 130), 0.3), ((64, 20), 4.0), ((33, 65), 30.0), ((20, 9), 700.0)],
)
def test_score_samples(shape, scale, dtype, form, device):
    """By multiplied ratios for small weights, one by one for large ones and for grey rows."""
    parameters = draw_parameters(*shape, scale, dtype=dtype)
    X = inputs(np.random.default_rng(0), 20, shape[0], dtype)[form]
    rbm = machine(*parameters, device=device.name)
    check_pseudo(rbm.score_samples(X), widened(parameters), dense(X), dtype)
    assert rbm.score(X) == rbm.score_samples(X).mean()


@pytest.mark.parametrize("hidden", [100, 1300])
def test_score_samples_of_weights_that_pull_together(hidden):
    """The product of a flip's ratios, none of them large, leaves the range of a double; so do those of a part."""
    rng = np.random.default_rng(0)
    parameters = rng.uniform(8, 12, (6, hidden)), rng.standard_normal(6), rng.uniform(-40, 0, hidden)
    v = reference.all_states(6)
    check_pseudo(machine(*parameters).score_samples(v), parameters, v, np.float64)


def test_score_samples_draws_nothing():
    rbm, v = machine(*draw_parameters(12, 8)), reference.all_states(12)[:700]
    scores = rbm.score_samples(v)
    tolerance.same_bits(rbm.score_samples(v), scores)
    # Rows beside others may be summed in another order.
    tolerance.near_sum(rbm.score_samples(v[::-1]), scores[::-1], 1 - scores, 12 * 8 * 8)


def test_pseudo_likelihood_is_the_likelihood_of_independent_units():
    W, b, c = draw_parameters(8, 5)
    rbm, v = machine(0 * W, b, c), reference.all_states(8)
    tolerance.near_sum(rbm.score_samples(v), rbm.log_likelihood(v), np.full(256, 8 * (1 + np.abs(b).sum())), 64)


# -- annealed importance sampling ----------------------------------------------------------------------------------


def base_of(b):
    """A base model that is none of the model's: what is right for it is right for any."""
    return 0.5 * b - 0.3


def check_weights(log_w, log_ratio):
    """E[w] is the ratio of the partition functions whatever the temperatures (Neal 2001): a z of their mean."""
    w = np.exp(log_w - log_ratio)
    assert w.std() > 0
    tolerance.statistical((w.mean() - 1) / (w.std(ddof=1) / np.sqrt(len(w))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_betas", [2, 3, 10])
def test_weights_are_right_on_average(n_betas, dtype):
    parameters = draw_parameters(7, 5, 0.7, dtype=dtype)
    W, b, c = widened(parameters)
    base, betas = base_of(b), np.linspace(0, 1, n_betas) ** 0.7
    log_z, log_base = reference.log_partition(W, b, c), _core.rbm_base_log_partition(base, 5)
    expected_base = reference.log_partition(0 * W, base, 0 * c)
    check_log_z(log_base, expected_base)
    up = _core.rbm_anneal(*parameters, base, betas, None, 3, 40_000, None)
    check_weights(up, log_z - log_base)
    # Downwards from exact draws of the model.
    v = reference.all_states(7)
    p = np.exp(reference.log_likelihood(W, b, c, v))
    chosen = np.random.default_rng(0).choice(len(v), 40_000, p=p / p.sum())
    start = np.packbits(v[chosen] == 1, axis=1, bitorder="little").astype(np.uint64)
    check_weights(_core.rbm_anneal(*parameters, base, betas[::-1].copy(), start, 4, 40_000, None), log_base - log_z)


@pytest.fixture(scope="module", params=DTYPES)
def digits_machine(request):
    X = (load_digits().data > 7).astype(request.param)
    return RBM(20, n_iter=10, random_state=0).fit(X)


@pytest.mark.parametrize("method", ["ais", "reverse_ais"])
def test_error_bars_hold_on_digits(digits_machine, method):
    """Of 20 seeds, 19 within three standard errors."""
    exact = digits_machine.log_partition("exact").value
    hits = 0
    for seed in range(20):
        estimate = digits_machine.log_partition(method, n_runs=100, n_betas=300, random_state=seed)
        hits += estimate.lower <= exact <= estimate.upper
        tolerance.near_sum(estimate.lower, estimate.value - 3 * estimate.std_error, abs(estimate.value), 4)
        tolerance.near_sum(estimate.upper, estimate.value + 3 * estimate.std_error, abs(estimate.value), 4)
        assert 0 < estimate.std_error < 1
        assert 1 <= estimate.effective_sample_size <= 100
        assert estimate.method == method
    assert hits >= 19, f"{hits} of 20"


def test_a_bracket_holds_both_directions(digits_machine):
    exact = digits_machine.log_partition("exact").value
    options = {"n_runs": 100, "n_betas": 300, "random_state": 3}
    both = digits_machine.log_partition("bracket", **options)
    up, down = (digits_machine.log_partition(method, **options) for method in ("ais", "reverse_ais"))
    assert (both.lower, both.upper) == (min(up.lower, down.lower), max(up.upper, down.upper))
    assert both.lower <= exact <= both.upper
    assert both.method == "bracket"
    tolerance.near_sum(both.value, (both.lower + both.upper) / 2, abs(both.value), 2)
    tolerance.near_sum(both.std_error, (both.upper - both.lower) / 6, abs(both.value), 2)
    assert both.effective_sample_size == min(up.effective_sample_size, down.effective_sample_size)


def test_two_directions_that_disagree_widen_the_bracket():
    """Five temperatures anneal badly: the bracket shows it, and still holds."""
    rbm = RBM(16, n_iter=100, batch_size=10, random_state=0).fit(load_digits().data > 7)
    exact = rbm.log_partition("exact").value
    coarse = rbm.log_partition("bracket", n_betas=5, random_state=0)
    fine = rbm.log_partition("bracket", n_betas=3000, random_state=0)
    assert coarse.upper - coarse.lower > 5 * (fine.upper - fine.lower)
    for bracket in (coarse, fine):
        assert bracket.lower <= exact <= bracket.upper


@pytest.mark.parametrize("hidden", [5, 30])
def test_the_likelihoods_bracket(hidden):
    v = np.random.default_rng(0).random((7, 30)) < 0.5
    rbm = RBM(hidden, n_iter=3, random_state=0).fit(v)
    log_z = rbm.log_partition("bracket" if hidden == 30 else "exact", random_state=1)
    values, lower, upper = rbm.log_likelihood(v, log_partition=log_z, return_bracket=True)
    tolerance.same_bits(values, rbm.log_likelihood(v, log_partition=log_z))
    tolerance.same_bits(lower, -rbm.free_energy(v) - log_z.upper)
    tolerance.same_bits(upper, -rbm.free_energy(v) - log_z.lower)
    values, lower, upper = rbm.log_likelihood(v, return_bracket=True)
    assert (lower < upper).all() if hidden == 30 else np.array_equal(lower, upper)
    with pytest.raises(TypeError, match="return_bracket='yes'"):
        rbm.log_likelihood(v, return_bracket="yes")


def test_annealing_repeats_itself(digits_machine):
    first, again, other = (
        digits_machine.log_partition("ais", n_runs=10, n_betas=50, random_state=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.value != other.value


def test_the_likelihood_by_annealing_carries_its_log_z(digits_machine):
    v = load_digits().data[:5] > 7
    log_z = digits_machine.log_partition("ais", n_runs=10, n_betas=50, random_state=1)
    tolerance.same_bits(
        digits_machine.log_likelihood(v, log_partition=log_z), -digits_machine.free_energy(v) - log_z.value
    )


def test_one_run_has_no_error_bar():
    estimate = machine(*draw_parameters(4, 3)).log_partition("ais", n_runs=1, n_betas=10, random_state=0)
    assert estimate.std_error == np.inf
    assert estimate.effective_sample_size == 1


@pytest.mark.parametrize("n_betas", [2, 3, 4, 5, 30, 100, 14_501])
def test_schedule(n_betas):
    betas = _log_partition.schedule(n_betas)
    assert len(betas) == n_betas
    assert (betas[0], betas[-1]) == (0, 1)
    assert (np.diff(betas) > 0).all()
    if n_betas == 14_501:  # Salakhutdinov and Murray's own
        assert [int(((low <= betas) & (betas < high)).sum()) for low, high in ((0, 0.5), (0.5, 0.9), (0.9, 1))] == [
            500, 4000, 10_000,
        ]  # fmt: skip


@pytest.mark.parametrize("betas", [[0, 0.5], [0.5, 1], [0, 0.7, 0.5, 1], [0], [[0, 1]], [0, np.nan, 1]])
def test_temperatures_must_rise_from_0_to_1(betas):
    with pytest.raises(ValueError, match=r"log_partition: beta(s must rise from 0 to 1| nan is not in \[0, 1\])"):
        machine(*draw_parameters(4, 3)).log_partition("ais", betas=betas)


def test_given_temperatures_are_used():
    rbm = machine(*draw_parameters(6, 4))
    by_count = rbm.log_partition("ais", n_betas=40, random_state=0)
    assert rbm.log_partition("ais", betas=_log_partition.schedule(40), random_state=0) == by_count
    assert rbm.log_partition("ais", betas=np.linspace(0, 1, 40), random_state=0) != by_count
    published = rbm.log_partition("ais", betas="salakhutdinov-murray", n_runs=5, random_state=0)
    assert published == rbm.log_partition("ais", n_betas=14_501, n_runs=5, random_state=0)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"method": "guess"}, ValueError, "method='guess' is not one of"),
        ({"n_runs": 0}, ValueError, "n_runs=0, it must be at least 1"),
        ({"n_betas": 1}, ValueError, "n_betas=1, it must be at least 2"),
        ({"betas": "fine"}, ValueError, "betas='fine' is not one of 'salakhutdinov-murray'"),
        ({"n_runs": 2.5}, TypeError, "n_runs=2.5 is of type float"),
    ],
)
def test_log_partition_refuses_bad_parameters(wrong, error, said):
    with pytest.raises(error, match=f"RBM.log_partition: {said}"):
        machine(*draw_parameters(4, 3)).log_partition(**{"method": "ais", **wrong})


@pytest.mark.parametrize("visible", ["bernoulli", [("bernoulli", 14)]], ids=["bits", "units"])
def test_annealing_of_an_assigned_model_sees_both_of_its_modes(visible):
    """All off and all on are equally likely; the model's own biases are the means of the first alone."""
    rbm = RBM(2, visible=visible)
    rbm.components_ = np.full((2, 14), 3.0)
    rbm.intercept_visible_, rbm.intercept_hidden_ = np.full(14, -3.0), np.full(2, -21.0)
    exact = rbm.log_partition("exact").value
    annealed = [rbm.log_partition("ais", n_betas=1000, random_state=seed) for seed in range(20)]
    assert sum(z.lower <= exact <= z.upper for z in annealed) >= 19
