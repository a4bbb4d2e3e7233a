"""What was played while an agent adapted, as arrays and as a table of one row for each episode."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hyperrl.context import ContextSpace
from hyperrl.context.space import Array
from hyperrl.errors import RunFolderError
from hyperrl.evaluation.adaptation.plan import Job, Plan
from hyperrl.evaluation.zero_shot.lanes import Ended
from hyperrl.evaluation.zero_shot.results import Subject
from hyperrl.run.seeding import seeds_of_adaptation, seeds_of_zero_shot

EVALUATION = "evaluation"
DATA = "data"

Key = tuple[str, str, int]
"""Set, task as text, and seed of an adaptation."""


@dataclass(frozen=True)
class Outcome:
    """One adaptation.

    Attributes:
        evaluations: How the evaluation episodes came out: for k = 0 ... K episodes of data, E each.
        data: How the K episodes of data came out.
    """

    evaluations: tuple[tuple[Ended, ...], ...]
    data: tuple[Ended, ...]


@dataclass(frozen=True, eq=False)
class Results:
    """The outcome of every adaptation of a plan.

    Attributes:
        subject: Whose policy it was.
        plan: The plan.
        outcomes: One for each of its jobs, in their order.
    """

    subject: Subject
    plan: Plan
    outcomes: tuple[Outcome, ...]

    def table(self, name: str) -> Array:
        """Return the returns of a set's evaluation episodes, [K + 1, tasks, seeds, E]."""
        return self._tables[name]

    def data(self, name: str) -> Array:
        """Return the returns of a set's episodes of data, [K, tasks, seeds]."""
        values = [[one.episode_return for one in outcome.data] for outcome in self._of(name)]
        return self._shaped(np.array(values, np.float64))

    def returns(self, name: str, episodes: int) -> Array:
        """Return the returns after a number of episodes of data by what can be drawn again, [tasks, units].

        Units are seeds where there are several, each with other data, its evaluation episodes averaged; the
        evaluation episodes otherwise.

        Args:
            name: Name of the set.
            episodes: The number, 0 to K.
        """
        played = self.table(name)[episodes]
        return np.asarray(played.mean(axis=2) if len(self.plan.seeds) > 1 else played[:, 0])

    def by_job(self) -> dict[Key, Outcome]:
        """Return the outcomes by what they are of."""
        space = self.plan.space
        return {key_of(job, space): one for job, one in zip(self.plan.jobs(), self.outcomes, strict=True)}

    @cached_property
    def _tables(self) -> dict[str, Array]:
        """The tables of all sets; statistics ask for them once for each number of episodes."""
        tables = {}
        for name in self.plan.names:
            values = [
                [[one.episode_return for one in each] for each in outcome.evaluations]
                for outcome in self._of(name)
            ]
            tables[name] = self._shaped(np.array(values, np.float64))
            tables[name].flags.writeable = False
        return tables

    def _of(self, name: str) -> list[Outcome]:
        pairs = zip(self.plan.jobs(), self.outcomes, strict=True)
        return [outcome for job, outcome in pairs if job.name == name]

    def _shaped(self, values: Array) -> Array:
        """Turn [tasks * seeds, k, ...] into [k, tasks, seeds, ...]."""
        split = values.reshape(-1, len(self.plan.seeds), *values.shape[1:])
        return np.moveaxis(split, 2, 0)


def key_of(job: Job, space: ContextSpace) -> Key:
    """Return what an adaptation is of.

    Args:
        job: The adaptation.
        space: The space of tasks.
    """
    return job.name, space.text(job.context), job.seed


@dataclass(frozen=True)
class _Row:
    """One episode: what it is, as the table says it, without how it came out."""

    job: Job
    kind: str
    episodes: int
    episode: int
    reset_seed: int

    def key(self, space: ContextSpace) -> tuple[str, ...]:
        numbers = (self.job.number, self.job.seed, self.episodes, self.episode, self.reset_seed)
        return (self.job.name, space.text(self.job.context), self.kind, *map(str, numbers))


def to_csv(results: Results) -> str:
    """Return the results as CSV; names repeat in every row, so that tables of several runs can be joined.

    Args:
        results: The results.
    """
    plan, subject = results.plan, results.subject
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["env", "agent", "run_seed", "checkpoint", "steps", "split", "task", "context"]
    head += [f"context_{name}" for name in plan.space.names]
    head += ["seed", "data_episodes", "kind", "episode", "reset_seed", "return", "length", "terminated"]
    writer.writerow([*head, "success"])
    names = [subject.env, subject.agent, subject.run_seed, subject.checkpoint, subject.steps]
    episodes = (ended for outcome in results.outcomes for ended in _in_order(outcome))
    for row, ended in zip(_rows(plan), episodes, strict=True):
        job = row.job
        cells = [*names, job.name, job.number, plan.space.text(job.context)]
        cells += [*map(repr, job.context.tolist()), job.seed, row.episodes, row.kind, row.episode]
        cells += [row.reset_seed, repr(ended.episode_return), ended.length, int(ended.terminated)]
        writer.writerow([*cells, "" if ended.success is None else int(ended.success)])
    return text.getvalue()


def from_csv(text: str, subject: Subject, plan: Plan) -> Results:
    """Read the outcomes of a plan.

    Args:
        text: What `to_csv` returned.
        subject: Whose policy it was.
        plan: The plan.

    Raises:
        RunFolderError: The table is not that of the plan.
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    names = ("split", "context", "kind", "task", "seed", "data_episodes", "episode", "reset_seed")
    try:
        found = [tuple(row[name] for name in names) for row in rows]
        episodes = [_ended(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"the table of episodes cannot be read: {error!r}") from error
    if found != [row.key(plan.space) for row in _rows(plan)]:
        raise RunFolderError("the table of episodes is not that of its plan")
    size = len(rows) // len(plan.jobs())
    outcomes = [_outcome(plan, episodes[first : first + size]) for first in range(0, len(rows), size)]
    return Results(subject, plan, tuple(outcomes))


def _rows(plan: Plan) -> Iterator[_Row]:
    """Yield the episodes of a plan in the order of the table."""
    for job in plan.jobs():
        evaluation = seeds_of_zero_shot(job.seed, plan.evaluations)
        data = seeds_of_adaptation(job.seed, plan.episodes)
        for episodes in range(plan.episodes + 1):
            for episode, reset_seed in enumerate(evaluation):
                yield _Row(job, EVALUATION, episodes, episode, reset_seed)
            if episodes < plan.episodes:
                yield _Row(job, DATA, episodes, 0, data[episodes])


def _in_order(outcome: Outcome) -> Iterator[Ended]:
    for episodes, evaluated in enumerate(outcome.evaluations):
        yield from evaluated
        yield from outcome.data[episodes : episodes + 1]


def _outcome(plan: Plan, episodes: list[Ended]) -> Outcome:
    size = plan.evaluations + 1
    starts = [number * size for number in range(plan.episodes + 1)]
    evaluations = tuple(tuple(episodes[start : start + plan.evaluations]) for start in starts)
    return Outcome(evaluations, tuple(episodes[start + plan.evaluations] for start in starts[:-1]))


def _ended(row: Mapping[str, Any]) -> Ended:
    success = None if row["success"] == "" else bool(int(row["success"]))
    return Ended(float(row["return"]), int(row["length"]), bool(int(row["terminated"])), success)
