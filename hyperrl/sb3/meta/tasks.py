"""The tasks that a meta-learner is trained on: contexts of its environments, chosen by the learner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from hyperrl.context import ContextSpace, Splits
from hyperrl.context.space import Array
from hyperrl.errors import ConfigError, ContextError, ShapeError, UnsupportedEnvError
from hyperrl.sb3.contexts.observed import attribute


@dataclass(frozen=True)
class Tasks:
    """The tasks of environments: what a learner draws from and gives to its environments.

    Attributes:
        splits: Those of training and of tests, as the environments declare them.
        generator: What tasks are drawn with, apart from all else that is drawn.
    """

    splits: Splits
    generator: np.random.Generator

    @classmethod
    def of_env(cls, env: VecEnv, name: str, seed: int | None = None) -> Tasks:
        """Ask environments for their tasks.

        Args:
            env: The environments, of `hyperrl_envs.contextual`.
            name: What messages call the learner.
            seed: Of the generator.

        Raises:
            UnsupportedEnvError: They have no contexts, or none that can be chosen.
            ContextError: Not all have the same tasks, or training has one task only.
        """
        found = attribute(env, "splits")
        if not isinstance(found, Splits):
            raise UnsupportedEnvError(
                f"{name} learns from many tasks, and these environments have no contexts: take one of "
                "hyperrl list contexts"
            )
        # Environments that are stepped together share one object.
        distinct = {id(other): other for other in env.get_attr("splits")}
        if len(distinct) > 1 and len({other.text() for other in distinct.values()}) > 1:
            raise ContextError(f"{name} needs environments with the same tasks, and these have others each")
        if found.points is not None and len(found.points) < 2:
            raise ContextError(
                f"{name} learns what tasks have in common: training has one task only, it needs 2 or more"
            )
        return cls(found, np.random.default_rng(seed))

    @property
    def space(self) -> ContextSpace:
        """The space of all tasks."""
        return self.splits.space

    @property
    def pool(self) -> Array | None:
        """The tasks of training where they are finitely many, raw, shape [n, d]; None otherwise."""
        return self.splits.points

    def draw(self, count: int) -> Array:
        """Draw tasks of training, with replacement.

        Args:
            count: How many n.

        Returns:
            Raw contexts, shape [n, d].
        """
        return np.stack([self.splits.draw(self.generator) for _ in range(count)])


def assign(env: VecEnv, contexts: Array) -> None:
    """Give each environment its task, from its next episode on.

    Args:
        env: The environments.
        contexts: Raw, one for each, shape [num_envs, d].

    Raises:
        ShapeError: There are more or fewer.
        HyperRLError: A context is not in the space.
    """
    if len(contexts) != env.num_envs:
        raise ShapeError(f"{env.num_envs} environments need as many tasks, got {len(contexts)}")
    for index, context in enumerate(contexts):
        env.env_method("set_fixed_context", context, indices=[index])


def check_horizon(steps: int, episode: int, what: str) -> None:
    """Refuse a number of steps that holds no whole episode.

    Args:
        steps: The steps.
        episode: Steps of an episode.
        what: What the steps are called.

    Raises:
        ConfigError: It is shorter.
    """
    if steps < episode:
        raise ConfigError(f"{what} must hold an episode of {episode} steps, got {steps}")


def shares(jobs: int, lanes: int) -> NDArray[np.int64]:
    """Say which job each lane does when: lane i does the jobs i, i + lanes, i + 2 lanes, ...

    Args:
        jobs: How many jobs.
        lanes: How many lanes.

    Returns:
        Shape [rounds, lanes], -1 where a lane has nothing left to do.
    """
    rounds = -(-jobs // lanes)
    numbers = np.arange(rounds * lanes).reshape(rounds, lanes)
    return np.where(numbers < jobs, numbers, -1)
