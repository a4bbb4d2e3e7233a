"""Environments side by side, each of which begins the episode that it is given, in any context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from hyperrl.context import Splits
from hyperrl.context.space import Array
from hyperrl.environments import is_native, make_env, make_vec_env
from hyperrl.errors import ContextError
from hyperrl.evaluation.zero_shot.view import ContextView, Observations


@dataclass(frozen=True)
class Ended:
    """How an episode came out.

    Attributes:
        episode_return: Sum of the rewards, rounded to six digits as `Monitor` does.
        length: Number of steps.
        terminated: Whether it ended by itself; otherwise the time limit ended it.
        success: Whether the environment called it a success; None where it says nothing of that.
    """

    episode_return: float
    length: int
    terminated: bool
    success: bool | None


class Lanes(Protocol):
    """Environments of one kind, stepped together."""

    count: int
    action_space: spaces.Box

    def begin(self, lanes: Sequence[int], seeds: Sequence[int], contexts: Array) -> Observations:
        """Begin episodes in some lanes, and return the first observation of each.

        Args:
            lanes: Numbers of the lanes.
            seeds: Seed of each reset.
            contexts: Context of each, shape [len(lanes), d].
        """
        ...

    def step(
        self, actions: NDArray[Any], playing: Sequence[int]
    ) -> tuple[Observations, NDArray[np.float64], dict[int, Ended]]:
        """Step the lanes that play.

        Args:
            actions: One for each lane [count, A].
            playing: Numbers of the lanes whose results are wanted.

        Returns:
            Observations and rewards of all lanes, which mean nothing where nothing plays; where an episode
            ended it is its last observation; and how the episodes that ended came out, by lane.
        """
        ...

    def close(self) -> None:
        """Free what the environments hold."""
        ...


class NativeLanes:
    """Lanes of a vectorised environment with a `begin` of its own, all simulated together.

    Args:
        env: The environment.
    """

    def __init__(self, env: VecEnv) -> None:
        self._env: Any = env
        self.count = env.num_envs
        self.action_space = _actions(env.action_space)

    def begin(self, lanes: Sequence[int], seeds: Sequence[int], contexts: Array) -> Observations:
        """Begin episodes, see `Lanes`."""
        observations: Observations = self._env.begin(list(lanes), list(seeds), contexts)
        return observations

    def step(
        self, actions: NDArray[Any], playing: Sequence[int]
    ) -> tuple[Observations, NDArray[np.float64], dict[int, Ended]]:
        """Step all lanes; what does not play is stepped, too, as they are simulated together."""
        observations, rewards, dones, infos = self._env.step(actions)
        ended = {lane: _ended(infos[lane]) for lane in playing if dones[lane]}
        if ended:
            observations = rows_of(observations, range(self.count))
        for lane in ended:
            # The environment has begun another episode by itself.
            assign(observations, lane, infos[lane]["terminal_observation"])
        return observations, rewards, ended

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


class SingleLanes:
    """Lanes of Gymnasium's environments, stepped one after the other.

    Args:
        env_id: A registered id.
        env_kwargs: Keyword arguments of the environment.
        count: How many.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any], count: int) -> None:
        self._envs = [Monitor(make_env(env_id, env_kwargs)) for _ in range(count)]
        self.count = count
        self.action_space = _actions(self._envs[0].action_space)
        space = self._envs[0].observation_space
        self._observations = _zeros(space, count)

    def begin(self, lanes: Sequence[int], seeds: Sequence[int], contexts: Array) -> Observations:
        """Begin episodes, see `Lanes`."""
        for lane, seed, context in zip(lanes, seeds, contexts, strict=True):
            envs = self._envs[lane]
            names = envs.get_wrapper_attr("context_space").names
            told = {"context": dict(zip(names, np.asarray(context, np.float64).tolist(), strict=True))}
            assign(self._observations, lane, envs.reset(seed=int(seed), options=told)[0])
        return rows_of(self._observations, list(lanes))

    def step(
        self, actions: NDArray[Any], playing: Sequence[int]
    ) -> tuple[Observations, NDArray[np.float64], dict[int, Ended]]:
        """Step the lanes that play."""
        rewards = np.zeros(self.count)
        ended = {}
        for lane in playing:
            observation, reward, terminated, truncated, info = self._envs[lane].step(actions[lane])
            assign(self._observations, lane, observation)
            rewards[lane] = reward
            if terminated or truncated:
                ended[lane] = _ended({**info, "TimeLimit.truncated": not terminated})
        return rows_of(self._observations, list(range(self.count))), rewards, ended

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()


def make_lanes(env_id: str, env_kwargs: Mapping[str, Any], count: int, *, native: bool = True) -> Lanes:
    """Build lanes, simulated together where that is possible.

    Args:
        env_id: A registered id of an environment with contexts.
        env_kwargs: Keyword arguments of the environment.
        count: How many lanes.
        native: Whether they may be simulated together.
    """
    if native and is_native(env_id, env_kwargs):
        env = make_vec_env(env_id, env_kwargs, count, 0, native=True)
        if hasattr(env, "begin"):
            return NativeLanes(env)
        env.close()
    return SingleLanes(env_id, env_kwargs, count)


def contexts_of(env_id: str, env_kwargs: Mapping[str, Any]) -> tuple[Splits, ContextView]:
    """Return the contexts of an environment, and how its observations hold them.

    Args:
        env_id: A registered id.
        env_kwargs: Keyword arguments of the environment.

    Raises:
        ContextError: The environment has no contexts.
    """
    env = make_env(env_id, env_kwargs)
    try:
        if not env.has_wrapper_attr("splits"):
            raise ContextError(
                f"{env_id} has no contexts, so there is no split to evaluate: leave --split out, or give a "
                "run of an environment such as hyperrl/ContextualHopper-v0"
            )
        splits: Splits = env.get_wrapper_attr("splits")
        names = ("context_mode", "append", "units")
        return splits, ContextView(splits.space, *(str(env.get_wrapper_attr(name)) for name in names))
    finally:
        env.close()


def rows_of(observations: Observations, rows: Sequence[int] | NDArray[np.int64]) -> Observations:
    """Return a copy of some rows of a batch of observations."""
    chosen = np.asarray(rows, np.int64)
    if isinstance(observations, dict):
        return {name: values[chosen] for name, values in observations.items()}
    return observations[chosen]


def assign(observations: Observations, rows: Any, values: Any) -> None:
    """Put observations in place of rows of a batch.

    Args:
        observations: The batch.
        rows: A number, or a list of them.
        values: One observation, or as many as there are rows.
    """
    if isinstance(observations, dict):
        for name, column in observations.items():
            column[rows] = values[name]
    else:
        observations[rows] = values


def _zeros(space: spaces.Space[Any], count: int) -> Observations:
    if isinstance(space, spaces.Dict):
        return {name: np.zeros((count, *_shape(own)), own.dtype) for name, own in space.items()}
    return np.zeros((count, *_shape(space)), space.dtype)


def _shape(space: spaces.Space[Any]) -> tuple[int, ...]:
    return tuple(space.shape or ())


def _actions(space: spaces.Space[Any]) -> spaces.Box:
    if not isinstance(space, spaces.Box):
        raise ContextError(f"a zero-shot evaluation needs a Box of actions, got {space}")
    return space


def _ended(info: Mapping[str, Any]) -> Ended:
    episode, success = info["episode"], info.get("is_success")
    return Ended(
        float(episode["r"]),
        int(episode["l"]),
        not info["TimeLimit.truncated"],
        None if success is None else bool(success),
    )
