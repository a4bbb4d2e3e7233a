"""Random numbers of many environments at once, each from a stream of its own, without a word to the host.

A number follows from the environment's seed, the number of its episode and the number's place among those of
the episode, by integer arithmetic alone. So an environment's episodes do not depend on how many others there
are or when those end, are the same on every device, and the whole state is two integers. The mixing function
is that of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

import torch

from hyperrl.errors import ConfigError
from hyperrl.ranges import whole

_STEP = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_SEED = whole(0, 2**53 - 1)


class Draws:
    """The streams of random numbers of n environments.

    Args:
        n_envs: How many.
        device: Where the numbers are drawn.

    Attributes:
        keys: What the seeds became, int64 of shape [n].
        episodes: How many episodes each environment has begun, int64 of shape [n].
    """

    def __init__(self, n_envs: int, device: torch.device) -> None:
        self.keys = torch.zeros(n_envs, dtype=torch.int64, device=device)
        self.episodes = torch.zeros(n_envs, dtype=torch.int64, device=device)
        self.seed([None] * n_envs)

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Begin new streams.

        Args:
            seeds: One for each environment, from 0 to 2^53 - 1; None lets its stream go on, and is drawn by
                chance for the first one.

        Raises:
            ConfigError: There are more or fewer seeds than environments, or one is out of range.
        """
        if len(seeds) != len(self.keys):
            raise ConfigError(
                f"there are {len(seeds)} seeds for {len(self.keys)} environments: give one each"
            )
        given = [seed is not None for seed in seeds]
        chosen = [
            secrets.randbelow(2**53) if seed is None else int(_SEED.check("seed", seed)) for seed in seeds
        ]
        device = self.keys.device
        # No seed has the key 0, which stands for none yet.
        keys = _mixed(torch.tensor(chosen, dtype=torch.int64, device=device) + _STEP)
        begun = torch.tensor(given, device=device) | (self.keys == 0)
        self.keys.copy_(torch.where(begun, keys, self.keys))
        self.episodes.masked_fill_(begun, 0)

    def uniforms(self, count: int) -> torch.Tensor:
        """Return the numbers that the next episode of each environment begins with, see `advance`.

        Args:
            count: How many.

        Returns:
            Float64 of shape [n, count], uniform in [0, 1).
        """
        episodes = _mixed(self.keys + _STEP * (self.episodes + 1))
        places = _STEP * torch.arange(1, count + 1, device=self.keys.device)
        return _shifted(_mixed(episodes[:, None] + places), 11).double() * 2.0**-53

    def advance(self, begun: torch.Tensor) -> None:
        """Note that environments have begun their next episode.

        Args:
            begun: Booleans of shape [n].
        """
        self.episodes.add_(begun)


def normals(uniforms: torch.Tensor) -> torch.Tensor:
    """Return standard normal numbers for uniform ones, of the same shape."""
    # A little away from the ends, where the result would be infinite.
    return math.sqrt(2.0) * torch.erfinv(2.0 * (uniforms * (1.0 - 2.0**-52) + 2.0**-54) - 1.0)


def _mixed(values: torch.Tensor) -> torch.Tensor:
    values = (values ^ _shifted(values, 30)) * _FIRST
    values = (values ^ _shifted(values, 27)) * _SECOND
    return values ^ _shifted(values, 31)


def _shifted(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift right without the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)
