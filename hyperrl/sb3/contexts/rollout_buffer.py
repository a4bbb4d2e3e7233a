"""A rollout buffer that keeps dicts of vectors as features, the context in the last columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from hyperrl.sb3.contexts.extractor import ordered_keys


class FeatureRolloutBuffer(RolloutBuffer):
    """Stable-Baselines3's `RolloutBuffer` for observations that are dicts, as one array ``[T, N, S + d]``.

    Takes the arguments of `RolloutBuffer`.
    """

    def __init__(
        self, buffer_size: int, observation_space: spaces.Space[Any], *args: Any, **kwargs: Any
    ) -> None:
        if isinstance(observation_space, spaces.Dict):
            parts = [observation_space.spaces[key] for key in ordered_keys(observation_space)]
            size = sum(spaces.flatdim(part) for part in parts)
            observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        super().__init__(buffer_size, observation_space, *args, **kwargs)
