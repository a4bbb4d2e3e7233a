"""Playing the evaluation episodes of several seeds at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from hyperrl.evaluation.rollout import Predictor
from hyperrl.sb3.seeds import seed_environments


def play_stacked(
    policy: Predictor, env: VecEnv, seeds: Sequence[Sequence[int]], before_step: Callable[[], None]
) -> list[list[float]]:
    """Play episodes of all seeds side by side, each policy deterministic.

    Args:
        policy: Acts for observations ``[S E, O]``, those of the first seed first.
        env: ``S E`` environments whose infos have the "episode" of a `Monitor`.
        seeds: For each of the S seeds, the seeds of its E environments' resets.
        before_step: Called before each step; what it raises ends the evaluation.

    Returns:
        For each seed the returns of its episodes, in the order of `seeds`.

    Raises:
        NonFiniteError: A policy gave an action that is NaN or infinite.
    """
    flat = [seed for each in seeds for seed in each]
    seed_environments(env, flat)
    observations: Any = env.reset()
    returns: list[float | None] = [None] * len(flat)
    while any(value is None for value in returns):
        before_step()
        actions, _ = policy.predict(observations, deterministic=True)
        observations, _, dones, infos = env.step(actions)
        for index in np.flatnonzero(dones):
            # Environments go on with new episodes until the last one is at its end.
            if returns[index] is None:
                returns[index] = float(infos[index]["episode"]["r"])
    played = iter(returns)
    return [[float(next(played) or 0.0) for _ in each] for each in seeds]
