"""The kernels and the model once more, in NumPy, as plainly as the equations read: what the tests compare with.

W is (D, H), b (D,), c (H,); states v (n, D) and h (n, H). Everything is computed in the type of the input, which the
tests choose wider than the one under test (see `wide`).
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

STREAMS = {"hidden": 0, "visible": 1, "start": 2, "shuffle": 3, "weights": 4, "user": 5, "data": 6}


def wide(dtype):
    """A type with more digits: float64 for float32, the processor's long double for float64."""
    return np.dtype(np.float64 if np.dtype(dtype) == np.float32 else np.longdouble)


# -- random numbers ------------------------------------------------------------------------------------------------


def philox4x32_10(counter, key):
    """Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, sec. 3.3 and table 2."""
    low = np.uint64(0xFFFFFFFF)
    c = [np.asarray(word, dtype=np.uint64) for word in counter]
    k = [np.asarray(word, dtype=np.uint64) for word in key]
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k[0], p1 & low, (p0 >> np.uint64(32)) ^ c[3] ^ k[1], p0 & low]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return np.stack(np.broadcast_arrays(*c))


def uniform(seed, stream, step, rows, columns, *, first_row=0, dtype=np.float32):
    """Word column // 16 % 4 of counter (column // 64 * 16 + column % 16, row, step, stream), for every row and column.

    The key is the seed, low half first; bits of step past the 32nd stand in the stream's from the 8th on.
    """
    row = (first_row + np.arange(rows, dtype=np.uint64))[:, None]
    column = np.arange(columns)
    counter = (column // 64 * 16 + column % 16, row, step & 0xFFFFFFFF, stream | step >> 32 << 8)
    words = philox4x32_10(counter, (seed & 0xFFFFFFFF, seed >> 32))
    word = np.take_along_axis(words, (column // 16 % 4)[None, None, :].repeat(rows, axis=1), axis=0)[0]
    if np.dtype(dtype) == np.float32:
        return (word >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)
    return word.astype(np.float64) * 2.0**-32


# -- elementary functions ------------------------------------------------------------------------------------------


def sigmoid(x):
    # Both forms are exact where they are used: no overflow, no cancellation.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# -- ops -----------------------------------------------------------------------------------------------------------


def gemm(a, b, transpose_a=False, transpose_b=False):
    return (a.T if transpose_a else a) @ (b.T if transpose_b else b)


def binary_gemm(a, b, transpose_b=False):
    return a @ (b.T if transpose_b else b)


def binary_gemm_tn(a, b):
    return a.T @ b


def bernoulli(activation, bias, scale, draws):
    """p = sigmoid(scale a + b), and x = [u < p]."""
    p = sigmoid(activation * scale + bias)
    return p, draws < p


def rbm_step(data, data_probability, model, s):
    """One gradient step of the centred machine: Melchior, Fischer, Wiskott, JMLR 17 (2016), section 3.

    data: (n, D); data_probability: (n, H), 1/n times p(h | data); model: (m, D). s: a dict of everything else. Returns
    the model's -p(h | model) / m and what s becomes.
    """
    s, m = dict(s), len(model)
    p = sigmoid(s["hidden_bias"] + model @ s["weights"])
    s["hidden_offset"] = s["hidden_offset"] + s["offset_rate"] * (data_probability.sum(0) - s["hidden_offset"])
    visible_difference = s["visible_difference"]
    hidden_difference = data_probability.sum(0) - p.sum(0) / m
    mu, lam = s["visible_offset"], s["hidden_offset"]
    g = data.T @ data_probability - model.T @ p / m
    g_visible, g_hidden = visible_difference, hidden_difference
    if s["centred"]:
        g = g - np.outer(mu, hidden_difference) - np.outer(visible_difference, lam)
        g_visible = visible_difference - g @ lam
        g_hidden = hidden_difference - g.T @ mu
    g = g - s["weight_decay"] * s["weights"]
    for name, gradient in (("weights", g), ("visible_bias", g_visible), ("hidden_bias", g_hidden)):
        velocity = "weight_velocity" if name == "weights" else name.replace("bias", "velocity")
        move = gradient
        if s["momentum"]:
            move = s[velocity] = s["momentum"] * s[velocity] + gradient
        s[name] = s[name] + s["learning_rate"] * move
    return -p / m, s


def rbm_step_magnitude(data, data_probability, model, s):
    """`rbm_step` with every difference a sum and every value absolute: what its rounding errors are in proportion to.

    sigmoid's slope is at most 1/4, so an error of the activation enters p by a quarter.
    """
    s = {name: value if isinstance(value, bool) else np.abs(value) for name, value in s.items()}
    m = len(model)
    p = 1 + (s["hidden_bias"] + model @ s["weights"]) / 4
    s["hidden_offset"] = lam = s["hidden_offset"] + s["offset_rate"] * (data_probability.sum(0) + s["hidden_offset"])
    mu, visible_difference = s["visible_offset"], s["visible_difference"]
    hidden_difference = data_probability.sum(0) + p.sum(0) / m
    g = data.T @ data_probability + model.T @ p / m
    g_visible, g_hidden = visible_difference, hidden_difference
    if s["centred"]:
        g = g + np.outer(mu, hidden_difference) + np.outer(visible_difference, lam)
        g_visible, g_hidden = visible_difference + g @ lam, hidden_difference + g.T @ mu
    g = g + s["weight_decay"] * s["weights"]
    for name, gradient in (("weights", g), ("visible_bias", g_visible), ("hidden_bias", g_hidden)):
        velocity = "weight_velocity" if name == "weights" else name.replace("bias", "velocity")
        s[velocity] = s["momentum"] * s[velocity] + gradient
        s[name] = s[name] + s["learning_rate"] * s[velocity]
    return p / m, s


# -- sparse coding -------------------------------------------------------------------------------------------------


def shrink(x, a, positive=False):
    """argmin over h of 0.5 (h - x)^2 + a |h|: Daubechies, Defrise, De Mol, CPAM 57, 2004, eq. 2.6."""
    return np.maximum(x - a, 0) if positive else np.sign(x) * np.maximum(np.abs(x) - a, 0)


def lasso_objective(x, D, alpha, h, observed=None):
    """0.5 |x - h D|^2 + sum_j alpha_j |h_j| of every row: Tibshirani, JRSS B 58, 1996. x (n, d), D (K, d), h (n, K)."""
    r = x - h @ D if observed is None else np.where(observed, x - h @ D, 0)
    return 0.5 * (r**2).sum(axis=1) + (np.where(h == 0, 0, alpha) * np.abs(h)).sum(axis=1)


def lasso_gap(x, D, alpha, h, positive=False, observed=None):
    """Objective, and objective less that of the dual at the residual made feasible: Kim et al., 2007, section III."""
    x = x if observed is None else np.where(observed, x, 0)
    r = x - h @ D if observed is None else np.where(observed, x - h @ D, 0)
    reach = r @ D.T if positive else np.abs(r @ D.T)
    s = 1 / np.maximum((reach / alpha).max(axis=1, initial=0), 1)
    primal = lasso_objective(x, D, alpha, h, observed)
    return primal, primal - s * (r * x).sum(axis=1) + 0.5 * s**2 * (r**2).sum(axis=1)


def lasso(x, D, alpha, positive=False, observed=None, tol=1e-13, max_sweeps=20_000):
    """Cyclic coordinate descent, all rows at a time: Friedman, Hastie, Hoefling, Tibshirani, AOAS 1, 2007, eq. 8.

    Ends where the gap is tol of the objective, or what rounding errors of 0.5 |x|^2 leave of it.
    """
    x = x if observed is None else np.where(observed, x, 0)
    h, r = np.zeros((len(x), len(D)), x.dtype), x.copy()
    alpha = np.broadcast_to(alpha, h.shape)
    squares = np.ones_like(x) @ (D**2).T if observed is None else observed.astype(x.dtype) @ (D**2).T
    floor = 4 * np.finfo(x.dtype).eps * (x**2).sum(axis=1)
    for sweep in range(max_sweeps):
        for j in np.flatnonzero(squares.any(axis=0)):
            norm = np.where(squares[:, j] > 0, squares[:, j], 1)
            new = shrink(h[:, j] + r @ D[j] / norm, alpha[:, j] / norm, positive) * (squares[:, j] > 0)
            r += np.outer(h[:, j] - new, D[j]) * (1 if observed is None else observed)
            h[:, j] = new
        if sweep % 10 == 9:
            primal, gap = lasso_gap(x, D, alpha, h, positive, observed)
            if (gap <= tol * primal + floor).all():
                break
    return h


def proximal_steps(x, D, alpha, L, n_steps, momentum=True):
    """Codes after so many steps from zeros, and how often the momentum of each row was dropped.

    Beck and Teboulle, SIAM J. Imaging Sci. 2, 2009, eqs. 4.1 to 4.3, with the gradient scheme of O'Donoghue and Candes,
    Found. Comput. Math. 15, 2015, section 3.2; without momentum ISTA.
    """
    h = before = np.zeros((len(x), len(D)))
    t, dropped, beta = np.ones(len(x)), np.zeros(len(x), int), np.zeros(len(x))
    for _ in range(n_steps):
        y = h + beta[:, None] * (h - before)
        h, before = shrink(y + (x - y @ D) @ D.T / L, alpha / L), h
        if momentum:
            uphill = ((y - h) * (h - before)).sum(axis=1) > 0
            dropped += uphill
            t = np.where(uphill, 1, t)
            t, beta = (1 + np.sqrt(1 + 4 * t**2)) / 2, 2 * (t - 1) / (1 + np.sqrt(1 + 4 * t**2))
    return h, dropped


def code_statistics(h, x, keep, share, A, B):
    """A and B of Mairal, Bach, Ponce, Sapiro, JMLR 11, 2010, algorithm 1."""
    return keep * A + share * h.T @ h, keep * B + share * h.T @ x


def dictionary_update(A, B, D, positive=False):
    """One pass over the atoms of the same paper's algorithm 2, each on the unit sphere; those of no use stay."""
    D = D.copy()
    for k in range(len(D)):
        u = B[k] - A[k] @ D + A[k, k] * D[k]
        u = np.maximum(u, 0) if positive else u
        if A[k, k] > 0 and u.any():
            D[k] = u / np.sqrt((u**2).sum())
    return D


# -- the Bernoulli machine, by enumeration ---------------------------------------------------------------------------


def all_states(n, dtype=np.float64):
    """All 2^n rows of 0 and 1; column i of row s is bit i of s."""
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(dtype)


def free_energy(W, b, c, v):
    """F(v) = -b.v - sum_j softplus(c_j + (v W)_j): Hinton, "A practical guide to training RBMs", 2010, eq. 25."""
    return -(v @ b) - softplus(c + v @ W).sum(axis=1)


def pseudo_log_likelihood(W, b, c, v):
    """sum_i log p(v_i | the others), by flipping one unit after the other: Besag, 1975."""
    total = np.zeros(len(v), dtype=np.result_type(W, v))
    unflipped = free_energy(W, b, c, v)
    for i in range(v.shape[1]):
        flipped = v.copy()
        flipped[:, i] = 1 - flipped[:, i]
        total -= softplus(unflipped - free_energy(W, b, c, flipped))
    return total


def log_partition(W, b, c):
    """log sum over all v and h of exp(b.v + c.h + v W h): nothing is summed analytically."""
    v, h = all_states(W.shape[0]), all_states(W.shape[1])
    return logsumexp((v @ b)[:, None] + h @ c + v @ W @ h.T)


def log_likelihood(W, b, c, v):
    return -free_energy(W, b, c, v) - log_partition(W, b, c)


def transition(W, b, c, v, states):
    """p(v' | v) of one Gibbs step v -> h -> v' for rows v' of states, by summing over all h; v is one state."""
    h = all_states(W.shape[1])
    on = sigmoid(c + v @ W)
    weight = np.where(h == 1, on, 1 - on).prod(axis=1)
    back = sigmoid(b + h @ W.T)
    return np.array([weight @ np.where(state == 1, back, 1 - back).prod(axis=1) for state in states])
