"""Features of observations, the context in the last columns."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.type_aliases import TensorDict
from torch import Tensor

from hyperrl.sb3.contexts.observed import KEY


class ContextExtractor(CombinedExtractor):
    """Stable-Baselines3's `CombinedExtractor` with the context behind all other parts.

    Gymnasium sorts the keys of a dict, so that the context would come first.
    """

    def __init__(self, observation_space: spaces.Dict, **kwargs: object) -> None:
        super().__init__(observation_space, **kwargs)  # type: ignore[arg-type]
        self.keys = ordered_keys(observation_space)

    def forward(self, observations: TensorDict) -> Tensor:
        """Return features ``[B, S + d]``."""
        return torch.cat([self.extractors[key](observations[key]) for key in self.keys], dim=1)


def ordered_keys(space: spaces.Dict) -> list[str]:
    """Return the keys of an observation in the order of its features.

    Args:
        space: The observation space.
    """
    return [*(key for key in space.spaces if key != KEY), *(key for key in space.spaces if key == KEY)]


def flat_observations(observation: dict[str, NDArray[np.float32]], keys: list[str]) -> NDArray[np.float32]:
    """Return vectors of a batch of dicts side by side, ``[B, S + d]``.

    Args:
        observation: Arrays ``[B, ...]``.
        keys: Their order.
    """
    parts = [observation[key] for key in keys]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1, dtype=np.float32)
