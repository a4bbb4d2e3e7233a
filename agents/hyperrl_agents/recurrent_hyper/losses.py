"""The losses as functions of tensors alone.

Value loss: as in the code of Beck et al., *Hypernetworks in Meta-Reinforcement Learning*, CoRL 2022. Evidence
lower bound: Zintgraf et al., *VariBAD*, ICLR 2020, eq. 8 to 10. All else of PPO is `hyperrl.sb3.ppo_losses`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def huber_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip_range: float | None) -> Tensor:
    """Half the mean Huber loss of the values ``[B]``, the larger one of them clipped and not clipped.

    Args:
        values: What the critic gives now.
        old_values: What it gave in the rollout.
        returns: What they should be.
        clip_range: How far a value may be from the old one; None for as far as it is.
    """
    error = functional.smooth_l1_loss(values, returns, reduction="none")
    if clip_range is not None:
        near = old_values + (values - old_values).clamp(-clip_range, clip_range)
        error = torch.max(error, functional.smooth_l1_loss(near, returns, reduction="none"))
    return 0.5 * error.mean()


def gaussian_divergence(
    mean: Tensor, log_variance: Tensor, old_mean: Tensor, old_log_variance: Tensor
) -> Tensor:
    """``KL(q || p)`` of diagonal Gaussians, summed over the last dimension.

    Args:
        mean: Of q, ``[..., z]``.
        log_variance: Logarithm of the variance of q.
        old_mean: Of p.
        old_log_variance: Logarithm of the variance of p.
    """
    ratio = (log_variance - old_log_variance).exp()
    distance = (mean - old_mean).square() * (-old_log_variance).exp()
    return 0.5 * (ratio + distance - 1 - log_variance + old_log_variance).sum(-1)


def posterior_divergences(mean: Tensor, log_variance: Tensor) -> Tensor:
    """``KL(q_t || q_{t-1})`` along a trial, with ``q_{-1} = N(0, I)`` (VariBAD, eq. 10).

    Args:
        mean: ``[T, B, z]``.
        log_variance: ``[T, B, z]``.

    Returns:
        ``[T, B]``.
    """
    prior = torch.zeros_like(mean[:1])
    old_mean, old_log_variance = torch.cat([prior, mean[:-1]]), torch.cat([prior, log_variance[:-1]])
    return gaussian_divergence(mean, log_variance, old_mean, old_log_variance)


def reconstruction_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """``-log N(target; predicted, I/2)`` but for a constant: squares, their mean over the last dimension."""
    return (predicted - target).square().mean(-1)


def evidence_lower_bound(errors: Tensor, divergences: Tensor, chosen: Tensor, weight: float) -> Tensor:
    """The negative bound, its mean over posteriors that were chosen (VariBAD, eq. 8).

    Args:
        errors: Of all steps of a trial that are decoded from a posterior, summed, ``[K, B]``.
        divergences: Of the posterior from the one before, ``[K, B]``.
        chosen: 1 for a posterior that counts, 0 for padding, ``[K, B]``.
        weight: Of the divergence.
    """
    return ((errors + weight * divergences) * chosen).sum() / chosen.sum()
