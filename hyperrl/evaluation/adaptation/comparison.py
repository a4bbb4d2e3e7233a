"""Runs that adapt, put together by method, and their statistics beside each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from hyperrl.config import RunConfig
from hyperrl.context.space import Array
from hyperrl.errors import ContextError
from hyperrl.evaluation.adaptation.plan import Plan
from hyperrl.evaluation.adaptation.results import Results
from hyperrl.evaluation.adaptation.summary import shown_episodes
from hyperrl.evaluation.scores import probability_of_improvement_interval
from hyperrl.evaluation.statistics import Interval
from hyperrl.evaluation.zero_shot.estimates import difference, interval
from hyperrl.evaluation.zero_shot.methods import check_equal, rows_by_method, task_settings


@dataclass(frozen=True, eq=False)
class AdaptedRun:
    """A run with its evaluation of adaptation.

    Attributes:
        name: What it is called in messages.
        config: Its configuration.
        results: Its evaluation.
    """

    name: str
    config: RunConfig
    results: Results


@dataclass(frozen=True, eq=False)
class AdaptedMethod:
    """Runs that differ by their seed alone.

    Attributes:
        label: What the method is called.
        runs: The runs, by rising seed.
    """

    label: str
    runs: tuple[AdaptedRun, ...]

    def returns(self, split: str, episodes: int) -> Array:
        """Return the returns after a number of episodes of data, [runs, tasks, seeds or episodes]."""
        return np.stack([run.results.returns(split, episodes) for run in self.runs])


@dataclass(frozen=True)
class Curve:
    """One method on one set of tasks.

    Attributes:
        method: Its label.
        split: Name of the set.
        runs: How many runs.
        iqm: Interquartile means over runs and tasks after 0 ... K episodes of data.
        gain: The last minus the first, paired by run.
    """

    method: str
    split: str
    runs: int
    iqm: tuple[Interval, ...]
    gain: Interval


@dataclass(frozen=True)
class Improvement:
    """How likely one method is better than another.

    Attributes:
        split: Name of the set.
        episodes: Episodes of data.
        method: The one.
        other: The other.
        probability: That a run of the one earns more in a task than a run of the other.
    """

    split: str
    episodes: int
    method: str
    other: str
    probability: Interval


@dataclass(frozen=True)
class AdaptationComparison:
    """All statistics of a comparison.

    Attributes:
        curves: Of each method on each set of tasks.
        improvements: Of each pair of methods, both ways, on each set after 0, 1 and K episodes of data.
    """

    curves: tuple[Curve, ...]
    improvements: tuple[Improvement, ...]

    def of_split(self, split: str) -> list[Curve]:
        """Return the curves on one set of tasks."""
        return [one for one in self.curves if one.split == split]

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as plain data."""
        return dataclasses.asdict(self)


def grouped(runs: Sequence[AdaptedRun], labels: Sequence[str] = ()) -> list[AdaptedMethod]:
    """Group runs by method, in the order in which methods appear.

    Args:
        runs: The runs.
        labels: Name of the method of each run; by default runs are of one method where their settings are
            equal but for the seed.

    Raises:
        ContextError: The runs cannot be compared.
        ConfigError: There is no run, there are more or fewer labels than runs, or one method has two runs of
            the same seed.
    """
    for run in runs[1:]:
        _check(runs[0], run)
    groups = rows_by_method([run.config for run in runs], labels)
    return [AdaptedMethod(label, tuple(runs[row] for row in rows)) for label, rows in groups.items()]


def plan_of(methods: Sequence[AdaptedMethod]) -> Plan:
    """Return the plan that all runs share."""
    return methods[0].runs[0].results.plan


def compared(methods: Sequence[AdaptedMethod]) -> AdaptationComparison:
    """Compute the statistics of methods whose runs can be compared.

    Args:
        methods: The methods.
    """
    plan = plan_of(methods)
    curves = [_curve(method, name, plan.episodes) for name in plan.names for method in methods]
    improvements = [
        Improvement(name, episodes, one.label, other.label, _improvement(one, other, name, episodes))
        for name in plan.names
        for one, other in permutations(methods, 2)
        for episodes in shown_episodes(plan.episodes)
    ]
    return AdaptationComparison(tuple(curves), tuple(improvements))


def _curve(method: AdaptedMethod, split: str, last: int) -> Curve:
    tables = [method.returns(split, episodes) for episodes in range(last + 1)]
    means = tuple(interval(table) for table in tables)
    return Curve(method.label, split, len(method.runs), means, difference(tables[-1], tables[0]))


def _improvement(one: AdaptedMethod, other: AdaptedMethod, split: str, episodes: int) -> Interval:
    tables = (method.returns(split, episodes).mean(axis=2).T for method in (one, other))
    return probability_of_improvement_interval(*tables, together=True)


def _check(first: AdaptedRun, other: AdaptedRun) -> None:
    """Refuse runs whose evaluations differ in anything but the policy."""
    runs = (first, other)
    plans = [run.results.plan for run in runs]
    subjects = [run.results.subject for run in runs]
    pairs: list[tuple[str, list[Any]]] = [
        ("the environments", [subject.env for subject in subjects]),
        ("the environments' arguments", [task_settings(run.config) for run in runs]),
        ("the parameters of the task", [plan.space.names for plan in plans]),
        ("the ranges of the task", [plan.space.to_json() for plan in plans]),
        ("the sets of tasks", [tuple(sorted(plan.names)) for plan in plans]),
        ("the episodes of data", [plan.episodes for plan in plans]),
        ("the evaluation episodes", [plan.evaluations for plan in plans]),
        ("the seeds of the evaluations", [plan.seeds for plan in plans]),
        ("the checkpoints", [subject.checkpoint for subject in subjects]),
    ]
    check_equal((first.name, other.name), pairs)
    for name in plans[0].names:
        # Returns are put side by side by their numbers: the order counts.
        keys = [[plan.space.key(row) for row in plan.contexts(name)] for plan in plans]
        if keys[0] != keys[1]:
            what = "are in another order" if sorted(keys[0]) == sorted(keys[1]) else "differ"
            raise ContextError(
                f"{first.name} and {other.name} cannot be compared: the tasks of the set {name!r} {what}"
            )
