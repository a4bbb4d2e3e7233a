"""The variants of Gymnasium's tasks that exist because MuJoCo Warp cannot simulate the originals."""

from __future__ import annotations

import gymnasium as gym

from hyperrl_envs.warp.ids import HUMANOID_NEWTON


def register_variants() -> None:
    """Make the variants known to `gymnasium.make`; doing it again changes nothing."""
    if HUMANOID_NEWTON not in gym.registry:
        gym.register(
            HUMANOID_NEWTON,
            entry_point="hyperrl_envs.warp.humanoid_newton:HumanoidNewtonEnv",
            max_episode_steps=1000,
        )
