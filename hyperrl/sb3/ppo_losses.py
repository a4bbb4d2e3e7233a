"""The losses of PPO as functions of tensors alone.

Equations are those of Schulman et al., *Proximal Policy Optimization Algorithms*, arXiv:1707.06347, 2017.
What the paper leaves to its code (normalised advantages, clipped values) is as in Stable-Baselines3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def normalised_advantages(advantages: Tensor) -> Tensor:
    """Advantages ``[B]`` with mean 0 and standard deviation 1; a single one has neither and stays."""
    if len(advantages) <= 1:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip_range: Tensor | float) -> Tensor:
    """``-mean min(r A, clip(r, 1 - eps, 1 + eps) A)``, the negative of eq. 7.

    Args:
        ratio: ``r = pi(a | s) / pi_old(a | s)``, ``[B]``.
        advantages: Estimates of ``A``, ``[B]``.
        clip_range: The bound eps, ``[]``.
    """
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)  # type: ignore[arg-type]
    return -torch.min(advantages * ratio, advantages * clipped).mean()


def clipped_values(values: Tensor, old_values: Tensor, clip_range: Tensor | float) -> Tensor:
    """Values ``[B]`` kept within a distance of what they were in the rollout; the paper has none of this.

    Args:
        values: What the value function gives now.
        old_values: What it gave in the rollout.
        clip_range: The distance, in units of returns, ``[]``.
    """
    return old_values + (values - old_values).clamp(-clip_range, clip_range)  # type: ignore[arg-type]


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """``L^VF``, the mean squared error of the values ``[B]`` (below eq. 9)."""
    return functional.mse_loss(returns, values)


def entropy_loss(entropy: Tensor | None, log_prob: Tensor) -> Tensor:
    """``-mean S[pi](s)`` (eq. 9); where the entropy has no formula, its estimate ``-log pi(a | s)``.

    Args:
        entropy: ``[B]``, or None.
        log_prob: Of the actions taken, ``[B]``.
    """
    return log_prob.mean() if entropy is None else -entropy.mean()


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """``mean (r - 1) - log r``, an unbiased estimate of ``KL(pi_old, pi)`` (Schulman, 2020).

    Args:
        log_ratio: ``log r``, ``[B]``.
    """
    return ((log_ratio.exp() - 1) - log_ratio).mean()


def clip_fraction(ratio: Tensor, clip_range: Tensor | float) -> Tensor:
    """Share of the ratios ``[B]`` that are farther than ``clip_range`` from 1."""
    return ((ratio - 1).abs() > clip_range).float().mean()
