"""Playing episodes with a policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from hyperrl.errors import NonFiniteError


class Predictor(Protocol):
    """Anything that acts as the algorithms and policies of Stable-Baselines3 do."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Return the action for an observation, and the next recurrent state."""
        ...


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        seed: Seed of the environment's reset.
        episode_return: Sum of the rewards, not discounted.
        length: Number of steps.
        terminated: Whether it ended by itself; otherwise the time limit ended it.
    """

    seed: int
    episode_return: float
    length: int
    terminated: bool


def _nothing() -> None:
    pass


def play_episode(
    policy: Predictor,
    env: gym.Env[Any, Any],
    seed: int,
    *,
    deterministic: bool = True,
    before_step: Callable[[], None] = _nothing,
) -> Episode:
    """Play one episode from a seeded reset to its end.

    Args:
        policy: What acts.
        env: The environment; it must end its episodes.
        seed: Seed of the reset.
        deterministic: Whether the policy acts without exploration.
        before_step: Called before each step; what it raises ends the episode.

    Raises:
        NonFiniteError: The policy gave an action, or the environment a reward, that is NaN or infinite.
    """
    observation, _ = env.reset(seed=seed)
    state: Any = None
    start = np.ones(1, dtype=bool)
    total, length = 0.0, 0
    while True:
        before_step()
        action, state = policy.predict(observation, state, start, deterministic)
        if not np.isfinite(action).all():
            raise NonFiniteError(
                f"the policy's action at step {length} of the episode with seed {seed} is not finite"
            )
        observation, reward, terminated, truncated, _ = env.step(action)
        if not math.isfinite(reward):
            raise NonFiniteError(f"the reward at step {length} of the episode with seed {seed} is not finite")
        start[0] = False
        total += float(reward)
        length += 1
        if terminated or truncated:
            return Episode(seed, total, length, bool(terminated))


def play_episodes(
    policy: Predictor,
    env: gym.Env[Any, Any],
    seeds: Iterable[int],
    *,
    deterministic: bool = True,
    before_step: Callable[[], None] = _nothing,
) -> list[Episode]:
    """Play one episode for each seed, see `play_episode`.

    Args:
        policy: What acts.
        env: The environment.
        seeds: Seeds of the resets.
        deterministic: Whether the policy acts without exploration.
        before_step: Called before each step; what it raises ends the episodes.
    """
    return [
        play_episode(policy, env, seed, deterministic=deterministic, before_step=before_step)
        for seed in seeds
    ]
