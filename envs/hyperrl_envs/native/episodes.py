"""Episodes of environments that are stepped together, whatever simulates them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hyperrl.errors import ConfigError, ShapeError
from hyperrl_envs.native.env import CallOrderError
from hyperrl_envs.native.task import Array, Outcome
from hyperrl_envs.saved_state import capture_plain, restore_plain


@dataclass(frozen=True)
class Ended:
    """An episode that a step ended.

    Attributes:
        observation: The last one of the episode, shape [observation size].
        episode_return: Sum of its rewards.
        length: Number of its steps.
        reset_info: What Gymnasium's `info` holds after the reset that followed.
    """

    observation: Array
    episode_return: float
    length: int
    reset_info: dict[str, Any]


class Step(NamedTuple):
    """What a step of n environments returns; all arrays are new.

    Attributes:
        observations: Float64 of shape [n, observation size]; of the new episode where one ended.
        rewards: Float64 of shape [n].
        done: Booleans of shape [n]: one of the following.
        terminated: Booleans of shape [n]: the task ended the episode.
        truncated: Booleans of shape [n]: the limit of steps is reached.
        terms: What Gymnasium's `info` holds, by name: arrays of shape [n] or [n, k].
        ended: The episodes that ended, by the environment's number.
    """

    observations: Array
    rewards: Array
    done: NDArray[np.bool_]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    terms: dict[str, NDArray[Any]]
    ended: dict[int, Ended]


class Episodes(ABC):
    """Several environments whose episodes go side by side.

    Args:
        count: How many.
        action_space: Of one environment.
        max_episode_steps: Steps after which an episode is truncated, None for no limit.

    Attributes:
        envs: The environments one by one, which subclasses build.
        action_space: As given.
        observation_space: Of one environment, float64.
    """

    envs: Sequence[Any]

    def __init__(self, count: int, action_space: Any, max_episode_steps: int | None) -> None:
        # Boxes, which Gymnasium's types do not tell from other spaces.
        self.action_space: Any = action_space
        # Subclasses know its size only when they have environments.
        self.observation_space: Any = spaces.Box(-np.inf, np.inf, (0,), np.float64)
        self._actions_shape = (count, *action_space.shape)
        self._limit = np.iinfo(np.int64).max if max_episode_steps is None else max_episode_steps
        self._lengths = np.zeros(count, np.int64)
        self._returns = np.zeros(count)
        self._waiting = set(range(count))  # For their first reset.

    def reset(
        self, seeds: Sequence[int | None], indices: Sequence[int] | None = None
    ) -> tuple[Array, list[dict[str, Any]]]:
        """Begin new episodes.

        Args:
            seeds: A seed for each environment that is reset; None lets its generator go on.
            indices: Which environments; all by default.

        Returns:
            The observations, shape [len(seeds), observation size], and the infos.
        """
        chosen = range(len(self.envs)) if indices is None else indices
        begun = [self._begin(index, seed) for index, seed in zip(chosen, seeds, strict=True)]
        self.refresh()
        return np.stack([observation for observation, _ in begun]), [info for _, info in begun]

    def check_actions(self, actions: Any) -> NDArray[Any]:
        """Return actions as a contiguous array of shape [n, nu], in their own precision.

        Raises:
            ShapeError: The shape is another.
        """
        array = np.ascontiguousarray(actions)
        if array.shape != self._actions_shape:
            raise ShapeError(f"step needs actions of shape {self._actions_shape}, got {array.shape}")
        return array

    def step(self, actions: NDArray[Any]) -> Step:
        """Step all environments once, and begin a new episode where one ends.

        Args:
            actions: What `check_actions` returned.

        Raises:
            CallOrderError: An environment was never reset.
        """
        if self._waiting:
            raise CallOrderError("step was called before reset: call reset first")
        observations, (rewards, terminated, terms) = self._advance(actions)
        self._lengths += 1
        self._returns += rewards
        truncated = self._lengths >= self._limit
        done = terminated | truncated
        ended = {index: self._end(index, observations) for index in done.nonzero()[0].tolist()}
        if ended:
            self.refresh()
        return Step(observations, rewards, done, terminated, truncated, terms, ended)

    def refresh(self) -> None:
        """Read the environments again, after a change of them; nothing by default."""
        return None

    def capture(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the states of environments between two steps, as plain data.

        Args:
            indices: Which environments.

        Raises:
            UnsupportedEnvError: A MuJoCo plugin keeps memory of its own.
        """
        return [capture_plain(self.envs[index]) for index in indices]

    def restore(self, states: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> None:
        """Bring environments to states that `capture` returned, from which they continue bit for bit.

        Args:
            states: One for each of the environments.
            indices: Which environments.

        Raises:
            ConfigError: There are more or fewer states.
            UnsupportedEnvError: A state is of another task, model or MuJoCo.
        """
        if len(states) != len(indices):
            raise ConfigError(
                f"there are {len(states)} states for {len(indices)} environments: give one each"
            )
        for state, index in zip(states, indices, strict=True):
            restore_plain(self.envs[index], state)
        self.refresh()

    def episode(self, index: int) -> list[Any]:
        """Return whether an episode of an environment has begun, its steps and its return so far."""
        return [index not in self._waiting, int(self._lengths[index]), float(self._returns[index])]

    def set_episode(self, index: int, episode: Sequence[Any]) -> None:
        """Go back to what `episode` returned."""
        begun, self._lengths[index], self._returns[index] = episode
        (self._waiting.discard if begun else self._waiting.add)(index)

    def close(self) -> None:
        """Free what the environments hold."""
        for env in self.envs:
            env.close()

    @abstractmethod
    def _advance(self, actions: NDArray[Any]) -> tuple[Array, Outcome]:
        """Advance all environments one step.

        Args:
            actions: Shape [n, nu].

        Returns:
            New observations of shape [n, observation size], and what the step leads to.
        """

    @abstractmethod
    def _begin(self, index: int, seed: int | None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode of one environment.

        Args:
            index: Its number.
            seed: Seeds it; None lets its generator go on.

        Returns:
            The observation of shape [observation size], and the info.
        """

    def _end(self, index: int, observations: Array) -> Ended:
        last = observations[index].copy()
        _, length, episode_return = self.episode(index)
        observations[index], reset_info = self._begin(index, None)
        return Ended(last, episode_return, length, reset_info)
