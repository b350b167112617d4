"""Machines with units of any type against sums over all their states: energies, conditionals, gradients, draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

import tolerance
from harmonium import RBM
from unit_machines import KINDS, WORDS, Truth, columns, machine

EPS = float(np.finfo(np.float64).eps)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
# What sampling and enumeration share: one layer has finitely many states.
FINITE = [kind for kind in KINDS if not (kind.blocks[0][0] == "gaussian" and kind.hidden != "bernoulli")]
DISCRETE = [kind for kind in KINDS if "gaussian" not in dict(kind.blocks)]
GAUSSIAN = next(kind for kind in KINDS if str(kind) == "gaussian-bernoulli")


def near(actual, expected, relative=1e-9):
    """Within this share of the larger of 1 and the value: quadrature and quantiles are good to that."""
    expected = np.asarray(expected, dtype=np.float64)
    tolerance.near_sum(np.asarray(actual, np.float64), expected, np.maximum(1, abs(expected)), relative / EPS)


def some(p, n=12):
    """States that are not so far out that the quadrature's range ends before the other layer's does."""
    likely = np.flatnonzero(p > 1e-9 * p.max())
    return np.random.default_rng(0).choice(likely, min(n, len(likely)), replace=False)


# -- what is exact ---------------------------------------------------------------------------------------------------


@each_kind
def test_energy(kind):
    rbm = machine(kind)
    truth = Truth(rbm, kind)
    i = some(truth.p_v, 6)
    j = np.resize(some(truth.p_h, 6), len(i))
    near(rbm.energy(columns(truth.v[i], kind), truth.h[j]), truth.energy[i, j], 1e-13)


@each_kind
def test_free_energy(kind):
    rbm = machine(kind)
    truth = Truth(rbm, kind)
    i = some(truth.p_v)
    near(rbm.free_energy(columns(truth.v[i], kind)), truth.free_energy[i])


@each_kind
def test_log_partition_and_likelihood(kind, device):
    rbm = machine(kind).set_params(device=device.name)
    truth = Truth(rbm, kind)
    i = some(truth.p_v)
    X = columns(truth.v[i], kind)
    if str(kind) == "gaussian-relu":
        with pytest.raises(ValueError, match="use method"):
            rbm.log_partition("exact")
        return
    words = {"n_words": WORDS} if kind.visible == "count" else {}
    log_z = rbm.log_partition(**words)
    assert log_z.method == "exact"
    near(log_z.value, truth.log_z)
    near(rbm.log_likelihood(X), -truth.free_energy[i] - truth.log_z)


@each_kind
def test_means_given_the_other_layer(kind):
    rbm = machine(kind)
    truth = Truth(rbm, kind)
    i = some(truth.p_v)
    near(rbm.transform(columns(truth.v[i], kind)), truth.mean_h[i])
    j = some(truth.p_h)
    near(rbm.inverse_transform(truth.h[j]) * (WORDS if kind.visible == "count" else 1), truth.mean_v[j])


def pseudo_log_likelihood(kind, truth, i):
    """Of row i: log p(group | the rest), from the table."""
    total, first = 0.0, 0
    log_v = -truth.free_energy
    for name, n in kind.blocks:
        for part in (range(first, first + 1), range(first + 1, first + n))[
            : 1 if name in ("categorical", "count") else 2
        ]:
            for unit in part:
                changed = range(first, first + n) if name in ("categorical", "count") else [unit]
                others = [k for k in range(truth.v.shape[1]) if k not in changed]
                alike = (truth.v[:, others] == truth.v[i, others]).all(axis=1)
                step = np.log(0.5) if name == "gaussian" else 0.0
                total += log_v[i] - logsumexp(log_v[alike]) - step
        first += n
    return total


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.visible != "count"], ids=str)
def test_pseudo_log_likelihood(kind):
    rbm = machine(kind)
    truth = Truth(rbm, kind)
    likely = np.argsort(truth.free_energy)[:6]
    expected = [pseudo_log_likelihood(kind, truth, i) for i in likely]
    near(rbm.score_samples(columns(truth.v[likely], kind)), expected)


def test_pseudo_log_likelihood_of_words():
    """Each word against all others in its place, the rest of the bag given."""
    kind = next(kind for kind in KINDS if kind.visible == "count")
    rbm = machine(kind)
    bag = np.array([[2.0, 0.0, 1.0, 0.0]])
    expected = 0.0
    for word, times in ((0, 2), (2, 1)):
        others = [bag - np.eye(4)[word] + np.eye(4)[k] for k in range(4)]
        expected += times * (-rbm.free_energy(bag) - logsumexp([-rbm.free_energy(other) for other in others]))[0]
    near(rbm.score_samples(bag), [expected])


# -- the gradient ----------------------------------------------------------------------------------------------------


def data_of(kind, truth, n=30, seed=3):
    rows = np.random.default_rng(seed).choice(len(truth.v), n, p=truth.p_v / truth.p_v.sum())
    return columns(truth.v[rows], kind)


def exact_step(rbm, X, **parameters):
    """What one step of exact gradient ascent with learning_rate=1 changes: the gradient."""
    before = [getattr(rbm, name).copy() for name in ("components_", "intercept_visible_", "intercept_hidden_")]
    rbm.set_params(
        method="exact",
        learning_rate=1.0,
        annealing=None,
        averaging=None,
        centering=False,
        batch_size=len(X),
        **parameters,
    )
    rbm.partial_fit(X, sample_weight=parameters.pop("sample_weight", None))
    after = [getattr(rbm, name) for name in ("components_", "intercept_visible_", "intercept_hidden_")]
    return [new - old for new, old in zip(after, before, strict=True)]


@pytest.mark.filterwarnings("ignore:.*(standardise X|hidden units):UserWarning")
@pytest.mark.parametrize("kind", FINITE, ids=str)
def test_gradient_of_the_exact_log_likelihood(kind):
    rbm = machine(kind, seed=1)
    X = data_of(kind, Truth(rbm, kind))
    words = WORDS if kind.visible == "count" else 1  # steps for bags are per word
    names = ("components_", "intercept_visible_", "intercept_hidden_")
    numeric = []
    step = 1e-5
    for name in names:
        array = getattr(rbm, name)
        slope = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            values = []
            for sign in (1, -1):
                moved = array.copy()
                moved[index] += sign * step
                setattr(rbm, name, moved)
                values.append(rbm.log_likelihood(X).mean())
            slope[index] = (values[0] - values[1]) / (2 * step)
        setattr(rbm, name, array)
        numeric.append(slope)
    for gradient, slope in zip(exact_step(rbm, X), numeric, strict=True):
        near(gradient * words, slope, 1e-6)


@pytest.mark.filterwarnings("ignore:.*hidden units:UserWarning")
def test_gradient_by_the_standard_deviations():
    """One exact step with learn_variance moves log sigma by the slope of the log-likelihood in v's own units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2)) * [0.6, 1.7] + [0.3, -0.5]
    rbm = RBM(3, visible="gaussian", learn_variance=True, method="exact", n_iter=0, random_state=0, batch_size=40).fit(
        X
    )
    rbm.components_ = rng.normal(size=(3, 2))
    scale = rbm.visible_scale_.copy()
    tolerance.near_sum(scale, X.std(axis=0), scale, 100)
    slopes = []
    for i in range(2):
        values = []
        for sign in (1, -1):
            rbm.visible_scale_ = scale * np.exp(sign * 1e-5 * (np.arange(2) == i))
            values.append(rbm.log_likelihood(X).mean())
        slopes.append((values[0] - values[1]) / 2e-5)
    rbm.visible_scale_ = scale.copy()
    rate = 1e-3
    rbm.set_params(learning_rate=rate, annealing=None, averaging=None, centering=False).partial_fit(X)
    near(np.log(rbm.visible_scale_ / scale) / rate, slopes, 1e-6)


@pytest.mark.filterwarnings("ignore:.*(standardise X|hidden units):UserWarning")
@pytest.mark.parametrize("kind", FINITE, ids=str)
def test_a_weight_of_two_is_two_rows(kind):
    truth = Truth(machine(kind, seed=1), kind)
    X = data_of(kind, truth, 10)
    weight = np.array([2, 1, 0, 1, 3, 1, 1, 2, 1, 0])
    a, b = machine(kind, seed=1), machine(kind, seed=1)
    twice = exact_step(a, np.repeat(X, weight, axis=0))
    settings = {"method": "exact", "learning_rate": 1.0, "annealing": None, "averaging": None, "centering": False}
    before = b.components_.copy()
    b.set_params(batch_size=10, **settings).partial_fit(X, sample_weight=weight)
    near(b.components_ - before, twice[0], 1e-12)


# -- draws -----------------------------------------------------------------------------------------------------------

CHAINS = 40_000


@pytest.mark.parametrize("kind", DISCRETE, ids=str)
def test_gibbs_sampling_keeps_the_distribution(kind):
    """Chi-square over all visible states, of chains that start anywhere and of which each is looked at once."""
    rbm = machine(kind, seed=2)
    truth = Truth(rbm, kind)
    words = {"n_words": WORDS} if kind.visible == "count" else {}
    drawn = rbm.sample(CHAINS, n_steps=60, random_state=0, **words)
    states, where = np.unique(columns(truth.v, kind), axis=0, return_inverse=True)
    p = np.bincount(where.ravel(), truth.p_v)
    found = (drawn[:, None, :] == states[None]).all(axis=2)
    assert found.any(axis=1).all()
    tolerance.statistical(tolerance.chi_square(found.sum(axis=0), p))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "gaussian" in dict(kind.blocks)], ids=str)
def test_gibbs_sampling_keeps_means_and_squares_of_real_units(kind):
    rbm = machine(kind, seed=2)
    truth = Truth(rbm, kind)
    drawn = rbm.sample(CHAINS, n_steps=60, random_state=0)
    table = columns(truth.v, kind)
    for power in (1, 2, 3):
        mean = truth.p_v @ table**power
        deviation = np.sqrt(truth.p_v @ table ** (2 * power) - mean**2)
        tolerance.statistical(((drawn**power).mean(axis=0) - mean) / (deviation / np.sqrt(CHAINS)))


@pytest.mark.parametrize("a", [-30.0, -6.0, -4.5, -1.0, 0.0, 2.0, 9.0])
def test_relu_units_are_drawn_from_the_normal_cut_off_at_0(a):
    """Through a visible unit that is on with probability sigmoid(h): its mean, and the hidden mean itself."""
    kind = next(kind for kind in KINDS if str(kind) == "bernoulli-relu")
    rbm = machine(kind)
    rbm.components_, rbm.intercept_visible_ = np.zeros((2, 4)), np.zeros(4)
    rbm.intercept_hidden_ = np.array([a, a])
    mean = float(rbm.transform(np.zeros((1, 4)))[0, 0])
    # a + phi(a) / Phi(a) cancels for a far below 0; there -1/a + 2/a^3 - 10/a^5 holds.
    expected = a + np.exp(norm.logpdf(a) - norm.logcdf(a)) if a > -20 else -1 / a + 2 / a**3 - 10 / a**5
    near(mean, expected, 1e-8)
    rbm.components_ = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    truth = Truth(rbm, kind) if -7 < a < 5 else None
    if truth is not None:
        drawn = rbm.sample(CHAINS, n_steps=30, random_state=1)
        p = truth.p_v @ truth.v
        tolerance.statistical((drawn.mean(axis=0) - p) / np.sqrt(p * (1 - p) / CHAINS))


def test_clamped_columns_stay_and_the_rest_follows():
    kind = next(kind for kind in KINDS if isinstance(kind.visible, list) and kind.hidden == "bernoulli")
    rbm = machine(kind, seed=4)
    truth = Truth(rbm, kind)
    table = columns(truth.v, kind)
    mask, values = np.array([True, False, False, True, False]), np.array([1.0, 9, 9, 2, 9])
    drawn = rbm.sample(CHAINS, n_steps=60, clamp=(mask, values), random_state=0)
    assert (drawn[:, mask] == values[mask]).all()
    p = truth.p_v * ((table[:, 0] == 1) & (table[:, 3] == 2))
    p /= p.sum()
    free = ~mask
    mean = p @ table[:, free]
    deviation = np.sqrt(p @ table[:, free] ** 2 - mean**2)
    tolerance.statistical((drawn[:, free].mean(axis=0) - mean) / (deviation / np.sqrt(CHAINS)))


# -- annealing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_annealing_up_and_down_finds_log_z(kind):
    rbm = machine(kind, seed=5)
    truth = Truth(rbm, kind)
    words = {"n_words": WORDS} if kind.visible == "count" else {}
    for method in ("ais", "reverse_ais"):
        z = rbm.log_partition(method, n_runs=200, n_betas=300, random_state=0, **words)
        assert z.method == method and z.std_error < 0.1
        tolerance.statistical((z.value - truth.log_z) / z.std_error)
    both = rbm.log_partition("bracket", n_runs=100, n_betas=300, random_state=0, **words)
    assert both.lower < truth.log_z < both.upper
