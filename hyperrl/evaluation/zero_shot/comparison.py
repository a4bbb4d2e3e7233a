"""The statistics of several methods on the same contexts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from hyperrl.context.space import Array
from hyperrl.context.splits import TRAIN
from hyperrl.evaluation.scores import optimality_gap, probability_of_improvement_interval
from hyperrl.evaluation.statistics import Interval, mean
from hyperrl.evaluation.zero_shot.estimates import (
    difference,
    interval,
    stratified_interval,
    worst_interval,
)
from hyperrl.evaluation.zero_shot.methods import Method
from hyperrl.evaluation.zero_shot.plan import RANDOM, SHUFFLED, Plan
from hyperrl.evaluation.zero_shot.references import Expert, expected_returns, normalised_scores


@dataclass(frozen=True)
class MethodOnSplit:
    """One method on one split.

    Attributes:
        method: Its label.
        split: Name of the split.
        runs: How many runs.
        iqm: Interquartile mean over runs and contexts.
        stratified: The same with the interval that draws runs for each context by itself.
        mean: Mean over runs and contexts.
        worst: Mean of the worst tenth of the contexts, runs averaged before.
        gap: IQM of the contexts of training minus that of these, paired by run; None where not evaluated.
        shuffled: IQM minus that of the policy that is told another context; None where not evaluated.
        normalised: IQM of normalised scores; None without references.
        optimality_gap: Mean of max(0, 1 - normalised score).
    """

    method: str
    split: str
    runs: int
    iqm: Interval
    stratified: Interval
    mean: Interval
    worst: Interval
    gap: Interval | None
    shuffled: Interval | None
    normalised: Interval | None
    optimality_gap: Interval | None


@dataclass(frozen=True)
class Improvement:
    """How likely one method is better than another.

    Attributes:
        split: Name of the split.
        method: The one.
        other: The other.
        probability: That a run of the one earns more in a context than a run of the other.
    """

    split: str
    method: str
    other: str
    probability: Interval


@dataclass(frozen=True)
class MethodOnTests:
    """One method on all contexts that are no training.

    Attributes:
        method: Its label.
        steps: Environment steps of each run.
        seeds: Seeds of the runs.
        mean: Mean over them, the average evaluation reward; None where no test was evaluated.
        costs: What the policy of the first run costs.
    """

    method: str
    steps: tuple[int, ...]
    seeds: tuple[int, ...]
    mean: Interval | None
    costs: dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """All statistics of a comparison.

    Attributes:
        methods: Of each method.
        cells: Of each method on each split.
        improvements: Of each pair of methods on each split, both ways.
    """

    methods: tuple[MethodOnTests, ...]
    cells: tuple[MethodOnSplit, ...]
    improvements: tuple[Improvement, ...]

    def cell(self, method: str, split: str) -> MethodOnSplit:
        """Return the statistics of a method on a split."""
        return next(one for one in self.cells if (one.method, one.split) == (method, split))

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as plain data."""
        return dataclasses.asdict(self)


def compared(methods: Sequence[Method], experts: Sequence[Expert] = ()) -> Comparison:
    """Compute the statistics of methods whose runs can be compared.

    Args:
        methods: The methods.
        experts: Policies of one context each, if there are any; scores need random actions, too, which an
            evaluation with experts has played.

    Raises:
        ContextError: Two experts have the same context.
    """
    plan = plan_of(methods)
    cells = [
        _cell(method, name, scores_of(methods, method, name, experts))
        for name in plan.names
        for method in methods
    ]
    pairs = list(permutations(methods, 2))
    return Comparison(
        tuple(_on_tests(method, plan) for method in methods),
        tuple(cells),
        tuple(_improvement(one, other, name) for name in plan.names for one, other in pairs),
    )


def plan_of(methods: Sequence[Method]) -> Plan:
    """Return the plan that all runs share but for their ablations: that of the first run."""
    return methods[0].runs[0].record.results.plan


def scores_of(
    methods: Sequence[Method], method: Method, split: str, experts: Sequence[Expert]
) -> Array | None:
    """Return normalised scores [runs, contexts with a score, episodes]; None without references.

    Args:
        methods: All methods; random actions are the same whoever's evaluation played them.
        method: One of them.
        split: Name of the split.
        experts: The experts.
    """
    played = [run.record.results.returns(split, RANDOM) for one in methods for run in one.runs]
    random = next((table for table in played if table.size), None)
    if not experts or random is None:
        return None
    splits = plan_of(methods).splits
    expected = expected_returns(experts, splits.space, splits.contexts(split)).values
    found = np.stack(
        [normalised_scores(table, random.mean(axis=1), expected) for table in method.returns(split)]
    )
    defined = ~np.isnan(found).any(axis=(0, 2))
    return found[:, defined] if defined.any() else None


def _cell(method: Method, split: str, scores: Array | None) -> MethodOnSplit:
    returns, trained, told = method.returns(split), method.returns(TRAIN), method.returns(split, SHUFFLED)
    with_gap = split != TRAIN and trained.size > 0
    return MethodOnSplit(
        method.label,
        split,
        len(method.runs),
        iqm=interval(returns),
        stratified=stratified_interval(returns),
        mean=interval(returns, mean),
        worst=worst_interval(returns),
        gap=difference(trained, returns) if with_gap else None,
        shuffled=difference(returns, told) if told.size else None,
        normalised=None if scores is None else interval(scores),
        optimality_gap=None if scores is None else interval(scores, optimality_gap),
    )


def _improvement(one: Method, other: Method, split: str) -> Improvement:
    tables = (method.returns(split).mean(axis=2).T for method in (one, other))
    return Improvement(
        split, one.label, other.label, probability_of_improvement_interval(*tables, together=True)
    )


def _on_tests(method: Method, plan: Plan) -> MethodOnTests:
    tests = [method.returns(name) for name in plan.names if name != TRAIN]
    subjects = [run.record.results.subject for run in method.runs]
    return MethodOnTests(
        method.label,
        tuple(subject.steps for subject in subjects),
        tuple(subject.run_seed for subject in subjects),
        interval(np.concatenate(tests, axis=1), mean) if tests else None,
        dict(method.runs[0].record.costs),
    )
