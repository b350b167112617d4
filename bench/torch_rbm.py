"""RBMs in PyTorch by hand, as people write them.

CD-1: once plainly, once with the care that one takes before a comparison; Gibbs sampling, annealing and log
Z with that care.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch.nn.functional import softplus


class TorchRBM:
    """A Bernoulli machine trained by CD-1 without centring, momentum or decay. X: float32 tensor (n, visible)."""

    def __init__(
        self,
        n_hidden: int,
        *,
        learning_rate: float,
        batch_size: int,
        n_iter: int,
        seed: int,
        plain: bool,
        device: str = "cpu",
    ):
        self.n_hidden, self.batch_size, self.n_iter = n_hidden, batch_size, n_iter
        self.learning_rate, self.plain = learning_rate, plain
        self.random = torch.Generator(device).manual_seed(seed)

    def fit(self, X: torch.Tensor) -> TorchRBM:
        self.W = torch.randn(X.shape[1], self.n_hidden, generator=self.random, device=X.device, dtype=X.dtype) * 0.01
        self.b, self.c = (torch.zeros(n, device=X.device, dtype=X.dtype) for n in (X.shape[1], self.n_hidden))
        with torch.inference_mode():
            for _ in range(self.n_iter):
                order = torch.randperm(len(X), generator=self.random, device=X.device)
                for batch in order.split(self.batch_size):
                    (self._plain_step if self.plain else self._careful_step)(X[batch])
        return self

    def _plain_step(self, v: torch.Tensor) -> None:
        rate = self.learning_rate / len(v)
        p = torch.sigmoid(v @ self.W + self.c)
        h = torch.bernoulli(p, generator=self.random)
        model_v = torch.bernoulli(torch.sigmoid(h @ self.W.T + self.b), generator=self.random)
        model_p = torch.sigmoid(model_v @ self.W + self.c)
        self.W += rate * (v.T @ p - model_v.T @ model_p)
        self.b += rate * (v - model_v).sum(0)
        self.c += rate * (p - model_p).sum(0)

    def _careful_step(self, v: torch.Tensor) -> None:
        """Biases in the product, everything else in place; a draw by comparison takes a quarter of bernoulli's time."""
        rate = self.learning_rate / len(v)
        p = torch.addmm(self.c, v, self.W).sigmoid_()
        h = torch.empty_like(p).uniform_(generator=self.random).lt_(p)
        model_v = torch.addmm(self.b, h, self.W.t()).sigmoid_()
        model_v = torch.empty_like(model_v).uniform_(generator=self.random).lt_(model_v)
        model_p = torch.addmm(self.c, model_v, self.W).sigmoid_()
        self.W.addmm_(v.t(), p, alpha=rate)
        self.W.addmm_(model_v.t(), model_p, alpha=-rate)
        self.b.add_(v.sum(0).sub_(model_v.sum(0)), alpha=rate)
        self.c.add_(p.sum(0).sub_(model_p.sum(0)), alpha=rate)


def _drawn(p: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(p).uniform_().lt_(p)


@torch.inference_mode()
def gibbs(W: torch.Tensor, b: torch.Tensor, c: torch.Tensor, v: torch.Tensor, n_steps: int) -> torch.Tensor:
    """Alternating draws of h given v and v given h. W: (visible, hidden); v: (n, visible)."""
    for _ in range(n_steps):
        h = _drawn(torch.addmm(c, v, W).sigmoid_())
        v = _drawn(torch.addmm(b, h, W.t()).sigmoid_())
    return v


@torch.inference_mode()
def anneal(model: tuple[torch.Tensor, ...], base: torch.Tensor, betas: list[float], n_runs: int) -> torch.Tensor:
    """Log weights of annealed importance sampling of (W, b, c) from independent visible units with biases `base`."""
    W, b, c = model
    v = _drawn(base.sigmoid().expand(n_runs, -1).contiguous())
    log_w = torch.zeros(n_runs, dtype=torch.float64, device=W.device)
    for before, beta in pairwise(betas):
        a = torch.addmm(c, v, W)
        log_w += (beta - before) * (v @ (b - base)).double()
        log_w += (softplus(beta * a) - softplus(before * a)).sum(1, dtype=torch.float64)
        h = _drawn(a.mul_(beta).sigmoid_())
        v = _drawn(torch.addmm((1 - beta) * base + beta * b, h, W.t(), alpha=beta).sigmoid_())
    return log_w


def log_partition(model: tuple[torch.Tensor, ...], batch: int) -> torch.Tensor:
    """log Z of (W, b, c) by all states of the hidden layer, so many at a time."""
    W, b, c = model
    units, count = torch.arange(len(c), device=W.device), 1 << len(c)
    parts = []
    for first in range(0, count, batch):
        states = torch.arange(first, min(first + batch, count), device=W.device)
        h = (states[:, None] >> units & 1).to(W.dtype)
        # Beyond its threshold softplus(x) is x: at the default of 20 the error is 2e-9.
        parts.append(torch.logsumexp(h @ c + softplus(torch.addmm(b, h, W.t()), threshold=40).sum(1), 0))
    return torch.logsumexp(torch.stack(parts), 0)
