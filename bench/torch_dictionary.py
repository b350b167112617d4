"""Online dictionary learning in PyTorch, as one writes it: FISTA codes, statistics, atoms one after another."""

from __future__ import annotations

import torch

from torch_fista import fista


def learn(
    X: torch.Tensor,
    D: torch.Tensor,
    alpha: float,
    *,
    tol: float,
    max_iter: int,
    batch_size: int,
    epochs: int,
    forgetting: float,
) -> torch.Tensor:
    """The dictionary after so many passes over X (n, d) from D (K, d) with rows of norm 1; codes to a gap of tol."""
    D, A, B, t = D.clone(), D.new_zeros(len(D), len(D)), torch.zeros_like(D), 0
    for _ in range(epochs):
        order = torch.randperm(len(X), device=X.device)
        for rows in order.split(batch_size):
            x = X[rows]
            H, _ = fista(x, D, alpha, tol, max_iter)
            weight = len(x) / batch_size * (1 + forgetting) / (t + 1 + forgetting) if t else 1.0
            A = (1 - weight) * A + weight / len(x) * (H.T @ H)
            B = (1 - weight) * B + weight / len(x) * (H.T @ x)
            for k in range(len(D)):
                u = B[k] - A[k] @ D + A[k, k] * D[k]
                norm = u.norm()
                D[k] = torch.where((A[k, k] > 0) & (norm > 0), u / norm, D[k])
            t += 1
    return D
