"""Losses and targets of meta-learning by policy gradients, for T tasks of padded episodes.

Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks" (ICML 2017),
section 5.3; Schulman et al., "Trust Region Policy Optimization" (ICML 2015) and "High-Dimensional Continuous
Control Using Generalized Advantage Estimation" (ICLR 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hyperrl_agents.hyper_maml.actor import Gaussian

_STEPS_PER_UNIT = 100.0  # Of time, in the baseline's features.
_RIDGE = 1e-5
_EPSILON = 1e-8


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the steps of each task, ``[T]``.

    Args:
        values: ``[T, B]``.
        mask: Which entries are steps, ``[T, B]``, at least one for each task.
    """
    return torch.where(mask, values, 0).sum(1) / mask.sum(1)


def reinforce(policy: Gaussian, actions: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return the loss of the inner step of each task, ``[T]``: ``-mean(log pi(a|s) A)``.

    Args:
        policy: The policies.
        actions: ``[T, B, A]``.
        advantages: ``[T, B]``.
        mask: ``[T, B]``.
    """
    return -masked_mean(policy.log_prob(actions) * advantages, mask)


def surrogate(new: Gaussian, old: Gaussian, actions: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return the outer loss of each task, ``[T]``: ``-mean(pi(a|s) / pi_old(a|s) A)``.

    Args:
        new: The policies.
        old: Those that acted.
        actions: ``[T, B, A]``.
        advantages: ``[T, B]``.
        mask: ``[T, B]``.
    """
    ratio = (new.log_prob(actions) - old.log_prob(actions)).exp()
    return -masked_mean(ratio * advantages, mask)


def divergence(new: Gaussian, old: Gaussian, mask: Tensor) -> Tensor:
    """Return the mean KL divergence of the new policy from the old one in each task, ``[T]``.

    Args:
        new: The policies.
        old: Those that acted.
        mask: ``[T, B]``.
    """
    distance = (old.mean - new.mean) * (-old.log_std).exp()
    spread = (2 * (new.log_std - old.log_std)).exp()
    each = old.log_std - new.log_std + 0.5 * (spread + distance.square() - 1)
    return masked_mean(each.sum(-1), mask)


def discounted_returns(rewards: Tensor, gamma: float) -> Tensor:
    """Return what comes from each step on, discounted, ``[..., L]``.

    Args:
        rewards: ``[..., L]``, 0 behind the end.
        gamma: Discount.
    """
    return generalised_advantages(rewards, torch.zeros_like(rewards), gamma, 1.0)


def generalised_advantages(rewards: Tensor, values: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """Return advantages ``[..., L]``, with nothing to come after an episode's last step.

    Args:
        rewards: ``[..., L]``, 0 behind the end.
        values: ``[..., L]``, likewise.
        gamma: Discount.
        gae_lambda: How far rewards count rather than values.
    """
    after = torch.zeros_like(values[..., 0])
    advantage = torch.zeros_like(after)
    columns = []
    for step in range(rewards.shape[-1] - 1, -1, -1):
        error = rewards[..., step] + gamma * after - values[..., step]
        advantage = error + gamma * gae_lambda * advantage
        after = values[..., step]
        columns.append(advantage)
    return torch.stack(columns[::-1], dim=-1)


def normalised(advantages: Tensor, mask: Tensor) -> Tensor:
    """Return advantages with mean 0 and standard deviation 1 over the steps of each task, ``[T, B]``.

    Args:
        advantages: ``[T, B]``.
        mask: ``[T, B]``.
    """
    centred = torch.where(mask, advantages - masked_mean(advantages, mask).unsqueeze(1), 0)
    deviation = masked_mean(centred.square(), mask).sqrt().unsqueeze(1)
    return centred / (deviation + _EPSILON)


def baseline_values(states: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Fit a linear baseline to each task's returns; return its values ``[T, E, L]``, 0 behind the end.

    Features are s, s², t, t², t³ and 1, as in Duan et al., "Benchmarking Deep Reinforcement Learning for
    Continuous Control" (ICML 2016); time t is in hundreds of steps.

    Args:
        states: ``[T, E, L, S]``.
        returns: ``[T, E, L]``.
        mask: ``[T, E, L]``.
    """
    # The squares' products need more digits than float32 has.
    states, targets = states.double(), returns.double().flatten(1)
    time = torch.arange(returns.shape[-1], device=states.device, dtype=states.dtype) / _STEPS_PER_UNIT
    times = torch.stack([time, time**2, time**3, torch.ones_like(time)], -1).expand(*mask.shape, 4)
    features = torch.cat([states, states.square(), times], -1) * mask.unsqueeze(-1)
    rows = features.flatten(1, 2)
    gram = rows.mT @ rows
    ridge = _RIDGE * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    moments = rows.mT @ targets.unsqueeze(-1)
    values: Tensor = (rows @ _solved(gram + ridge, moments)).view_as(mask).to(returns.dtype)
    return values


def _solved(matrix: Tensor, target: Tensor) -> Tensor:
    """Solve symmetric systems ``[T, F, F]``, also where the ridge is lost in the digits of large features."""
    scale = matrix.diagonal(dim1=-2, dim2=-1).sqrt().unsqueeze(-1)
    even, aim = matrix / (scale * scale.mT), target / scale
    factor, failed = torch.linalg.cholesky_ex(even)
    weights: Tensor = torch.cholesky_solve(aim, factor)
    if bool(failed.any()):
        weights = torch.linalg.pinv(even, hermitian=True, rtol=1e-12) @ aim
    return weights / scale
