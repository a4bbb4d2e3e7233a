"""The losses of PEARL (Rakelly et al., ICML 2019), as pure functions of tensors.

In shapes, T is tasks, b rows of each, A numbers of an action, C numbers of a latent.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_LEAST_VARIANCE = 1e-7


def precisions(variances: Tensor) -> Tensor:
    """One over variances; less than 1e-7 counts as that."""
    return variances.clamp_min(_LEAST_VARIANCE).reciprocal()


def product_of_gaussians(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance ``[..., C]`` of the normalised product of N diagonal Gaussians.

    Args:
        means: ``[..., N, C]``.
        variances: ``[..., N, C]``; less than 1e-7 counts as that.
    """
    each = precisions(variances)
    variance = each.sum(-2).reciprocal()
    return variance * (each * means).sum(-2), variance


def divergence(mean: Tensor, variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of Gaussians ``[T, C]`` from N(0, I), summed over tasks and numbers.

    It is a sum: with twice as many tasks it weighs twice as much.
    """
    return 0.5 * (mean.square() + variance - 1 - variance.log()).sum()


def squashed(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Draw actions in [-1, 1] with their log-probabilities, so that gradients pass through both.

    Args:
        mean: ``[..., A]``.
        log_std: ``[..., A]``.
        noise: Standard normal, ``[..., A]``.

    Returns:
        Actions ``[..., A]`` and log-probabilities ``[...]``.
    """
    raw = mean + log_std.exp() * noise
    normal = -0.5 * (noise.square() + math.log(2 * math.pi)) - log_std
    # log(1 - tanh(u)^2), which does not lose its digits where tanh saturates.
    volume = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
    return raw.tanh(), (normal - volume).sum(-1)


def td_targets(
    rewards: Tensor, terminated: Tensor, next_values: Tensor, gamma: float, reward_scale: float
) -> Tensor:
    """What Q ought to be, ``[T, b]``; the scale of rewards stands for one over the temperature."""
    return reward_scale * rewards + (1 - terminated) * gamma * next_values


def bellman_error(first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
    """Mean squared errors of both Q-functions, added; all ``[T, b]``."""
    return functional.mse_loss(first, targets) + functional.mse_loss(second, targets)


def value_error(values: Tensor, least_q: Tensor, log_probs: Tensor) -> Tensor:
    """Mean squared error of V against min Q - log pi, which counts as constant; all ``[T, b]``."""
    return functional.mse_loss(values, (least_q - log_probs).detach())


def policy_loss(
    least_q: Tensor,
    log_probs: Tensor,
    mean: Tensor,
    log_std: Tensor,
    mean_weight: float,
    log_std_weight: float,
) -> Tensor:
    """SAC's loss of a policy, and L2 terms of the means and the logarithms of standard deviations.

    Args:
        least_q: ``[T, b]``.
        log_probs: ``[T, b]``.
        mean: Before the tanh, ``[T, b, A]``.
        log_std: ``[T, b, A]``.
        mean_weight: Weight of the mean square of `mean`.
        log_std_weight: Weight of the mean square of `log_std`.
    """
    regularisers = mean_weight * mean.square().mean() + log_std_weight * log_std.square().mean()
    loss: Tensor = torch.mean(log_probs - least_q) + regularisers
    return loss
