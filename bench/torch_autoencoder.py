"""The autoencoder in PyTorch, as one writes it: addmm, sigmoid, the loss from logits, autograd, torch.optim.Adam."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F


class TorchAutoencoder:
    """Sigmoid layers, the decoder mirrored, bernoulli likelihood; `fused`: Adam in PyTorch's one-kernel form."""

    def __init__(
        self,
        sizes: list[int],
        *,
        tied: bool,
        batch_size: int,
        fused: bool,
        corruption: float = 0.0,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        shapes = list(pairwise(sizes))
        self.weights = [
            torch.nn.Parameter((torch.randn(a, b, generator=generator) * (1 / (a + b)) ** 0.5).to(device))
            for a, b in shapes
        ]
        self.biases = [torch.nn.Parameter(torch.zeros(b, device=device)) for b in sizes[1:] + sizes[-2::-1]]
        self.free = [] if tied else [torch.nn.Parameter(W.detach().t().clone()) for W in self.weights[::-1]]
        self.batch_size, self.corruption = batch_size, corruption
        parameters = self.weights + self.biases + self.free
        self.optimiser = torch.optim.Adam(parameters, lr=0.001, **({"fused": True} if fused else {}))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        matrices = self.weights + (self.free or [W.t() for W in self.weights[::-1]])
        for layer, (W, b) in enumerate(zip(matrices, self.biases, strict=True)):
            x = torch.addmm(b, x, W)
            if layer + 1 < len(matrices):
                x = torch.sigmoid(x)
        return x

    def epoch(self, X: torch.Tensor) -> float:
        """One pass in a new order; the mean loss of a row."""
        total, order = 0.0, torch.randperm(len(X), device=X.device)
        for first in range(0, len(X), self.batch_size):
            x = X[order[first : first + self.batch_size]]
            seen = x * (torch.rand_like(x) >= self.corruption) if self.corruption else x
            self.optimiser.zero_grad()
            loss = F.binary_cross_entropy_with_logits(self.logits(seen), x, reduction="sum") / len(x)
            loss.backward()
            self.optimiser.step()
            total += loss.item() * len(x)
        return total / len(X)
