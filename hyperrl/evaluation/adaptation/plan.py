"""Which tasks an agent adapts to, by how many episodes, and how often it is evaluated in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hyperrl.context import ContextSpace, Splits
from hyperrl.context.space import Array
from hyperrl.context.splits import TRAIN
from hyperrl.errors import ConfigError, ContextError
from hyperrl.ranges import whole

GIVEN = "given"
"""What the set of tasks that were given one by one is called."""

Task = str | Mapping[str, float] | ArrayLike
"""A task: text such as "direction=-1", values by name, or all values in order."""

_MOST_EPISODES = 1_000
_EVALUATIONS = whole(1, 10_000)
_SEEDS = whole(0, 2**32 - 1)


@dataclass(frozen=True, eq=False)
class TaskSet:
    """Tasks that are reported together.

    Attributes:
        name: Name of the set.
        contexts: The tasks, raw, shape [n, d].
    """

    name: str
    contexts: Array


@dataclass(frozen=True)
class Job:
    """One adaptation: of one agent to one task from nothing.

    Attributes:
        name: Name of the set.
        number: Which task of the set, from 0.
        context: The task, raw, shape [d].
        seed: Seed of the evaluation.
    """

    name: str
    number: int
    context: Array
    seed: int


@dataclass(frozen=True, eq=False)
class Plan:
    """All adaptations, and what is played in each.

    For k = 0 ... K: E episodes without exploration, of which nothing is learned, and, if k < K, an episode of
    data. Their resets depend on the seed alone: they are the same in every task, after every number of
    episodes of data, and for every run.

    Attributes:
        space: The space of tasks.
        sets: The tasks.
        episodes: Episodes of data K.
        evaluations: Evaluation episodes E after each number of episodes of data.
        seeds: Seeds of the evaluation; for each one every task is adapted to from nothing.

    Raises:
        ContextError: There is no task.
        ConfigError: A number is out of range, or a seed comes twice.
    """

    space: ContextSpace
    sets: tuple[TaskSet, ...]
    episodes: int
    evaluations: int
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        """Refuse what cannot be planned."""
        if not self.sets or not all(len(one.contexts) for one in self.sets):
            raise ContextError("there is no task to adapt to")
        object.__setattr__(self, "episodes", checked_episodes(self.episodes))
        evaluations = int(_EVALUATIONS.check("eval_episodes", self.evaluations))
        object.__setattr__(self, "evaluations", evaluations)
        seeds = tuple(int(_SEEDS.check("seeds", seed)) for seed in self.seeds)
        if not seeds or len(set(seeds)) < len(seeds):
            raise ConfigError(f"seeds must be one or more different numbers, got {list(self.seeds)}")
        object.__setattr__(self, "seeds", seeds)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sets."""
        return tuple(one.name for one in self.sets)

    def contexts(self, name: str) -> Array:
        """Return the tasks of a set, shape [n, d]."""
        return next(one.contexts for one in self.sets if one.name == name)

    def jobs(self) -> list[Job]:
        """Return all adaptations: by set, then by task, then by seed."""
        return [
            Job(one.name, number, context, seed)
            for one in self.sets
            for number, context in enumerate(one.contexts)
            for seed in self.seeds
        ]

    def joined(self, other: Plan) -> Plan | None:
        """Return the plan of all tasks of two plans, None where they do not go together.

        Args:
            other: A plan with the same numbers; sets of the same name must have the same tasks, but for those
                that were given.
        """
        if self._numbers() != other._numbers():
            return None
        sets = {one.name: one for one in self.sets}
        for one in other.sets:
            known = sets.get(one.name)
            keys = [] if known is None else [self.space.key(row) for row in known.contexts]
            new = [row for row in one.contexts if self.space.key(row) not in keys]
            if known is None:
                sets[one.name] = one
            elif one.name == GIVEN:
                sets[GIVEN] = TaskSet(GIVEN, np.stack([*known.contexts, *new]))
            elif new or len(keys) != len(one.contexts):
                return None
        return dataclasses.replace(self, sets=tuple(sets.values()))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {
            "space": self.space.to_json(),
            "sets": {one.name: one.contexts.tolist() for one in self.sets},
            "episodes": self.episodes,
            "evaluations": self.evaluations,
            "seeds": list(self.seeds),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Build a plan from what `to_json` returned.

        Raises:
            KeyError: Something is missing.
            HyperRLError: A value is wrong.
        """
        space = ContextSpace.from_json(values["space"])
        sets = tuple(TaskSet(name, space.arrays(rows)) for name, rows in values["sets"].items())
        return cls(space, sets, values["episodes"], values["evaluations"], tuple(values["seeds"]))

    def _numbers(self) -> tuple[Any, ...]:
        return self.space.to_json(), self.episodes, self.evaluations, self.seeds


def checked_episodes(value: object) -> int:
    """Return a number of episodes of data.

    Args:
        value: What was given.

    Raises:
        ConfigError: It is none.
    """
    if value == 0 and not isinstance(value, bool):
        raise ConfigError(
            "an adaptation needs at least one episode of data, got episodes = 0: without any, an agent is "
            "evaluated by hyperrl evaluate RUN --split NAME"
        )
    return int(whole(1, _MOST_EPISODES).check("episodes", value))


def task_sets(splits: Splits, names: Sequence[str], tasks: Sequence[Task]) -> tuple[TaskSet, ...]:
    """Return the tasks that are meant.

    Args:
        splits: The declared sets of tasks.
        names: Names of some of them.
        tasks: Single tasks. Where neither is given, all sets of tests are meant.

    Raises:
        ConfigError: There is one name or task without a list around it.
        UnknownNameError: There is no such set.
        ContextError: There are no tests, or a task is given twice.
        HyperRLError: A task is not in the space.
    """
    for what, given in (("splits", names), ("tasks", tasks)):
        if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
            raise ConfigError(f"{what} must be a list, got {given!r}: put it in brackets")
    names, tasks = list(names), list(tasks)
    for name in names:
        splits.contexts(name)
    if not names and not tasks:
        names = [name for name in splits.names if name != TRAIN]
        if not names:
            raise ContextError(
                "these tasks have no tests: name the set of training with --split train, or single tasks "
                "with --task"
            )
    sets = [TaskSet(name, splits.contexts(name)) for name in splits.names if name in names]
    if not tasks:
        return tuple(sets)
    if GIVEN in names:
        raise ContextError(f"the set of tasks {GIVEN!r} and single tasks cannot be evaluated together")
    space = splits.space
    rows = [space.parse(task) if isinstance(task, str) else space.array(task) for task in tasks]
    keys = [space.key(row) for row in rows]
    for row, key in zip(rows, keys, strict=True):
        if keys.count(key) > 1:
            raise ContextError(f"the task {space.text(row)} is given twice")
    return (*sets, TaskSet(GIVEN, np.stack(rows)))
