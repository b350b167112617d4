"""Likelihoods of bags of many sizes, and of rows with missing entries, against sums over all states."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

import tolerance
from harmonium import RBM, _unit_bags, _unit_missing
from unit_machines import KINDS, Kind, Truth, assigned, columns, machine

# -- bags of many sizes ----------------------------------------------------------------------------------------------


def bags_model():
    """40 hidden units of which 37 stand alone: too many to enumerate, but log Z of any size is known."""
    rng = np.random.default_rng(0)
    weights = np.zeros((40, 8))
    weights[:3] = 1.2 * rng.normal(size=(3, 8))
    c = 0.05 * rng.normal(size=40)
    rbm = assigned(weights, rng.normal(size=8), c, visible="count", random_state=0)
    few = assigned(weights[:3], rbm.intercept_visible_, c[:3], visible="count")

    def log_z(n):
        return few.log_partition("exact", n_words=int(n)).value + np.logaddexp(0, n * c[3:]).sum()

    return rbm, log_z


def test_sizes_between_those_that_are_annealed_are_reached():
    rbm, log_z = bags_model()
    sizes = np.array([0, 1, 3, 30, 31, 32, 33, 36, 37, 60])
    at = _unit_bags.annealed_sizes(sizes)
    tolerance.exact(at, np.array([0, 1, 3, 30, 33, 36, 37, 60]))
    model = rbm._unit_model()
    found = _unit_bags.of_sizes(model, model[1], sizes, 0, None, None)
    truth = np.array([log_z(n) for n in sizes])
    tolerance.statistical([(z.value - exact) / z.std_error for z, exact in zip(found, truth, strict=True)])
    assert all(z.std_error < 0.2 for z in found)


def test_likelihoods_of_bags_of_many_sizes(monkeypatch, capsys):
    """One annealing of a few sizes at once, under one progress bar; the truth within the bracket for all."""
    monkeypatch.setattr(_unit_bags, "MOST_BETAS", 400)
    monkeypatch.setattr(_unit_bags, "FEWEST_BETAS", 400)
    calls = []
    anneal = _unit_bags.annealed_runs
    monkeypatch.setattr(_unit_bags, "annealed_runs", lambda *a: calls.append(len(a[6])) or anneal(*a))
    rbm, log_z = bags_model()
    sizes = np.r_[40:61, 50]
    X = np.random.default_rng(1).multinomial(sizes, np.ones(8) / 8)
    truth = -rbm.free_energy(X) - [log_z(n) for n in sizes]
    value, lower, upper = rbm.set_params(verbose=1).log_likelihood(X, return_bracket=True)
    assert calls == [6, 6]
    assert (lower < truth).all() and (truth < upper).all() and (upper - lower < 2).all()
    assert (lower < value).all() and (value < upper).all()
    alone = rbm.log_likelihood(X)
    assert abs(alone - truth).max() < 1
    assert capsys.readouterr().err.count("100%|") >= 2  # a bar for each call, whole in the end


def test_calls_that_hold_few_sizes_at_a_time(monkeypatch):
    monkeypatch.setattr(_unit_bags, "_MOST_STATES", 1)
    monkeypatch.setattr(_unit_bags, "MOST_BETAS", 200)
    monkeypatch.setattr(_unit_bags, "FEWEST_BETAS", 200)
    rbm, log_z = bags_model()
    sizes = np.arange(20, 27)
    X = np.random.default_rng(1).multinomial(sizes, np.ones(8) / 8)
    truth = -rbm.free_energy(X) - [log_z(n) for n in sizes]
    _, lower, upper = rbm.log_likelihood(X, return_bracket=True)
    assert (lower < truth).all() and (truth < upper).all()


# -- missing entries -------------------------------------------------------------------------------------------------


PLAIN = Kind("bernoulli", "bernoulli", (("bernoulli", 5),))
BINARY = [PLAIN, *(kind for kind in KINDS if {name for name, _ in kind.blocks} <= {"bernoulli", "categorical"})]


@pytest.mark.parametrize("few", [2**10, 0], ids=["by missing", "by hidden"])
@pytest.mark.parametrize("kind", BINARY, ids=str)
def test_likelihood_of_what_is_known(kind, few, monkeypatch):
    if kind.hidden != "bernoulli" and few == 0:
        return
    monkeypatch.setattr(_unit_missing, "_FEW", few)
    rbm = machine(kind, seed=3).set_params(allow_missing=True)
    truth = Truth(rbm, kind)
    table = columns(truth.v, kind)
    X = table[np.random.default_rng(0).integers(0, len(table), 40)]
    X[np.random.default_rng(1).random(X.shape) < 0.5] = np.nan
    X[0], X[1], X[2] = np.nan, table[1], np.r_[np.nan, table[2, 1:]]
    alike = ((table == X[:, None]) | np.isnan(X)[:, None]).all(axis=2)  # (rows, states)
    expected = np.array([logsumexp(-truth.free_energy[rows]) for rows in alike])
    magnitude = 1 + abs(expected) + abs(truth.log_z)
    for form in (X, X.tolist()):
        tolerance.near_sum(rbm.free_energy(form), -expected, magnitude, 1e5)
        tolerance.near_sum(rbm.log_likelihood(form), expected - truth.log_z, magnitude, 1e5)
    value, lower, upper = rbm.log_likelihood(X, return_bracket=True)
    tolerance.exact(lower, value)
    tolerance.exact(upper, value)
    tolerance.near_sum(value[:1], np.zeros(1), magnitude[:1], 1e6)  # nothing known: certain


def test_missing_entries_in_single_precision_and_frames():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = (rng.random((300, 30)) < 0.4).astype(np.float32)
    X[rng.random(X.shape) < 0.5] = np.nan
    frame = pandas.DataFrame(X, columns=[f"x{i}" for i in range(30)])
    rbm = RBM(8, allow_missing=True, n_iter=2, random_state=0).fit(frame)
    likelihood = rbm.log_likelihood(frame)  # no warning of lost names
    assert (likelihood < 0).all()
    wide = RBM(8, allow_missing=True)
    wide.components_, wide.intercept_visible_, wide.intercept_hidden_ = (
        getattr(rbm, name).astype(np.float64) for name in ("components_", "intercept_visible_", "intercept_hidden_")
    )
    tolerance.near_sum(likelihood, wide.log_likelihood(X), np.full(300, 100.0), 100, np.float32)
    filled = rbm.sample(300, clamp=(~np.isnan(X), X), n_steps=2)
    tolerance.exact(filled[~np.isnan(X)], X[~np.isnan(X)])
    assert np.isfinite(rbm.score_samples(pandas.DataFrame(filled, columns=frame.columns))).all()


def test_other_methods_say_what_to_do_with_missing_entries():
    X = np.array([[0.0, 1, 1], [1, 1, np.nan]])
    for visible, hidden in (("bernoulli", "bernoulli"), ("bernoulli", "relu"), ("categorical", "bernoulli")):
        settings = {"visible": visible, "hidden": hidden, "allow_missing": True}
        rbm = RBM(2, n_iter=1, **settings).fit(np.array([[0.0, 1, 1], [1, 0, 0]]))
        for call in (rbm.transform, rbm.score_samples, rbm.gibbs, rbm.score):
            with pytest.raises(ValueError, match=r"NaN in row 1, column 2\. fit.*sample\(len\(X\), clamp="):
                call(X)
        for call in (rbm.free_energy, rbm.log_likelihood, rbm.transform):
            with pytest.raises(ValueError, match=r"NaN,? in row 1, column 2"):
                rbm.set_params(allow_missing=False) and call(X)
        rbm.set_params(allow_missing=True)
        with pytest.raises(ValueError, match=r"0.5 in row 0, column 0"):
            rbm.log_likelihood(np.array([[0.5, np.nan, 1]]))


def test_too_much_that_is_missing_is_refused_with_the_numbers():
    for hidden in ("relu", "bernoulli"):
        rbm = assigned(np.zeros((21, 30)), np.zeros(30), np.zeros(21), hidden=hidden, allow_missing=True)
        X = np.zeros((3, 30))
        X[1, 3:19] = np.nan
        tolerance.near_sum(
            rbm.free_energy(X)[1:] - rbm.free_energy(X)[:1], -np.array([16 * np.log(2), 0]), np.full(2, 30.0), 100
        )
        X[1, 3:20] = np.nan
        with pytest.raises(ValueError, match="the 17 missing entries of row 1 have 131072 states; up to 65536 are"):
            rbm.free_energy(X)
    with pytest.raises(ValueError, match="in bernoulli and categorical columns only"):
        rbm.set_params(visible="gaussian").free_energy(X)
    with pytest.raises(ValueError, match="X is one-hot"):
        rbm.set_params(visible="categorical", n_categories=3).free_energy(X)
