"""Making the quadrotor known to Gymnasium."""

from __future__ import annotations

import gymnasium as gym

from hyperrl_envs.quadrotor.ids import QUADROTOR

EPISODE_STEPS = 500  # Five seconds.


def register_quadrotor() -> None:
    """Make the quadrotor known to `gymnasium.make`; doing it again changes nothing."""
    if QUADROTOR not in gym.registry:
        gym.register(
            QUADROTOR,
            entry_point="hyperrl_envs.quadrotor.env:QuadrotorEnv",
            max_episode_steps=EPISODE_STEPS,
        )
