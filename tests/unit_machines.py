"""Tiny machines of every type of unit, and what is true of them by sums over all states or by quadrature."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from scipy.special import logsumexp

from harmonium import RBM

WORDS = 3  # in the bags of the machine with a bag of words


@dataclass(frozen=True)
class Kind:
    """visible and hidden as RBM takes them; n_units and columns as they follow; blocks of (type, units)."""

    visible: object
    hidden: str
    blocks: tuple[tuple[str, int], ...]
    n_hidden: int = 3
    parameters: dict = field(default_factory=dict)

    def __str__(self):
        return f"{'-'.join(kind for kind, _ in self.blocks)}-{self.hidden}"

    @property
    def units(self):
        return sum(n for _, n in self.blocks)


def sites(*sizes):
    return tuple(("categorical", k) for k in sizes)


KINDS = [
    Kind("bernoulli", "gaussian", (("bernoulli", 4),), 2),
    Kind("bernoulli", "relu", (("bernoulli", 4),), 2),
    Kind("gaussian", "bernoulli", (("gaussian", 2),)),
    Kind("gaussian", "gaussian", (("gaussian", 2),), 2),
    Kind("gaussian", "relu", (("gaussian", 2),), 1),
    Kind("categorical", "bernoulli", sites(3, 2, 4), parameters={"n_categories": [3, 2, 4]}),
    Kind("categorical", "gaussian", sites(3, 4), 2, {"n_categories": [3, 4]}),
    Kind("categorical", "relu", sites(2, 3), 1, {"n_categories": [2, 3]}),
    Kind("count", "bernoulli", (("count", 4),)),
    Kind(
        [("bernoulli", 2), ("gaussian", 1), ("categorical", 2)],
        "bernoulli",
        (("bernoulli", 2), ("gaussian", 1), *sites(3, 2)),
        parameters={"n_categories": [3, 2]},
    ),
    Kind([("bernoulli", 3), ("categorical", 1)], "relu", (("bernoulli", 3), *sites(3)), 2, {"n_categories": [3]}),
]


def machine(kind, seed=0, scale=0.7, dtype=np.float64):
    """One with normal parameters; real units on both sides with weights of norm 0.6, so that the density is proper."""
    rng = np.random.default_rng(seed)
    rbm = RBM(
        n_components=kind.n_hidden, visible=kind.visible, hidden=kind.hidden, random_state=seed, **kind.parameters
    )
    weights = scale * rng.standard_normal((kind.units, kind.n_hidden))
    if kind.hidden != "bernoulli":
        weights *= 0.6 / np.linalg.norm(weights, 2)
    rbm.components_ = weights.T.astype(dtype)
    rbm.intercept_visible_ = (scale * rng.standard_normal(kind.units)).astype(dtype)
    rbm.intercept_hidden_ = (scale * rng.standard_normal(kind.n_hidden)).astype(dtype)
    return rbm


def assigned(weights, visible_bias, hidden_bias, **parameters):
    """A machine with these components_ (H, D), b and c."""
    rbm = RBM(len(hidden_bias), **parameters)
    rbm.components_ = np.array(weights, dtype=float)
    rbm.intercept_visible_, rbm.intercept_hidden_ = np.array(visible_bias, float), np.array(hidden_bias, float)
    return rbm


def unit_states(kind):
    """All states of one group of units, as rows, and the logarithm of what each weighs in an integral."""
    name, n = kind
    if name in ("categorical", "count"):
        rows = np.eye(n)
        if name == "count":  # every order of words
            rows = np.array([sum(words) for words in itertools.product(rows, repeat=WORDS)])
        return rows, np.zeros(len(rows))
    if name == "bernoulli":
        points, weights = np.array([0.0, 1.0]), np.ones(2)
    elif name == "gaussian":  # the trapezoidal rule converges faster than any power here
        points = np.arange(-13, 13.01, 0.5)
        weights = np.full(points.size, 0.5)
    else:
        nodes, weights = np.polynomial.legendre.leggauss(80)
        points, weights = 6.5 * (nodes + 1), 6.5 * weights
    rows = np.array(list(itertools.product(points, repeat=n)))
    return rows, np.array([np.log(w).sum() for w in itertools.product(weights, repeat=n)])


def layer_states(blocks):
    parts = [unit_states(block) for block in blocks]
    rows = np.array([np.concatenate(part) for part in itertools.product(*(rows for rows, _ in parts))])
    return rows, np.array([sum(part) for part in itertools.product(*(weights for _, weights in parts))])


def own_energy(x, bias, blocks, times=1.0):
    energy, first = np.zeros(len(x)), 0
    for name, n in blocks:
        part, b = x[:, first : first + n], bias[first : first + n]
        if name == "gaussian":
            energy += 0.5 * ((part - b) ** 2).sum(axis=1)
        else:
            energy += (0.5 * part**2 if name == "relu" else 0 * part).sum(axis=1) - times * part @ b
        first += n
    return energy


class Truth:
    """A machine's joint distribution, as a table of visible by hidden states."""

    def __init__(self, rbm, kind):
        W, b, c = rbm.components_.T, rbm.intercept_visible_, rbm.intercept_hidden_
        hidden = ((kind.hidden, kind.n_hidden),)
        words = WORDS if kind.visible == "count" else 1.0
        self.v, log_v = layer_states(kind.blocks)
        self.h, log_h = layer_states(hidden)
        self.energy = (
            own_energy(self.v, b, kind.blocks)[:, None] + own_energy(self.h, c, hidden, words) - self.v @ W @ self.h.T
        )
        log_p = -self.energy + log_v[:, None] + log_h
        self.log_z = logsumexp(log_p)
        self.free_energy = -logsumexp(-self.energy + log_h, axis=1)
        self.p = np.exp(log_p - self.log_z)
        self.p_v, self.p_h = self.p.sum(axis=1), self.p.sum(axis=0)
        self.mean_h = (self.p / self.p_v[:, None]) @ self.h
        self.mean_v = (self.p / self.p_h).T @ self.v


def columns(units, kind):
    """Visible units in the form of X."""
    out, first = [], 0
    for name, n in kind.blocks:
        part = units[:, first : first + n]
        out.append(part.argmax(axis=1)[:, None] if name == "categorical" else part)
        first += n
    return np.hstack(out).astype(float)
