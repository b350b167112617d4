"""Likelihoods of bags of many sizes, and of rows with missing entries, against sums over all states."""

from __future__ import annotations

import numpy as np

import tolerance
from harmonium import _unit_bags
from unit_machines import assigned

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
