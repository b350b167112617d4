"""Dense layers, losses and updates once more in NumPy, as plainly as the equations read; in the type of their input."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, logsumexp, ndtri

import reference

STREAMS = {"corruption": 11, "dropout": 12}


# -- activations: (f(z), f'(z)) ------------------------------------------------------------------------------------


def activate(name, z):
    match name:
        case "identity":
            return z
        case "sigmoid":
            return reference.sigmoid(z)
        case "tanh":
            return np.tanh(z)
        case "relu":
            return np.maximum(z, 0)
        case "softplus":
            return reference.softplus(z)
    raise ValueError(name)


def slope(name, z):
    match name:
        case "identity":
            return np.ones_like(z)
        case "sigmoid":
            return reference.sigmoid(z) * reference.sigmoid(-z)
        case "tanh":
            return 1 / np.cosh(z) ** 2
        case "relu":
            return (z > 0).astype(z.dtype)
        case "softplus":
            return reference.sigmoid(z)
    raise ValueError(name)


# -- losses --------------------------------------------------------------------------------------------------------


def groups_of(groups):
    ends = np.cumsum([count for _, count in groups])
    return [(kind, slice(end - count, end)) for (kind, count), end in zip(groups, ends, strict=True)]


def likelihood_mean(groups, z):
    out = np.array(z)
    for kind, part in groups_of(groups):
        if kind == "bernoulli":
            out[:, part] = reference.sigmoid(z[:, part])
        elif kind == "poisson":
            out[:, part] = np.exp(z[:, part])
        elif kind == "categorical":
            out[:, part] = np.exp(z[:, part] - logsumexp(z[:, part].astype(np.float64), axis=1, keepdims=True))
    return out


def likelihood_loss(groups, x, z):
    """-log p(x | z) of every row, its derivatives by z, and the size of the terms that each loss sums."""
    loss, size = np.zeros(len(x), z.dtype), np.zeros(len(x), z.dtype)
    derivatives = likelihood_mean(groups, z) - x
    for kind, part in groups_of(groups):
        a, b = x[:, part], z[:, part]
        if kind == "bernoulli":
            terms = [reference.softplus(b), -a * b]
        elif kind == "gaussian":
            terms = [0.5 * (a - b) ** 2, np.full_like(b, 0.5 * np.log(2 * np.pi))]
        elif kind == "laplace":
            terms = [np.abs(a - b), np.full_like(b, np.log(2))]
            derivatives[:, part] = np.sign(b - a)
        elif kind == "poisson":
            terms = [np.exp(b), -a * b, gammaln(a.astype(np.float64) + 1).astype(b.dtype)]
        else:
            terms = [logsumexp(b.astype(np.float64), axis=1, keepdims=True).astype(b.dtype), -a * b]
        loss += sum(term.sum(axis=1) for term in terms)
        size += sum(np.abs(term).sum(axis=1) for term in terms)
    return loss, derivatives, size


# -- what is drawn -------------------------------------------------------------------------------------------------


def corrupt(x, kind, level, seed, step, first_row, low, high, groups):
    n, m = x.shape
    u = reference.uniform(seed, STREAMS["corruption"], step, n, m, first_row=first_row, dtype=x.dtype)
    out = x.copy()
    if kind == "gaussian":
        cell = 2.0**-25 if x.dtype == np.float32 else 2.0**-33
        return x + level * ndtri(u.astype(np.float64) + cell)
    for likelihood, part in groups_of(groups):
        if likelihood == "categorical":
            own = u[:, part.start]
            for i in np.flatnonzero(own < level):
                out[i, part] = 0
                if kind == "salt_and_pepper":
                    out[i, part.start + int(own[i] / x.dtype.type(level) * (part.stop - part.start))] = 1
        elif kind == "masking":
            out[:, part][u[:, part] < level] = 0
        else:
            v, shape = u[:, part], out[:, part].shape
            out[:, part] = np.where(v < level / 2, np.broadcast_to(low[part], shape), out[:, part])
            out[:, part] = np.where((v >= level / 2) & (v < level), np.broadcast_to(high[part], shape), out[:, part])
    return out


def dropout(x, rate, seed, step, first_row=0):
    u = reference.uniform(seed, STREAMS["dropout"], step, *x.shape, first_row=first_row, dtype=x.dtype)
    return np.where(u < x.dtype.type(rate), 0, x / (1 - x.dtype.type(rate)))


# -- the contractive penalty ---------------------------------------------------------------------------------------


def jacobian(layers, row):
    """dh / dx at one row, (columns, code): layers of (W, activation, z)."""
    J = None
    for W, activation, z in layers:
        step = W * slope(activation, z[row])
        J = step if J is None else J @ step
    return J


def contraction(layers):
    return np.array([(jacobian(layers, i) ** 2).sum() for i in range(len(layers[0][2]))])


# -- updates -------------------------------------------------------------------------------------------------------


def update(rule, g, kept, theta, *, rate, momentum, beta_1, beta_2, epsilon, step):
    """Returns (theta, kept) after one step."""
    n = len(theta)
    if rule == "sgd":
        return theta - rate * g, kept
    if rule in ("momentum", "nesterov"):
        u = momentum * kept - rate * g
        return theta + (u if rule == "momentum" else momentum * u - rate * g), u
    if rule == "adagrad":
        s = kept + g**2
        return theta - rate * g / (np.sqrt(s) + epsilon), s
    if rule == "rmsprop":
        s = beta_2 * kept + (1 - beta_2) * g**2
        return theta - rate * g / (np.sqrt(s) + epsilon), s
    u = beta_1 * kept[:n] + (1 - beta_1) * g
    s = beta_2 * kept[n:] + (1 - beta_2) * g**2
    corrected = u / (1 - beta_1**step) / (np.sqrt(s / (1 - beta_2**step)) + epsilon)
    return theta - rate * corrected, np.concatenate([u, s])
