"""The losses of TD3 (Fujimoto et al., ICML 2018), as functions of tensors alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def smoothed_actions(target_actions: Tensor, noise: Tensor, noise_clip: float) -> Tensor:
    """Target policy smoothing: ``clip(mu'(s') + clip(eps, -c, c), -1, 1)`` (section 5.3).

    Args:
        target_actions: ``[B, A]`` in [-1, 1].
        noise: ``[B, A]``.
        noise_clip: The bound c.
    """
    return (target_actions + noise.clamp(-noise_clip, noise_clip)).clamp(-1, 1)


def td_target(
    rewards: Tensor, dones: Tensor, discounts: Tensor | float, next_values: Sequence[Tensor]
) -> Tensor:
    """Clipped double-Q target ``r + gamma (1 - d) min_i Q'_i`` (eq. 10); all tensors ``[B, 1]``."""
    smallest = torch.cat(list(next_values), dim=1).amin(dim=1, keepdim=True)
    return rewards + (1 - dones) * discounts * smallest


def critic_loss(values: Sequence[Tensor], target: Tensor) -> Tensor:
    """Sum of the value functions' mean squared errors (algorithm 1)."""
    return torch.stack([functional.mse_loss(value, target) for value in values]).sum()


def actor_loss(values: Tensor) -> Tensor:
    """Deterministic policy gradient: ``-mean Q_1(s, mu(s))`` (algorithm 1)."""
    return -values.mean()
