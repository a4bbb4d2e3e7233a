"""Latents with running mean 0 and variance 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LARGEST = 10.0
_EPSILON = 1e-8


class LatentNormaliser(nn.Module):
    """Normalises latents by statistics of all that were counted; before the first they stay as they are.

    Args:
        size: Numbers of a latent.
    """

    running_mean: Tensor
    running_variance: Tensor
    running_count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        # Stable-Baselines3 copies buffers of such names where it copies networks.
        self.register_buffer("running_mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("running_variance", torch.ones(size, dtype=torch.float64))
        self.register_buffer("running_count", torch.zeros((), dtype=torch.float64))

    def forward(self, latent: Tensor) -> Tensor:
        """Normalise ``[..., size]``, clipped to ten standard deviations."""
        mean, deviation = self.running_mean, (self.running_variance + _EPSILON).sqrt()
        return ((latent - mean.to(latent)) / deviation.to(latent)).clamp(-_LARGEST, _LARGEST)

    @torch.no_grad()
    def count(self, latents: Tensor) -> None:
        """Take latents into account, by the formula of Chan et al. for joined samples.

        Args:
            latents: ``[..., size]``, not normalised.
        """
        rows = latents.flatten(0, -2).double()
        added, total = float(len(rows)), self.running_count + len(rows)
        difference = rows.mean(0) - self.running_mean
        squares = self.running_variance * self.running_count + rows.var(0, correction=0) * added
        squares += difference.square() * self.running_count * added / total
        self.running_mean += difference * added / total
        self.running_variance.copy_(squares / total)
        self.running_count.copy_(total)
