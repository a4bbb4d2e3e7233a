"""Adapting to tasks side by side: evaluations in between, of which nothing is learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from hyperrl.config import RunConfig
from hyperrl.context import Splits
from hyperrl.context.space import Array
from hyperrl.environments import make_env
from hyperrl.errors import ConfigError, ContextError
from hyperrl.evaluation.adaptation.plan import Job, Plan
from hyperrl.evaluation.adaptation.results import Outcome
from hyperrl.evaluation.zero_shot.lanes import Ended, Lanes, make_lanes
from hyperrl.evaluation.zero_shot.together import play_together
from hyperrl.registry import agents
from hyperrl.run.seeding import seeds_of_adaptation, seeds_of_adapting, seeds_of_zero_shot
from hyperrl.sb3.contexts.observed import attribute
from hyperrl.sb3.meta.adaptation import Adaptation


@dataclass(frozen=True)
class Block:
    """Adaptations that are played side by side.

    Attributes:
        jobs: Tasks of one set, with one seed.
    """

    jobs: tuple[Job, ...]

    @property
    def contexts(self) -> Array:
        """The tasks, raw, shape [n, d]."""
        return np.stack([job.context for job in self.jobs])


def blocks_of(jobs: Sequence[Job], lanes: int) -> Iterator[Block]:
    """Put adaptations together, those of one set and seed.

    What an agent draws depends on its block, so that a set is played the same way whatever else is played.

    Args:
        jobs: The adaptations.
        lanes: How many are played side by side at most.
    """
    groups: dict[tuple[str, int], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.name, job.seed), []).append(job)
    for own in groups.values():
        for first in range(0, len(own), lanes):
            yield Block(tuple(own[first : first + lanes]))


def declared_tasks(config: RunConfig) -> Splits:
    """Return the tasks that the environment of a run declares, before anything is loaded.

    Args:
        config: The run's configuration.

    Raises:
        ConfigError: The run's agent cannot adapt.
        ContextError: The environment has no tasks.
    """
    if not hasattr(agents.get(config.agent), "adaptation"):
        raise ConfigError(
            f"{config.agent} cannot adapt to a task: give a run of an agent with the method adaptation, or "
            "evaluate this one by hyperrl evaluate RUN --split NAME"
        )
    env = make_env(config.env, config.env_kwargs)
    try:
        splits = attribute(env, "splits")
    finally:
        env.close()
    if not isinstance(splits, Splits):
        raise ContextError(
            f"{config.env} has no contexts, so there are no tasks to adapt to: give a run of one of "
            "hyperrl list contexts"
        )
    return splits


class Simulators:
    """Environments of a run, built once for each number of them; use it in a `with` statement.

    Args:
        config: The run's configuration.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._lanes: dict[int, Lanes] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def lanes(self, count: int) -> Lanes:
        """Return so many environments."""
        if count not in self._lanes:
            config = self._config
            built = make_lanes(config.env, config.env_kwargs, count, native=config.native)
            self._stack.callback(built.close)
            self._lanes[count] = built
        return self._lanes[count]


class Session:
    """An agent that adapts to tasks, with environments of these.

    What the agent draws is seeded anew before every episode: evaluations change nothing of what follows.

    Args:
        agent: The agent, an `Adaptive` algorithm of Stable-Baselines3.
        lanes: The environments, as many as there are tasks.
        contexts: The tasks, raw, shape [n, d].
        seed: Seed of the evaluation.
        first: Number of the first task in its set.

    Attributes:
        adaptation: The adaptation.
    """

    def __init__(self, agent: Any, lanes: Lanes, contexts: Array, seed: int, first: int = 0) -> None:
        self._agent, self._lanes, self._contexts = agent, lanes, contexts
        self._seed, self._first = seed, first
        # Agents that draw from generators of their own seed these by the attribute.
        agent.seed = self._draw(0, 0, 0)
        self.adaptation: Adaptation = agent.adaptation(contexts)

    def evaluate(self, data: int, evaluations: int) -> list[tuple[Ended, ...]]:
        """Play episodes without exploration, and forget them.

        Args:
            data: Episodes of data so far.
            evaluations: How many episodes E.

        Returns:
            For each task how its E episodes came out.
        """
        known = self.adaptation.snapshot()
        rounds = []
        for number, reset_seed in enumerate(seeds_of_zero_shot(self._seed, evaluations)):
            self._draw(data, number + 1, evaluations)
            rounds.append(self._play(reset_seed, explore=False))
            self.adaptation.restore(known)
        return list(zip(*rounds, strict=True))

    def learn(self, data: int) -> list[Ended]:
        """Play an episode of data, and adapt to it.

        Args:
            data: Episodes of data so far.

        Returns:
            How it came out for each task.
        """
        self._draw(data, 0, 0)
        played = self._play(seeds_of_adaptation(self._seed, data + 1)[data], explore=True)
        self.adaptation.end_episode()
        return played

    def _play(self, reset_seed: int, *, explore: bool) -> list[Ended]:
        seeds = [reset_seed] * len(self._contexts)
        return play_together(self.adaptation, self._lanes, self._contexts, seeds, explore=explore)

    def _draw(self, data: int, number: int, evaluations: int) -> int:
        seed = seeds_of_adapting(self._seed, self._first, data, evaluations)[number]
        self._agent.set_random_seed(seed)
        return seed


def adapt_block(agent: Any, lanes: Lanes, block: Block, plan: Plan) -> list[Outcome]:
    """Adapt to the tasks of a block.

    Args:
        agent: The agent.
        lanes: Environments, as many as the block has tasks.
        block: The tasks.
        plan: What is played.

    Returns:
        One outcome for each task.
    """
    first = block.jobs[0]
    session = Session(agent, lanes, block.contexts, first.seed, first.number)
    evaluations: list[list[tuple[Ended, ...]]] = []
    data: list[list[Ended]] = []
    for episodes in range(plan.episodes + 1):
        evaluations.append(session.evaluate(episodes, plan.evaluations))
        if episodes < plan.episodes:
            data.append(session.learn(episodes))
    return [
        Outcome(tuple(own), tuple(played))
        for own, played in zip(zip(*evaluations, strict=True), zip(*data, strict=True), strict=True)
    ]
