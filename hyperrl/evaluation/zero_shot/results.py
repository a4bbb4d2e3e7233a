"""What a zero-shot evaluation found, as arrays and as a table of one row for each episode."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hyperrl.context import ContextSpace
from hyperrl.context.space import Array
from hyperrl.errors import RunFolderError
from hyperrl.evaluation.zero_shot.lanes import Ended
from hyperrl.evaluation.zero_shot.plan import NONE, Case, Plan

Key = tuple[str, str, str, int, int, int]
"""Split, context, ablation, seed, episode and reset seed of an episode."""


@dataclass(frozen=True)
class Subject:
    """Whose policy was evaluated.

    Attributes:
        env: Id of the environment.
        agent: Name of the agent.
        run_seed: Seed of its training.
        checkpoint: Name of the checkpoint.
        steps: Environment steps that its weights had been trained for.
    """

    env: str
    agent: str
    run_seed: int
    checkpoint: str
    steps: int


@dataclass(frozen=True, eq=False)
class Results:
    """The outcome of every episode of a plan.

    Attributes:
        subject: Whose policy it was.
        plan: The plan.
        outcomes: How each of its cases came out, in their order.
    """

    subject: Subject
    plan: Plan
    outcomes: tuple[Ended, ...]

    @cached_property
    def cases(self) -> list[Case]:
        """The episodes of the plan."""
        return self.plan.cases()

    def returns(self, split: str, ablation: str = NONE) -> Array:
        """Return the returns in a split, [contexts, episodes of all seeds]; [0, 0] if it was not played."""
        return self._table(split, ablation, [one.episode_return for one in self.outcomes])

    def lengths(self, split: str) -> Array:
        """Return the lengths of the episodes of the policy itself, [contexts, episodes]."""
        return self._table(split, NONE, [one.length for one in self.outcomes])

    def terminated(self, split: str) -> Array:
        """Return 1 for the policy's episodes that ended by themselves, else 0, [contexts, episodes]."""
        return self._table(split, NONE, [one.terminated for one in self.outcomes])

    def successes(self, split: str) -> Array | None:
        """Return 1 for the policy's successes, else 0, [contexts, episodes]; None where none is told."""
        if any(one.success is None for one in self.outcomes):
            return None
        return self._table(split, NONE, [bool(one.success) for one in self.outcomes])

    def by_case(self) -> dict[Key, Ended]:
        """Return the outcomes by what was played."""
        space = self.plan.splits.space
        return {key_of(case, space): one for case, one in zip(self.cases, self.outcomes, strict=True)}

    def _table(self, split: str, ablation: str, values: Sequence[Any]) -> Array:
        rows = self._rows.get((split, ablation), [])
        contexts = len(self.plan.splits.contexts(split)) if rows else 0
        own = np.array([values[row] for row in rows], np.float64)
        return own.reshape(contexts, -1) if contexts else np.zeros((0, 0))

    @cached_property
    def _rows(self) -> dict[tuple[str, str], list[int]]:
        found: dict[tuple[str, str], list[int]] = {}
        for row, case in enumerate(self.cases):
            found.setdefault((case.split, case.ablation), []).append(row)
        return found


def key_of(case: Case, space: ContextSpace) -> Key:
    """Return what was played, as one row of the table says it.

    Args:
        case: The episode.
        space: The space of contexts.
    """
    text = space.text(case.context)
    return case.split, text, case.ablation, case.seed, case.episode, case.reset_seed


def to_csv(results: Results) -> str:
    """Return the results as CSV; names repeat in every row, so that tables of several runs can be joined.

    Args:
        results: The results.
    """
    splits, subject = results.plan.splits, results.subject
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["env", "agent", "run_seed", "checkpoint", "steps", "split", "context"]
    head += [f"context_{name}" for name in splits.space.names]
    head += ["distance", "ablation", "seed", "episode", "reset_seed", "return", "length", "terminated"]
    writer.writerow([*head, "success"])
    names = [subject.env, subject.agent, subject.run_seed, subject.checkpoint, subject.steps]
    distances = {name: splits.distance(splits.contexts(name)) for name in results.plan.names}
    for case, ended in zip(results.cases, results.outcomes, strict=True):
        row = [*names, case.split, splits.space.text(case.context), *map(repr, case.context.tolist())]
        row += [f"{distances[case.split][case.number]:.9g}", case.ablation]
        row += [case.seed, case.episode, case.reset_seed, repr(ended.episode_return), ended.length]
        row += [int(ended.terminated), "" if ended.success is None else int(ended.success)]
        writer.writerow(row)
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
    cases, space = plan.cases(), plan.splits.space
    try:
        found = [_row_key(row) for row in rows]
        outcomes = tuple(_outcome(row) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"the table of episodes cannot be read: {error!r}") from error
    if found != [key_of(case, space) for case in cases]:
        raise RunFolderError("the table of episodes is not that of its plan")
    return Results(subject, plan, outcomes)


def _row_key(row: Mapping[str, str]) -> Key:
    numbers = int(row["seed"]), int(row["episode"]), int(row["reset_seed"])
    return row["split"], row["context"], row["ablation"], *numbers


def _outcome(row: Mapping[str, str]) -> Ended:
    success = None if row["success"] == "" else bool(int(row["success"]))
    return Ended(float(row["return"]), int(row["length"]), bool(int(row["terminated"])), success)
