"""Estimates with intervals from returns over runs, contexts and episodes.

Episodes are averaged first. Where there are several runs they are what is drawn again, each with all of its
contexts: the interval is for another training. A run that is good in one context is often good in all, and
drawing runs for each context by itself would average that luck away. For one run its episodes are drawn, each
reset in all contexts together: the interval is for other starts of the same policy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hyperrl.context.space import Array
from hyperrl.errors import ShapeError
from hyperrl.evaluation.scores import paired_difference_interval, row_bootstrap_interval, worst_mean
from hyperrl.evaluation.statistics import Interval, Statistic, iqm, stratified_bootstrap_interval

RESAMPLES = 2_000


def interval(returns: Array, statistic: Statistic = iqm, *, resamples: int = RESAMPLES) -> Interval:
    """Return a statistic with its bootstrap interval, for which whole runs (of one run: resets) are drawn.

    Args:
        returns: Shape [runs, contexts, episodes].
        statistic: Of the mean returns of all runs in all contexts, which it reduces as the last axis.
        resamples: Number of resampled data sets.

    Raises:
        ShapeError: The shape is another, or there is no number.
        NonFiniteError: A number is NaN or infinite.
    """
    data = _checked(returns)
    return row_bootstrap_interval(_rows(data), _of_rows(statistic, len(data)), resamples=resamples)


def stratified_interval(
    returns: Array, statistic: Statistic = iqm, *, resamples: int = RESAMPLES
) -> Interval:
    """Return a statistic with its stratified bootstrap interval, for which contexts are the strata.

    Runs (of one run: episodes) are drawn in each context by itself, as Agarwal et al. (2021) do for tasks
    that have training runs of their own. One run's contexts are no such tasks: the interval is too narrow
    where runs differ as wholes.

    Args:
        returns: Shape [runs, contexts, episodes].
        statistic: As in `interval`.
        resamples: Number of resampled data sets.

    Raises:
        ShapeError: The shape is another, or there is no number.
        NonFiniteError: A number is NaN or infinite.
    """
    data = _checked(returns)
    values = data.mean(axis=2).T if len(data) > 1 else data[0]

    def of_all(drawn: Array) -> Array:
        if len(data) == 1:
            drawn = drawn.reshape(*drawn.shape[:-1], *values.shape).mean(axis=-1)
        return np.asarray(statistic(drawn))

    return stratified_bootstrap_interval(values, of_all, resamples=resamples)


def worst_interval(returns: Array, *, resamples: int = RESAMPLES) -> Interval:
    """Return the mean over the worst tenth of the contexts, runs averaged before, with its interval.

    Args:
        returns: Shape [runs, contexts, episodes].
        resamples: Number of resampled data sets.

    Raises:
        ShapeError: The shape is another, or there is no number.
        NonFiniteError: A number is NaN or infinite.
    """
    data = _checked(returns)
    return row_bootstrap_interval(
        _rows(data), lambda drawn: worst_mean(drawn.mean(axis=-2)), resamples=resamples
    )


def difference(
    left: Array, right: Array, statistic: Statistic = iqm, *, resamples: int = RESAMPLES
) -> Interval:
    """Return the difference of a statistic of two sets of contexts, paired by run, with its interval.

    For one run it is paired by episode, as these have the same starts in all contexts.

    Args:
        left: Shape [runs, contexts, episodes].
        right: Shape [the same runs, its contexts, the same episodes].
        statistic: Of the mean returns, which it reduces as the last axis.
        resamples: Number of resampled data sets.

    Raises:
        ShapeError: The shapes do not go together.
        NonFiniteError: A number is NaN or infinite.
    """
    one, other = _checked(left), _checked(right)
    if len(one) != len(other):
        raise ShapeError(
            f"what is paired by run has as many runs on both sides, got {len(one)}, {len(other)}"
        )
    return paired_difference_interval(
        _rows(one), _rows(other), _of_rows(statistic, len(one)), resamples=resamples
    )


def _rows(data: Array) -> Array:
    """Return what is drawn: runs [runs, contexts], or the episodes of one run [episodes, contexts]."""
    return data[0].T if len(data) == 1 else np.asarray(data.mean(axis=2))


def _of_rows(statistic: Statistic, runs: int) -> Callable[[Array], Array]:
    """Return a statistic of drawn rows [..., rows, contexts]; episodes are averaged first."""

    def reduced(rows: Array) -> Array:
        means = rows.mean(axis=-2) if runs == 1 else rows.reshape(*rows.shape[:-2], -1)
        return np.asarray(statistic(means))

    return reduced


def _checked(returns: Array) -> Array:
    data = np.asarray(returns, np.float64)
    if data.ndim != 3 or not data.size:
        raise ShapeError(f"returns have the shape [runs, contexts, episodes], got {list(data.shape)}")
    return data
