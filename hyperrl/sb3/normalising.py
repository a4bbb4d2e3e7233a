"""Observations and rewards normalised by running statistics, as a run's settings ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from hyperrl.errors import ConfigError, ContextError
from hyperrl.sb3.contexts.observed import KEY, Observed
from hyperrl.sb3.meta.trials import trials_of


def normalised(env: VecEnv, settings: bool | Mapping[str, Any], gamma: float = 0.99) -> VecEnv:
    """Put Stable-Baselines3's `VecNormalize` around environments, if that is wanted.

    Args:
        env: The environments.
        settings: False for none, True for Stable-Baselines3's own settings, or keyword arguments of
            `VecNormalize`.
        gamma: Discount of the returns by whose spread rewards are divided.

    Returns:
        The environments; a context in their observations stays as it is.

    Raises:
        ConfigError: The context is to be normalised.
    """
    if settings is False:
        return env
    keywords = {} if settings is True else dict(settings)
    context = Observed.of_env(env).size
    if not context:
        return VecNormalize(env, gamma=gamma, **keywords)
    if not isinstance(env.observation_space, spaces.Dict):
        return ContextVecNormalize(env, context, gamma=gamma, **keywords)
    others = [key for key in env.observation_space.spaces if key != KEY]
    keys = keywords.setdefault("norm_obs_keys", others)
    if KEY in keys:
        raise ConfigError(
            f"normalize.norm_obs_keys must leave the {KEY} as it is, whose numbers have a meaning, got "
            f"{', '.join(keys)}"
        )
    return VecNormalize(env, gamma=gamma, **keywords)


class ContextVecNormalize(VecNormalize):
    """Stable-Baselines3's `VecNormalize` that leaves the last numbers of an observation as they are.

    A context is normalised by the ranges of its task; statistics that change while an agent learns would
    change what its numbers mean, and with it all that is generated from them.

    Args:
        venv: The environments; observations are vectors.
        context_size: Numbers of the context d.
        keywords: Further arguments of `VecNormalize`.
    """

    def __init__(self, venv: VecEnv, context_size: int, **keywords: Any) -> None:
        super().__init__(venv, **keywords)
        self.context_size = context_size

    def _normalize_obs(self, obs: NDArray[Any], obs_rms: RunningMeanStd) -> NDArray[Any]:
        normalised = super()._normalize_obs(obs, obs_rms)
        normalised[..., -self.context_size :] = obs[..., -self.context_size :]
        return normalised

    def _unnormalize_obs(self, obs: NDArray[Any], obs_rms: RunningMeanStd) -> NDArray[Any]:
        raw = super()._unnormalize_obs(obs, obs_rms)
        raw[..., -self.context_size :] = obs[..., -self.context_size :]
        return raw


def check_context_stays(env: VecEnv, context_size: int) -> None:
    """Refuse a `VecNormalize` that normalises the context.

    Args:
        env: The environments.
        context_size: Numbers of the context d in their observations; 0 for none.

    Raises:
        ContextError: It does.
    """
    wrapper = unwrap_vec_normalize(env)
    if wrapper is None or not wrapper.norm_obs or not context_size:
        return
    if isinstance(wrapper.observation_space, spaces.Dict):
        if KEY in (wrapper.norm_obs_keys or ()):
            raise ContextError(
                "VecNormalize would change what the numbers of the context mean: give it norm_obs_keys "
                f"without {KEY!r}"
            )
    elif not isinstance(wrapper, ContextVecNormalize) or wrapper.context_size != context_size:
        raise ContextError(
            "VecNormalize would change what the numbers of the context mean, the last of an observation: "
            f"use hyperrl.sb3.normalising.ContextVecNormalize(env, {context_size})"
        )


class OnRawObservations:
    """Acts for observations as an environment gives them, though the agent was trained on normalised ones.

    Args:
        agent: The agent, with or without a `VecNormalize`.
        condition: Further arguments of its `predict`, the ``architecture`` of HyperPPO for one.
    """

    def __init__(self, agent: BaseAlgorithm, **condition: Any) -> None:
        self._agent = agent
        self._condition = condition
        normaliser, trials = agent.get_vec_normalize_env(), trials_of(agent.get_env())
        # Above a `VecNormalize`, trials know which part of an observation it has normalised.
        above = trials is not None and unwrap_vec_normalize(trials.venv) is not None
        self._normalise: Callable[[Any], Any] | None = (
            None if normaliser is None else normaliser.normalize_obs
        )
        if above and trials is not None:
            self._normalise = trials.normalize

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
        return self._agent.predict(
            self.normalised(observation), state, episode_start, deterministic, **self._condition
        )

    def normalised(self, observation: Any) -> Any:
        """Return observations as the agent was trained on them.

        Args:
            observation: One observation or a batch, not normalised.
        """
        return observation if self._normalise is None else self._normalise(observation)
