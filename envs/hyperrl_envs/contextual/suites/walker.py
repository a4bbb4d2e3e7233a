"""The walker of HyperZero, `hyperrl/WalkerWalk-v0`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.contextual.families.envs import WalkerWalkEnv
from hyperrl_envs.contextual.families.suite import family, length_param, speed_param
from hyperrl_envs.contextual.families.walker import WalkerWalk, set_length, walking_reward
from hyperrl_envs.contextual.rewards import Array, Reward, Terms


def _walking(terms: Terms, rewards: Array, values: Array, actions: NDArray[Any], dt: Array) -> Array:
    """Reward standing and the speed that is asked for, see `walking_reward`."""
    stand, speeds = (np.asarray(terms[name], np.float64) for name in ("stand", "speed"))
    return walking_reward(stand, speeds, values[:, 0])


SUITE = family(
    "hyperrl/WalkerWalk-v0",
    WalkerWalkEnv,
    speed_param(5.0, 0.25, WalkerWalk.target, "m/s", "target speed; backwards where negative"),
    length_param(0.1, 0.5, 0.3, "half the length of the torso, whose mass grows with it"),
    set_length,
    Reward(_walking, {"target": WalkerWalk.target}, ("stand", "speed")),
)
"""40 speeds from -5 to 5 m/s without 0, and lengths from 0.1 to 0.5 m."""
