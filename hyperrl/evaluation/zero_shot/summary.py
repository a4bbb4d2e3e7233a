"""The statistics of a zero-shot evaluation of one run: of each context, of each split, of distances."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.context.space import Array
from hyperrl.context.splits import TRAIN
from hyperrl.evaluation.scores import optimality_gap
from hyperrl.evaluation.statistics import Interval, mean
from hyperrl.evaluation.zero_shot.estimates import (
    difference,
    interval,
    stratified_interval,
    worst_interval,
)
from hyperrl.evaluation.zero_shot.plan import NONE, RANDOM
from hyperrl.evaluation.zero_shot.references import Expected, Expert, expected_returns, normalised_scores
from hyperrl.evaluation.zero_shot.results import Results

_BINS = 5
_DIGITS = 9  # Of distances, which are not told apart beyond; 0 is of contexts that training may have.


@dataclass(frozen=True)
class ContextSummary:
    """The episodes in one context.

    Attributes:
        split: Name of its split.
        context: The context as text.
        values: Its numbers, in the order of the space.
        distance: From training, in normalised units.
        mean: Mean return.
        median: Median return.
        sd: Standard deviation of the returns; 0 for one episode.
        length: Mean number of steps.
        terminated: Share of the episodes that ended by themselves.
        success: Share of successes; None where the environment knows none.
        ablations: Mean return by ablation, and of random actions.
        expert: Return of an expert; None without experts.
        expert_kind: Whether that is measured, interpolated or extrapolated.
        normalised: The normalised score; None without a reference, or where the expert is no better than
            chance.
    """

    split: str
    context: str
    values: tuple[float, ...]
    distance: float
    mean: float
    median: float
    sd: float
    length: float
    terminated: float
    success: float | None
    ablations: dict[str, float]
    expert: float | None = None
    expert_kind: str | None = None
    normalised: float | None = None


@dataclass(frozen=True)
class SplitSummary:
    """The episodes of one split.

    Attributes:
        name: Name of the split.
        contexts: How many contexts.
        episodes: Episodes in each.
        iqm: Interquartile mean over contexts.
        stratified: The same with the interval that draws episodes for each context by itself.
        mean: Mean over contexts, called average evaluation reward by Beukman et al. (2023).
        worst: Mean of the worst tenth of the contexts.
        gap: IQM of the contexts of training minus that of these; None where it was not evaluated.
        distance: Mean distance from training.
        length: Mean number of steps.
        terminated: Share of the episodes that ended by themselves.
        success: Share of successes; None where the environment knows none.
        ablations: IQM by ablation, and of random actions.
        losses: IQM minus that of the ablation, by ablation.
        normalised: IQM of normalised scores; None without references.
        optimality_gap: Mean of max(0, 1 - normalised score).
        undefined: Contexts without a normalised score, though there are references.
    """

    name: str
    contexts: int
    episodes: int
    iqm: Interval
    stratified: Interval
    mean: Interval
    worst: Interval
    gap: Interval | None
    distance: float
    length: float
    terminated: float
    success: float | None
    ablations: dict[str, Interval] = field(default_factory=dict)
    losses: dict[str, Interval] = field(default_factory=dict)
    normalised: Interval | None = None
    optimality_gap: Interval | None = None
    undefined: int = 0


@dataclass(frozen=True)
class DistanceSummary:
    """The contexts at some distance from training.

    Attributes:
        low: Least distance.
        high: Greatest distance.
        contexts: How many contexts.
        mean: Mean return over them.
    """

    low: float
    high: float
    contexts: int
    mean: Interval


@dataclass(frozen=True)
class Summary:
    """All statistics of one run.

    Attributes:
        splits: Of each split.
        contexts: Of each context.
        distances: By distance from training, near ones first.
        tests: Mean over all contexts that are no training; None where none was evaluated.
        experts: What the references are made of.
    """

    splits: tuple[SplitSummary, ...]
    contexts: tuple[ContextSummary, ...]
    distances: tuple[DistanceSummary, ...]
    tests: Interval | None
    experts: tuple[Expert, ...]

    def of_split(self, name: str) -> list[ContextSummary]:
        """Return the contexts of a split."""
        return [one for one in self.contexts if one.split == name]

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as plain data."""
        return dataclasses.asdict(self)


def summarise(results: Results, experts: Sequence[Expert] = ()) -> Summary:
    """Compute the statistics of an evaluation.

    Args:
        results: The episodes.
        experts: Policies of one context each, if there are any.

    Raises:
        ContextError: Two experts have the same context.
    """
    plan = results.plan
    wanted = {name: _expected(results, name, experts) for name in plan.names}
    contexts = [one for name in plan.names for one in _contexts(results, name, wanted[name])]
    tests = [results.returns(name) for name in plan.names if name != TRAIN]
    return Summary(
        tuple(_split(results, name, wanted[name]) for name in plan.names),
        tuple(contexts),
        tuple(_distances(results)),
        interval(np.concatenate(tests)[None], mean) if tests else None,
        tuple(experts),
    )


def scores(results: Results, split: str, expected: Expected | None) -> Array | None:
    """Return normalised scores [contexts, episodes], NaN where there is none; None without references.

    Args:
        results: The episodes.
        split: Name of the split.
        expected: What experts would earn in its contexts.
    """
    random = results.returns(split, RANDOM)
    if expected is None or not random.size:
        return None
    return normalised_scores(results.returns(split), random.mean(axis=1), expected.values)


def _expected(results: Results, split: str, experts: Sequence[Expert]) -> Expected | None:
    splits = results.plan.splits
    return expected_returns(experts, splits.space, splits.contexts(split)) if experts else None


def _kinds(results: Results) -> list[str]:
    return [*results.plan.ablations, *([RANDOM] if results.plan.random else [])]


def _contexts(results: Results, split: str, expected: Expected | None) -> list[ContextSummary]:
    splits = results.plan.splits
    contexts, returns = splits.contexts(split), results.returns(split)
    lengths, ends, successes = results.lengths(split), results.terminated(split), results.successes(split)
    told = {kind: results.returns(split, kind) for kind in _kinds(results)}
    normalised = scores(results, split, expected)
    found = []
    for number, distance in enumerate(splits.distance(contexts).tolist()):
        own = returns[number]
        score = None if normalised is None else float(normalised[number].mean())
        found.append(
            ContextSummary(
                split,
                splits.space.text(contexts[number]),
                tuple(contexts[number].tolist()),
                distance,
                float(own.mean()),
                float(np.median(own)),
                float(own.std(ddof=1)) if own.size > 1 else 0.0,
                float(lengths[number].mean()),
                float(ends[number].mean()),
                None if successes is None else float(successes[number].mean()),
                {kind: float(values[number].mean()) for kind, values in told.items() if values.size},
                None if expected is None else float(expected.values[number]),
                None if expected is None else expected.kinds[number],
                None if score is None or np.isnan(score) else score,
            )
        )
    return found


def _split(results: Results, name: str, expected: Expected | None) -> SplitSummary:
    splits, returns = results.plan.splits, results.returns(name)
    trained = results.returns(TRAIN) if name != TRAIN and TRAIN in results.plan.names else np.zeros((0, 0))
    told = {kind: results.returns(name, kind) for kind in _kinds(results)}
    told = {kind: values for kind, values in told.items() if values.size}
    successes = results.successes(name)
    normalised = scores(results, name, expected)
    defined = None if normalised is None else normalised[~np.isnan(normalised).any(axis=1)]
    usable = defined[None] if defined is not None and defined.size else None
    return SplitSummary(
        name,
        len(returns),
        returns.shape[1],
        iqm=interval(returns[None]),
        stratified=stratified_interval(returns[None]),
        mean=interval(returns[None], mean),
        worst=worst_interval(returns[None]),
        gap=difference(trained[None], returns[None]) if trained.size else None,
        distance=float(splits.distance(splits.contexts(name)).mean()),
        length=float(results.lengths(name).mean()),
        terminated=float(results.terminated(name).mean()),
        success=None if successes is None else float(successes.mean()),
        ablations={kind: interval(values[None]) for kind, values in told.items()},
        losses={kind: difference(returns[None], values[None]) for kind, values in told.items()},
        normalised=None if usable is None else interval(usable),
        optimality_gap=None if usable is None else interval(usable, optimality_gap),
        undefined=0 if defined is None else len(returns) - len(defined),
    )


def _distances(results: Results) -> list[DistanceSummary]:
    splits = results.plan.splits
    returns = np.concatenate([results.returns(name, NONE) for name in results.plan.names])
    distances = np.concatenate([splits.distance(splits.contexts(name)) for name in results.plan.names])
    return [
        DistanceSummary(
            float(distances[group].min()),
            float(distances[group].max()),
            len(group),
            interval(returns[group][None], mean),
        )
        for group in distance_groups(distances)
    ]


def distance_groups(distances: Array) -> list[NDArray[np.int64]]:
    """Divide contexts into those that training may have, and the others by distance in parts of similar size.

    Contexts at one distance stay together, so that the parts do not overlap.

    Args:
        distances: From training, shape [n].

    Returns:
        Their numbers, near ones first; no group is empty.
    """
    rounded = np.round(distances, _DIGITS)
    inside = rounded == 0
    levels, place, counts = np.unique(rounded[~inside], return_inverse=True, return_counts=True)
    # A level belongs to the part in which its middle lies, when all contexts are in a row.
    middles = np.cumsum(counts) - counts / 2
    parts = np.arange(len(levels)) if len(levels) <= _BINS else (middles * _BINS // counts.sum()).astype(int)
    beyond = np.flatnonzero(~inside)
    groups = [np.flatnonzero(inside), *(beyond[parts[place] == part] for part in np.unique(parts))]
    return [group for group in groups if len(group)]
