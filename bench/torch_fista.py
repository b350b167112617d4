"""FISTA for the lasso in PyTorch, as one writes it: all rows step together until the last one is done."""

from __future__ import annotations

import torch


def lipschitz(D: torch.Tensor) -> float:
    """The largest eigenvalue of D D^T."""
    return float(torch.linalg.matrix_norm(D.double(), 2) ** 2)


def gaps(X: torch.Tensor, D: torch.Tensor, H: torch.Tensor, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Objectives and duality gaps of the codes, row by row, in the type of X."""
    R = X - H @ D
    objective = 0.5 * (R * R).sum(1) + alpha * H.abs().sum(1)
    s = (alpha / (R @ D.T).abs().amax(1)).clamp_(max=1)
    return objective, objective - s * (R * X).sum(1) + 0.5 * s**2 * (R * R).sum(1)


def fista(
    X: torch.Tensor, D: torch.Tensor, alpha: float, tol: float, max_iter: int, look: int = 10
) -> tuple[torch.Tensor, int]:
    """Codes, and steps taken. X (n, d), D (K, d); gaps are looked at every `look` steps."""
    step, t = 1 / lipschitz(D), 1.0
    H = Y = torch.zeros(len(X), len(D), dtype=X.dtype, device=X.device)
    with torch.inference_mode():
        for k in range(1, max_iter + 1):
            before = H
            H = torch.nn.functional.softshrink(Y + step * ((X - Y @ D) @ D.T), alpha * step)
            t, last = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
            Y = H + (last - 1) / t * (H - before)
            if k % look == 0:
                objective, gap = gaps(X, D, H, alpha)
                if bool((gap <= tol * objective).all()):
                    return H, k
    return H, max_iter
