"""The part of `check_agent` on NaN and infinity: they stop learning, and nobody is told to act on them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env

from hyperrl.errors import NonFiniteError, PluginError
from hyperrl.registry import agents
from hyperrl.run.health import HealthCallback
from hyperrl.testing.agent_subject import Subject, draw_observations, refuses, require


def is_registered(agent_class: type[BaseAlgorithm]) -> bool:
    """Return whether a class can be chosen by a name on the command line.

    Args:
        agent_class: The class.
    """
    for name in agents.names():
        # Another package's agent that cannot be imported is not this one.
        with contextlib.suppress(PluginError):
            if agents.get(name) is agent_class:
                return True
    return False


def check_finite_predict(subject: Subject, model: BaseAlgorithm) -> None:
    """Require that `predict` refuses NaN and infinity; does nothing where observations cannot hold them.

    Args:
        subject: What is checked.
        model: An agent of it.

    Raises:
        AgentCheckError: It gives an action, or fails otherwise than with NonFiniteError.
    """
    for value in (np.nan, np.inf, -np.inf):
        for count in (1, 4):
            batch = _spoilt(draw_observations(model, count), model.observation_space, value)
            if batch is not None:
                refuses(
                    partial(model.predict, batch, deterministic=True),
                    (NonFiniteError,),
                    f"{subject.name}.predict takes an observation of {value}",
                )


def check_health(subject: Subject) -> None:
    """Require that `HealthCallback` can stop learning within one update after the environment gave NaN.

    Observations are left out where they cannot hold NaN, such as images.

    Args:
        subject: What is checked.

    Raises:
        AgentCheckError: Learning goes on, or fails otherwise than with NonFiniteError.
    """
    for source in ("reward", "observation"):
        env = _FaultyEnv(subject.build_env(), source, 3 * subject.steps // 4)
        if source == "reward" or _can_hold_nan(env.observation_space):
            _check_source(subject, source, env)
        env.close()


def _check_source(subject: Subject, source: str, env: _FaultyEnv) -> None:
    model: Any = subject.build(env=make_vec_env(lambda: env, n_envs=1, seed=0))
    counter = _UpdateCounter(model.train, env)
    model.train = counter
    refuses(
        partial(model.learn, 2 * subject.steps, callback=HealthCallback()),
        (NonFiniteError,),
        f"{subject.name} goes on learning after its environment gave a NaN {source}: HealthCallback cannot "
        "stop it",
    )
    require(
        counter.after_fault <= 1,
        f"{subject.name} makes {counter.after_fault} updates after its environment gave a NaN {source} until "
        "HealthCallback can stop it: callbacks belong in every step, before anything is stored",
    )


class _FaultyEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Gives NaN once, as the reward or in the observation of the n-th step."""

    def __init__(self, env: gym.Env[Any, Any], source: str, at: int) -> None:
        super().__init__(env)
        self._source, self._at, self._steps = source, at, 0
        self.has_failed = False

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        if self._steps == self._at:
            self.has_failed = True
            if self._source == "reward":
                reward = np.nan
            else:
                observation = _spoilt(observation, self.observation_space, np.nan)
        return observation, reward, terminated, truncated, info


class _UpdateCounter:
    """Stands in for an agent's `train` and counts its calls after the fault."""

    def __init__(self, train: Callable[..., None], env: _FaultyEnv) -> None:
        self._train, self._env = train, env
        self.after_fault = 0

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self.after_fault += self._env.has_failed
        self._train(*args, **kwargs)


def _can_hold_nan(space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict):
        return any(_can_hold_nan(part) for part in space.values())
    return isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)


def _spoilt(observations: Any, space: spaces.Space[Any], value: float) -> Any:
    """Return a copy of an observation, or of a batch, whose last number is another; None if none can be."""
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            if _can_hold_nan(part):
                return {**observations, key: _spoilt(observations[key], part, value)}
        return None
    if not _can_hold_nan(space):
        return None
    copied: NDArray[Any] = np.array(observations)
    copied.reshape(-1)[-1] = value
    return copied
