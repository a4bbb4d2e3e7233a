"""Statistics of policies over many tasks and training runs. Pure functions of numbers.

The optimality gap, the probability of improvement and the performance profile are those of Agarwal et al.
(2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", sections 4.2 and 4.3).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import ShapeError
from hyperrl.evaluation.statistics import Interval, checked, percentile_interval
from hyperrl.ranges import above

Array = NDArray[np.float64]


def optimality_gap(scores: ArrayLike, target: float = 1.0) -> Array:
    """Return by how much scores miss a target on average, over the last axis: the mean of max(0, target - s).

    What is beyond the target makes up for nothing.

    Args:
        scores: Normalised scores [..., n], 1 for the expert's.
        target: The score that is wanted.

    Raises:
        ShapeError: There is no score.
        NonFiniteError: A score is NaN or infinite.
    """
    return np.asarray(np.maximum(0.0, target - checked(scores)).mean(axis=-1))


def worst_mean(values: ArrayLike, share: float = 0.1) -> Array:
    """Return the mean of the worst share of values over the last axis, the conditional value at risk.

    Where the share is no whole number of values, the last of them counts in part (Rockafellar & Uryasev 2002,
    "Conditional value-at-risk for general loss distributions", section 4); the worst counts in any case.

    Args:
        values: Numbers [..., n], the higher the better.
        share: Of the values, above 0 and up to 1.

    Raises:
        ShapeError: There is no number.
        NonFiniteError: A number is NaN or infinite.
        ConfigError: The share is out of range.
    """
    data = np.sort(checked(values), axis=-1)
    wanted = float(above(0, 1).check("share", share)) * data.shape[-1]
    weights = np.clip(wanted - np.arange(data.shape[-1]), 0.0, 1.0)
    return np.asarray(data @ weights / weights.sum())


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Array:
    """Return which share of scores lies above each threshold.

    Args:
        scores: Scores of any shape, of all runs and tasks.
        thresholds: Shape [t].

    Returns:
        Shares [t], which never rise along rising thresholds.

    Raises:
        ShapeError: There is no score, or the thresholds are not [t].
        NonFiniteError: A score or threshold is NaN or infinite.
    """
    levels = checked(thresholds)
    if levels.ndim != 1:
        raise ShapeError(f"the thresholds must have shape [t], got {list(levels.shape)}")
    ordered = np.sort(checked(scores).reshape(-1))
    return 1.0 - np.searchsorted(ordered, levels, side="right") / ordered.size


def probability_of_improvement(left: ArrayLike, right: ArrayLike) -> float:
    """Return how likely a run of one method beats a run of another on a task, averaged over tasks.

    For each task it is the share of pairs of runs in which the left one is higher, ties counted half: the
    Mann-Whitney statistic divided by the number of pairs.

    Args:
        left: Scores of one method [tasks, runs].
        right: Scores of the other [tasks, its runs].

    Raises:
        ShapeError: They are not of the same tasks, or there is no score.
        NonFiniteError: A score is NaN or infinite.
    """
    return float(_wins(*_paired_tasks(left, right)))


def probability_of_improvement_interval(
    left: ArrayLike,
    right: ArrayLike,
    *,
    together: bool = False,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Interval:
    """Return the probability of improvement with its percentile bootstrap interval.

    The runs of each method are drawn with replacement, for each task by itself (stratified).

    Args:
        left: Scores of one method [tasks, runs].
        right: Scores of the other [tasks, its runs].
        together: Whether the same runs are drawn for all tasks: where a column is one training, whose scores
            in all tasks belong together.
        confidence: Probability that the interval covers, between 0 and 1.
        resamples: Number of resampled data sets.
        seed: Seed of the resampling.

    Raises:
        ShapeError: They are not of the same tasks, or there is no score.
        NonFiniteError: A score is NaN or infinite.
        ConfigError: The confidence, the number of resamples or the seed is out of range.
    """
    one, other = _paired_tasks(left, right)
    tasks, rows = np.arange(len(one))[:, None], 1 if together else len(one)

    def draw(generator: np.random.Generator, size: int) -> Array:
        drawn = [
            data[tasks, generator.integers(0, data.shape[1], size=(size, rows, data.shape[1]))]
            for data in (one, other)
        ]
        return _wins(*drawn)

    numbers = len(one) * one.shape[1] * other.shape[1]
    return percentile_interval(float(_wins(one, other)), draw, numbers, confidence, resamples, seed)


def paired_difference_interval(
    left: ArrayLike,
    right: ArrayLike,
    statistic: Callable[[Array], Array],
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Interval:
    """Return the difference of a statistic of two tables, whose rows belong together, with its interval.

    The percentile bootstrap draws rows, the same ones of both tables: what is common to a row, the luck of
    a training seed for example, leaves the difference.

    Args:
        left: Shape [n, a].
        right: Shape [n, b].
        statistic: Reduces the last two axes, [..., n, a] and [..., n, b].
        confidence: Probability that the interval covers, between 0 and 1.
        resamples: Number of resampled data sets.
        seed: Seed of the resampling.

    Raises:
        ShapeError: The tables have different numbers of rows, or there is no number.
        NonFiniteError: A number is NaN or infinite.
        ConfigError: The confidence, the number of resamples or the seed is out of range.
    """
    one, other = checked(left), checked(right)
    if one.ndim != 2 or other.ndim != 2 or len(one) != len(other):
        raise ShapeError(
            f"paired tables have the shapes [n, a] and [n, b], got {list(one.shape)} and {list(other.shape)}"
        )

    def draw(generator: np.random.Generator, size: int) -> Array:
        rows = generator.integers(0, len(one), size=(size, len(one)))
        return np.asarray(statistic(one[rows]) - statistic(other[rows]))

    estimate = float(statistic(one)) - float(statistic(other))
    return percentile_interval(estimate, draw, one.size + other.size, confidence, resamples, seed)


def row_bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[Array], Array],
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of a table with its percentile bootstrap interval, drawing whole rows.

    Args:
        values: Shape [n, k], rows of what belongs together, such as the tasks of one run.
        statistic: Reduces the last two axes, [..., n, k].
        confidence: Probability that the interval covers, between 0 and 1.
        resamples: Number of resampled data sets.
        seed: Seed of the resampling.

    Raises:
        ShapeError: The values are not two-dimensional, or there is none.
        NonFiniteError: A number is NaN or infinite.
        ConfigError: The confidence, the number of resamples or the seed is out of range.
    """
    data = checked(values)
    if data.ndim != 2:
        raise ShapeError(f"the values must have shape [n, k], got {list(data.shape)}")

    def draw(generator: np.random.Generator, size: int) -> Array:
        return np.asarray(statistic(data[generator.integers(0, len(data), size=(size, len(data)))]))

    return percentile_interval(float(statistic(data)), draw, data.size, confidence, resamples, seed)


def _paired_tasks(left: ArrayLike, right: ArrayLike) -> tuple[Array, Array]:
    one, other = checked(left), checked(right)
    if one.ndim != 2 or other.ndim != 2 or len(one) != len(other):
        raise ShapeError(
            "scores of two methods have the shapes [tasks, runs] with the same tasks, got "
            f"{list(one.shape)} and {list(other.shape)}"
        )
    return one, other


def _wins(left: Array, right: Array) -> Array:
    """Return the mean over tasks and pairs of [..., tasks, runs] and [..., tasks, other runs]."""
    difference = np.sign(left[..., :, None] - right[..., None, :])
    return np.asarray(((difference + 1) / 2).mean(axis=(-3, -2, -1)))
