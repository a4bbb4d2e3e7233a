"""An environment with contexts under test, and the episodes that its checks compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hyperrl.context import Region
from hyperrl_envs.contextual.base import ContextualEnv

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Episode:
    """What an episode showed.

    Attributes:
        observations: The task's own part of the observations, shape [steps + 1, S].
        rewards: Shape [steps].
        ended: Whether the task ended it.
    """

    observations: NDArray[np.float32]
    rewards: Array
    ended: bool

    def is_equal(self, other: Episode) -> bool:
        """Return whether two episodes are the same, bit for bit."""
        same = self.ended == other.ended and np.array_equal(self.rewards, other.rewards)
        return bool(same and np.array_equal(self.observations, other.observations))


@dataclass(frozen=True)
class ContextCase:
    """What the checks get.

    Attributes:
        env: The environment with all of its layers.
        layer: The one with the contexts.
        reference: The task without contexts, where there is one.
        seed: Of episodes, actions and contexts.
        given: Actions to be repeated in place of random ones, shape [k, nu].
    """

    env: gym.Env[Any, Any]
    layer: ContextualEnv
    reference: gym.Env[Any, Any] | None
    seed: int
    given: NDArray[Any] | None = None

    def contexts(self, n: int) -> Array:
        """Return contexts from all that there are, shape [n, d], always the same."""
        return Region.whole(self.layer.context_space).lhs(np.random.default_rng(self.seed), n)

    def actions(self, steps: int) -> NDArray[np.float32]:
        """Return actions, shape [steps, nu], always the same: random ones where none are given."""
        space: Any = self.env.action_space
        if self.given is not None:
            return self.given[np.arange(steps) % len(self.given)].astype(space.dtype)
        generator = np.random.default_rng(self.seed)
        return generator.uniform(space.low, space.high, (steps, *space.shape)).astype(space.dtype)

    def episode(self, context: Any, steps: int = 12) -> Episode:
        """Return an episode in a context, with this case's seed."""
        observation, _ = self.env.reset(seed=self.seed, options={"context": context})
        return self._run(self.env, self.layer.observer.split(observation), steps)

    def published(self, steps: int = 12) -> Episode:
        """Return an episode of the task without contexts, with observations in the same precision."""
        assert self.reference is not None
        observation, _ = self.reference.reset(seed=self.seed)
        return self._run(self.reference, observation, steps)

    def sampled(self, resets: int, seed: int | None = None) -> list[Array]:
        """Return the contexts of some resets, the first of them with a seed."""
        found = []
        for index in range(resets):
            _, info = self.env.reset(seed=(self.seed if seed is None else seed) if index == 0 else None)
            found.append(np.array(info["context"]))
        return found

    def _run(self, env: gym.Env[Any, Any], first: Any, steps: int) -> Episode:
        observations, rewards, ended = [np.asarray(first, np.float32)], [], False
        for action in self.actions(steps):
            observation, reward, ended, truncated, _ = env.step(action)
            own = observation if env is self.reference else self.layer.observer.split(observation)
            observations.append(np.asarray(own, np.float32))
            rewards.append(float(reward))
            if ended or truncated:
                break
        return Episode(np.stack(observations), np.array(rewards), bool(ended))
