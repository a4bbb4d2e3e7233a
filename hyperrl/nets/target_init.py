"""Initialisers of a plain network, which the target network should start as."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

TARGET_INITS: tuple[str, ...] = ("torch", "kaiming", "xavier", "orthogonal", "normc")


def sample_weight(weight: Tensor, scheme: str, gain: float, generator: torch.Generator | None) -> None:
    """Fill ``weight [out, in, ...]`` in place.

    ``torch``: ``nn.Linear``'s default, U(±1/sqrt(in)). ``kaiming``: uniform for ReLU, U(±sqrt(6/in)).
    ``xavier``: Glorot uniform. ``orthogonal``: with gain sqrt(2), as Stable-Baselines3's PPO uses for
    hidden layers. ``normc``: Gaussian rows scaled to unit norm.
    """
    matrix = weight.view(weight.shape[0], -1)
    fan_in = matrix.shape[1]
    if scheme == "torch":
        matrix.uniform_(-1 / sqrt(fan_in), 1 / sqrt(fan_in), generator=generator)
    elif scheme == "kaiming":
        nn.init.kaiming_uniform_(matrix, nonlinearity="relu", generator=generator)
    elif scheme == "xavier":
        nn.init.xavier_uniform_(matrix, generator=generator)
    elif scheme == "orthogonal":
        nn.init.orthogonal_(matrix, gain=sqrt(2), generator=generator)
    else:
        matrix.normal_(generator=generator)
        matrix.div_(matrix.norm(dim=1, keepdim=True))
    weight.mul_(gain)


def sample_bias(
    bias: Tensor, scheme: str, fan_in: int, gain: float, generator: torch.Generator | None
) -> None:
    """Fill ``bias`` in place: U(±1/sqrt(in)) for ``torch``, as in ``nn.Linear``; zero otherwise."""
    if scheme == "torch":
        bias.uniform_(-1 / sqrt(fan_in), 1 / sqrt(fan_in), generator=generator)
        bias.mul_(gain)
    else:
        bias.zero_()


def weight_std(scheme: str, fan_in: int, fan_out: int) -> float:
    """Standard deviation of one weight under `sample_weight` with gain 1."""
    if scheme == "torch":
        return 1 / sqrt(3 * fan_in)
    if scheme == "kaiming":
        return sqrt(2 / fan_in)
    if scheme == "xavier":
        return sqrt(2 / (fan_in + fan_out))
    if scheme == "orthogonal":
        return sqrt(2 / max(fan_in, fan_out))
    return 1 / sqrt(fan_in)
