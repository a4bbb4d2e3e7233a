"""The losses of SAC (Haarnoja et al., 2018b), as functions of tensors alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
# Stable-Baselines3's, against a logarithm of zero.
_EPSILON = 1e-6


def smallest(values: Sequence[Tensor]) -> Tensor:
    """Minimum ``[B, 1]`` over the value functions."""
    return torch.cat(list(values), dim=1).amin(dim=1, keepdim=True)


def td_target(
    rewards: Tensor,
    dones: Tensor,
    discounts: Tensor | float,
    next_values: Sequence[Tensor],
    next_log_prob: Tensor,
    ent_coef: Tensor,
) -> Tensor:
    """Soft target ``r + gamma (1 - d) (min_i Q'_i - alpha log pi)`` (eq. 3); all tensors ``[B, 1]``."""
    soft = smallest(next_values) - ent_coef * next_log_prob.reshape(-1, 1)
    return rewards + (1 - dones) * discounts * soft


def critic_loss(values: Sequence[Tensor], target: Tensor) -> Tensor:
    """Half the sum of the value functions' mean squared errors (eq. 5)."""
    return 0.5 * torch.stack([functional.mse_loss(value, target) for value in values]).sum()


def actor_loss(values: Sequence[Tensor], log_prob: Tensor, ent_coef: Tensor) -> Tensor:
    """``mean(alpha log pi - min_i Q_i)`` (eq. 9); ``log_prob [B, 1]``."""
    return (ent_coef * log_prob - smallest(values)).mean()


def temperature_loss(log_ent_coef: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """``-mean(log alpha (log pi + target))`` (eq. 18, in the logarithm as Stable-Baselines3 does)."""
    return -(log_ent_coef * (log_prob + target_entropy).detach()).mean()


def squashed_gaussian(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions ``tanh(mean + std eps)`` ``[B, A]`` and log-probabilities ``[B, 1]`` (appendix C, eq. 21).

    Args:
        mean: ``[B, A]``.
        log_std: ``[B, A]``.
        noise: Standard normal eps ``[B, A]``.
    """
    actions = torch.tanh(mean + log_std.exp() * noise)
    log_prob = -0.5 * noise.square() - log_std - _HALF_LOG_TWO_PI
    return actions, (log_prob - torch.log(1 - actions.square() + _EPSILON)).sum(dim=1, keepdim=True)
