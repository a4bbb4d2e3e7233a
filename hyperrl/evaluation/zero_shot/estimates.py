"""Estimates with intervals from returns over runs, contexts and episodes.

Episodes are averaged first. Where there are several runs they are what is drawn again: the interval is for
another training. For one run its episodes are: the interval is for other starts of the same policy.
"""

from __future__ import annotations

import numpy as np

from hyperrl.context.space import Array
from hyperrl.errors import ShapeError
from hyperrl.evaluation.scores import paired_difference_interval, row_bootstrap_interval, worst_mean
from hyperrl.evaluation.statistics import Interval, Statistic, iqm, stratified_bootstrap_interval

RESAMPLES = 2_000


def interval(returns: Array, statistic: Statistic = iqm, *, resamples: int = RESAMPLES) -> Interval:
    """Return a statistic with its stratified bootstrap interval, for which contexts are the strata.

    Args:
        returns: Shape [runs, contexts, episodes].
        statistic: Of the mean returns of all runs in all contexts, which it reduces as the last axis.
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

    Runs (of one run: episodes) are drawn for all contexts together. Drawn for each context by itself, those
    with bad luck would be the worst, and the interval would lie below the estimate.

    Args:
        returns: Shape [runs, contexts, episodes].
        resamples: Number of resampled data sets.

    Raises:
        ShapeError: The shape is another, or there is no number.
        NonFiniteError: A number is NaN or infinite.
    """
    data = _checked(returns)
    rows = data[0].T if len(data) == 1 else data.mean(axis=2)
    return row_bootstrap_interval(rows, lambda drawn: worst_mean(drawn.mean(axis=-2)), resamples=resamples)


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
    single = len(one) == 1

    def of_rows(rows: Array) -> Array:
        means = rows.mean(axis=-2) if single else rows.reshape(*rows.shape[:-2], -1)
        return np.asarray(statistic(means))

    tables = (one[0].T, other[0].T) if single else (one.mean(axis=2), other.mean(axis=2))
    return paired_difference_interval(*tables, of_rows, resamples=resamples)


def _checked(returns: Array) -> Array:
    data = np.asarray(returns, np.float64)
    if data.ndim != 3 or not data.size:
        raise ShapeError(f"returns have the shape [runs, contexts, episodes], got {list(data.shape)}")
    return data
