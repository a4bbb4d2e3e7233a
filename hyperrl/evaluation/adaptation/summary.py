"""The statistics of one run that adapts: of each set of tasks after each number of episodes, of each task."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from hyperrl.evaluation.adaptation.results import Results
from hyperrl.evaluation.statistics import Interval, mean
from hyperrl.evaluation.zero_shot.estimates import difference, interval, worst_interval


@dataclass(frozen=True)
class Point:
    """A set of tasks after some episodes of data.

    Attributes:
        episodes: How many k.
        iqm: Interquartile mean over tasks.
        mean: Mean over tasks.
        worst: Mean of the worst tenth of the tasks.
        gain: IQM minus that before any data; None for k = 0.
        data: Mean return of the episode of data that follows, with exploration; None for the last one.
    """

    episodes: int
    iqm: Interval
    mean: Interval
    worst: Interval
    gain: Interval | None
    data: float | None


@dataclass(frozen=True)
class SetSummary:
    """One set of tasks.

    Attributes:
        name: Its name.
        tasks: How many tasks.
        points: After 0 ... K episodes of data.
    """

    name: str
    tasks: int
    points: tuple[Point, ...]

    @property
    def curve(self) -> list[Interval]:
        """The interquartile means after 0 ... K episodes of data."""
        return [point.iqm for point in self.points]


@dataclass(frozen=True)
class TaskSummary:
    """One task.

    Attributes:
        split: Name of its set.
        context: The task as text.
        values: Its numbers, in the order of the space.
        returns: Mean returns after 0 ... K episodes of data.
        data: Mean returns of the K episodes of data.
    """

    split: str
    context: str
    values: tuple[float, ...]
    returns: tuple[float, ...]
    data: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    """All statistics of an evaluation.

    Attributes:
        sets: Of each set.
        tasks: Of each task.
    """

    sets: tuple[SetSummary, ...]
    tasks: tuple[TaskSummary, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as plain data."""
        return dataclasses.asdict(self)


def summarise(results: Results) -> Summary:
    """Compute the statistics of an evaluation.

    Args:
        results: The episodes.
    """
    names = results.plan.names
    tasks = [task for name in names for task in _tasks(results, name)]
    return Summary(tuple(_set(results, name) for name in names), tuple(tasks))


def shown_episodes(most: int) -> list[int]:
    """Return the numbers of episodes that tables show: 0, 1 and the last one.

    Args:
        most: The last one K.
    """
    return sorted({0, 1, most})


def _set(results: Results, name: str) -> SetSummary:
    plan = results.plan
    data = results.data(name)
    before = results.returns(name, 0)[None]
    points = []
    for episodes in range(plan.episodes + 1):
        returns = results.returns(name, episodes)[None]
        points.append(
            Point(
                episodes,
                interval(returns),
                interval(returns, mean),
                worst_interval(returns),
                difference(returns, before) if episodes else None,
                float(data[episodes].mean()) if episodes < plan.episodes else None,
            )
        )
    return SetSummary(name, len(plan.contexts(name)), tuple(points))


def _tasks(results: Results, name: str) -> list[TaskSummary]:
    returns = results.table(name).mean(axis=(2, 3))
    data = results.data(name).mean(axis=2)
    space = results.plan.space
    return [
        TaskSummary(
            name,
            space.text(context),
            tuple(context.tolist()),
            tuple(returns[:, number].tolist()),
            tuple(data[:, number].tolist()),
        )
        for number, context in enumerate(results.plan.contexts(name))
    ]
