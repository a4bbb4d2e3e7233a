"""Observations and rewards normalised by running statistics, as a run's settings ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize


def normalised(env: VecEnv, settings: bool | Mapping[str, Any], gamma: float = 0.99) -> VecEnv:
    """Put Stable-Baselines3's `VecNormalize` around environments, if that is wanted.

    Args:
        env: The environments.
        settings: False for none, True for Stable-Baselines3's own settings, or keyword arguments of
            `VecNormalize`.
        gamma: Discount of the returns by whose spread rewards are divided.
    """
    if settings is False:
        return env
    keywords = {} if settings is True else dict(settings)
    return VecNormalize(env, gamma=gamma, **keywords)


class OnRawObservations:
    """Acts for observations as an environment gives them, though the agent was trained on normalised ones.

    Args:
        agent: The agent, with or without a `VecNormalize`.
        condition: Further arguments of its `predict`, the ``architecture`` of HyperPPO for one.
    """

    def __init__(self, agent: BaseAlgorithm, **condition: Any) -> None:
        self._agent = agent
        self._condition = condition
        self._normaliser: VecNormalize | None = agent.get_vec_normalize_env()

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Give the action for an observation, see `BaseAlgorithm.predict`.

        Args:
            observation: One observation or a batch, not normalised.
            state: Passed on.
            episode_start: Passed on.
            deterministic: Passed on.
        """
        if self._normaliser is not None:
            observation = self._normaliser.normalize_obs(observation)
        return self._agent.predict(observation, state, episode_start, deterministic, **self._condition)
