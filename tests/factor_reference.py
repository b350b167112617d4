"""Linear Gaussian factor models in plain NumPy, float64: dense matrices, one row at a time.

The model is x = W h + b + noise, h ~ N(0, I), noise ~ N(0, diag(psi)); W is (p, k). Equations: Bishop, "Pattern
recognition and machine learning", 2006, chapters 2.3 and 12.2; Tipping, Bishop, JRSS B 61, 1999 (TB); Lawley, Maxwell,
"Factor analysis as a statistical method", 1971 (LM).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

# ability.cov of R's datasets: Smith, Stanley, "On the differential validity of fluid and crystallised intelligence",
# 1983. General, picture, blocks, maze, reading, vocab; 112 people. Lower triangle by rows.
ABILITY_NAMES = ("general", "picture", "blocks", "maze", "reading", "vocab")
ABILITY_ROWS = 112
_TRIANGLE = """24.641 5.991 6.700 33.520 18.137 149.831 6.023 1.782 19.424 12.711 20.755 4.936 31.430 4.757 52.604
29.701 7.204 50.753 9.075 66.762 135.292"""


def ability_covariance():
    S = np.zeros((6, 6))
    S[np.tril_indices(6)] = np.array(_TRIANGLE.split(), dtype=float)
    return S + S.T - np.diag(np.diag(S))


def draw_model(p, k, seed, *, equal_noise=False):
    """W, b, psi."""
    rng = np.random.default_rng(seed)
    psi = rng.gamma(2.0, 0.5, p) + 0.05
    return rng.standard_normal((p, k)), 3 * rng.standard_normal(p), np.full(p, psi[0]) if equal_noise else psi


def draw_rows(model, n, seed):
    W, b, psi = model
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, W.shape[1])) @ W.T + b + rng.standard_normal((n, len(b))) * np.sqrt(psi)


def log_density(X, W, b, psi):
    """log N(x_o; b_o, C_oo) of the observed part o of every row: Bishop 2.43 and 2.98."""
    C = W @ W.T + np.diag(psi)
    result = []
    for x in np.asarray(X, dtype=np.float64):
        o = ~np.isnan(x)
        d, Coo = x[o] - b[o], C[np.ix_(o, o)]
        quadratic = d @ np.linalg.solve(Coo, d) if o.any() else 0.0
        result.append(-0.5 * (o.sum() * math.log(2 * math.pi) + np.linalg.slogdet(Coo)[1] + quadratic))
    return np.array(result)


def posterior(x, W, b, psi):
    """Mean and covariance of h given the observed part of x, conditioning the joint Gaussian: Bishop 2.81 and 2.82."""
    o = ~np.isnan(x)
    C = W[o] @ W[o].T + np.diag(psi[o])
    gain = np.linalg.solve(C, W[o]).T
    return gain @ (x[o] - b[o]), np.eye(W.shape[1]) - gain @ W[o]


def conditional(x, W, b, psi):
    """Mean and covariance of the missing part of x given the observed one."""
    o = ~np.isnan(x)
    C = W @ W.T + np.diag(psi)
    gain = np.linalg.solve(C[np.ix_(o, o)], C[np.ix_(o, ~o)]).T
    return b[~o] + gain @ (x[o] - b[o]), C[np.ix_(~o, ~o)] - gain @ C[np.ix_(o, ~o)]


def em_step(X, W, b, psi, *, equal_noise):
    """One EM step over the observed entries, row by row: TB appendix B with a mean and, for factor analysis, one
    variance a column (Rubin, Thayer, Psychometrika 47, 1982)."""
    p, k = W.shape
    A, c, q, N = np.zeros((p, k + 1, k + 1)), np.zeros((p, k + 1)), np.zeros(p), np.zeros(p)
    for x in X:
        m, V = posterior(x, W, b, psi)
        h1 = np.append(m, 1.0)
        E = np.outer(h1, h1)
        E[:k, :k] += V
        for j in np.flatnonzero(~np.isnan(x)):
            A[j] += E
            c[j] += x[j] * h1
            q[j] += x[j] ** 2
            N[j] += 1
    W1 = np.stack([np.linalg.solve(A[j], c[j]) for j in range(p)])
    rest = q - (W1 * c).sum(axis=1)
    psi_new = np.full(p, rest.sum() / N.sum()) if equal_noise else rest / N
    return W1[:, :k], W1[:, k], psi_new


def ppca(X, k):
    """W, b, s2 in closed form: TB eqs. 7 and 8."""
    b = X.mean(axis=0)
    values, U = np.linalg.eigh((X - b).T @ (X - b) / len(X))
    values, U = values[::-1], U[:, ::-1]
    s2 = values[k:].mean()
    return U[:, :k] * np.sqrt(values[:k] - s2), b, s2


def profile_objective(S, psi, k):
    """-2/n times the log-likelihood maximised over W, without p log 2 pi: LM eqs. 4.8 to 4.11."""
    root = np.sqrt(psi)
    values, U = np.linalg.eigh(S / root / root[:, None])
    values, U = values[::-1][:k], U[:, ::-1][:, :k]
    W = root[:, None] * U * np.sqrt(np.maximum(values - 1, 0))
    C = W @ W.T + np.diag(psi)
    return np.linalg.slogdet(C)[1] + np.trace(np.linalg.solve(C, S))


def minka_evidence(values, n, k):
    """log p(D | k) by Laplace's method: Minka, NIPS 2000, eqs. 76 to 78, term by term."""
    d = len(values)
    v = values[k:].mean()
    total = -k * math.log(2)
    for i in range(1, k + 1):
        total += gammaln((d - i + 1) / 2) - (d - i + 1) / 2 * math.log(math.pi)
    total -= n / 2 * (np.log(values[:k]).sum() + (d - k) * math.log(v))
    m = d * k - k * (k + 1) / 2
    total += (m + k) / 2 * math.log(2 * math.pi) - k / 2 * math.log(n)
    hat = [values[i] if i < k else v for i in range(d)]
    for i in range(k):
        for j in range(i + 1, d):
            total -= 0.5 * math.log((1 / hat[j] - 1 / hat[i]) * (values[i] - values[j]) * n)
    return total


def orthomax(L, gamma):
    """The criterion that varimax (gamma 1) and quartimax (0) maximise: Kaiser, Psychometrika 23, 1958."""
    squares = L**2
    return float((squares**2).sum() - gamma / len(L) * (squares.sum(axis=0) ** 2).sum())


def magnitude(X, W, b, psi):
    """Of the terms that make up a log-density: log det, constants and the quadratic form of every row."""
    d = np.where(np.isnan(X), 0, np.abs(X) + np.abs(b))
    size = np.abs(np.log(psi)).sum() + len(b) * math.log(2 * math.pi) + np.log1p((W**2 / psi[:, None]).sum())
    return size + (d**2 / psi).sum(axis=1)
