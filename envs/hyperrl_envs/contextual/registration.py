"""Making the contextual tasks known to Gymnasium."""

from __future__ import annotations

import gymnasium as gym

from hyperrl_envs.contextual.ids import CONTEXTUAL


def register_contextual() -> None:
    """Make the contextual tasks known to `gymnasium.make`; doing it again changes nothing."""
    for env_id, (place, steps) in CONTEXTUAL.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=f"hyperrl_envs.contextual.{place}",
                max_episode_steps=steps,
            )
