"""Widths with which networks of different kinds have the same number of parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from hyperrl.errors import ConfigError

_WIDEST = 1 << 16


@dataclass(frozen=True)
class Match:
    """A width, and the number of trainable parameters that it gives.

    Attributes:
        width: The width.
        n_params: The number of parameters.
    """

    width: int
    n_params: int


def count_params(network: nn.Module) -> int:
    """Return the number of trainable parameters.

    Args:
        network: Any module.
    """
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def match_width(build: Callable[[int], nn.Module | int], n_params: int) -> Match:
    """Find the width with which a network has nearest to so many parameters.

    Args:
        build: Builds the network of a width, or counts its parameters; more width must not mean fewer of
            them. What it draws leaves torch's generator where it was.
        n_params: The wanted number.

    Raises:
        ConfigError: The number is not positive, or the narrowest network is more than twice as large.

    Example:
        >>> from hyperrl.nets import TargetSpec
        >>> match_width(lambda width: TargetSpec.mlp(18, (width, width), 6).numel, 10_000)
        Match(width=88, n_params=10038)
    """
    if isinstance(n_params, bool) or not isinstance(n_params, int) or n_params < 1:
        raise ConfigError(f"the number of parameters to match must be a positive integer, got {n_params!r}")
    known: dict[int, int] = {}

    def count(width: int) -> int:
        if width not in known:
            with torch.random.fork_rng(devices=[]):
                built = build(width)
            known[width] = built if isinstance(built, int) else count_params(built)
        return known[width]

    low, high = 1, 2
    if count(low) > 2 * n_params:
        raise ConfigError(
            f"no width gives about {n_params:,} parameters: the narrowest network has {count(low):,} already"
        )
    while count(high) < n_params:
        if high >= _WIDEST:
            raise ConfigError(f"no width up to {_WIDEST:,} gives {n_params:,} parameters")
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if count(middle) < n_params:
            low = middle
        else:
            high = middle
    width = min((low, high), key=lambda width: abs(count(width) - n_params))
    return Match(width, count(width))
