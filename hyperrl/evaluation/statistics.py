"""Statistics of returns: mean, interquartile mean, bootstrap intervals. Pure functions of numbers.

The interquartile mean and the stratified bootstrap are those that Agarwal et al. (2021, "Deep Reinforcement
Learning at the Edge of the Statistical Precipice") recommend for few runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import ConfigError, NonFiniteError, ShapeError
from hyperrl.ranges import Range, whole

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Reduces the last axis of an array."""

_CHUNK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        estimate: The statistic of the data.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    estimate: float
    low: float
    high: float


def mean(values: ArrayLike) -> NDArray[np.float64]:
    """Return the arithmetic mean over the last axis.

    Args:
        values: Numbers of shape [..., n], n at least 1.

    Raises:
        ShapeError: There is no number.
        NonFiniteError: A number is NaN or infinite.
    """
    return np.asarray(checked(values).mean(axis=-1))


def iqm(values: ArrayLike) -> NDArray[np.float64]:
    """Return the interquartile mean over the last axis: the mean without the lowest and the highest quarter.

    A quarter is rounded down to whole numbers of values, so that up to three values have their plain mean.

    Args:
        values: Numbers of shape [..., n], n at least 1.

    Raises:
        ShapeError: There is no number.
        NonFiniteError: A number is NaN or infinite.
    """
    data = np.sort(checked(values), axis=-1)
    cut = data.shape[-1] // 4
    return np.asarray(data[..., cut : data.shape[-1] - cut].mean(axis=-1))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = mean,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return a statistic of a sample with its percentile bootstrap interval.

    Args:
        values: Numbers of shape [n].
        statistic: `mean`, `iqm` or another function that reduces the last axis.
        confidence: Probability that the interval covers, between 0 and 1.
        resamples: Number of resampled data sets.
        seed: Seed of the resampling.

    Raises:
        ShapeError: The values are not one-dimensional, or there is none.
        NonFiniteError: A number is NaN or infinite.
        ConfigError: The confidence, the number of resamples or the seed is out of range.
    """
    data = checked(values)
    if data.ndim != 1:
        raise ShapeError(f"the values must have shape [n], got {list(data.shape)}")
    return stratified_bootstrap_interval(
        data[None], statistic, confidence=confidence, resamples=resamples, seed=seed
    )


def stratified_bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = mean,
    *,
    resample_strata: bool = False,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return a statistic over all values with a percentile bootstrap interval that respects their groups.

    Each resampled data set draws as many values from a stratum, with replacement, as it has. With rows of
    training seeds and columns of episodes this is the uncertainty for these very seeds; `resample_strata`
    draws the seeds with replacement too, which gives the uncertainty for new seeds.

    Args:
        values: Numbers of shape [strata, n].
        statistic: `mean`, `iqm` or another function that reduces the last axis; it sees all strata in one
            row.
        resample_strata: Whether strata are drawn with replacement before their values are.
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
        raise ShapeError(f"the values must have shape [strata, n], got {list(data.shape)}")

    def draw(generator: np.random.Generator, size: int) -> NDArray[np.float64]:
        return np.asarray(statistic(_resample(data, size, generator, resample_strata)))

    estimate = float(statistic(data.reshape(-1)))
    return percentile_interval(estimate, draw, data.size, confidence, resamples, seed)


def percentile_interval(
    estimate: float,
    draw: Callable[[np.random.Generator, int], NDArray[np.float64]],
    numbers: int,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """Return an estimate with the percentiles of drawn ones.

    Args:
        estimate: The estimate.
        draw: Takes a generator and a number, and returns so many drawn estimates.
        numbers: How many numbers each of them takes; memory is bounded by it.
        confidence: Probability that the interval covers, between 0 and 1.
        resamples: Number of drawn estimates.
        seed: Seed of the generator.

    Raises:
        ConfigError: The confidence, the number of resamples or the seed is out of range.
    """
    if not 0 < Range(0, 1).check("confidence", confidence) < 1:
        raise ConfigError(f"confidence must be between 0 and 1, such as 0.95, got {confidence!r}")
    count = int(whole(1, 1e9).check("resamples", resamples))
    generator = np.random.default_rng(int(whole(0).check("seed", seed)))
    chunk = max(1, _CHUNK_NUMBERS // numbers)
    drawn = [draw(generator, min(chunk, count - start)) for start in range(0, count, chunk)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))


def t_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return the mean of a sample with Student's t interval.

    For three to ten training seeds, of which a bootstrap has too few and comes out too narrow.

    Args:
        values: Numbers of shape [n].
        confidence: Probability that the interval covers, between 0 and 1.

    Returns:
        The interval; its ends are NaN for a single value, which says nothing of its spread.

    Raises:
        ShapeError: The values are not one-dimensional, or there is none.
        NonFiniteError: A number is NaN or infinite.
        ConfigError: The confidence is out of range.
    """
    data = checked(values)
    if data.ndim != 1:
        raise ShapeError(f"the values must have shape [n], got {list(data.shape)}")
    if not 0 < Range(0, 1).check("confidence", confidence) < 1:
        raise ConfigError(f"confidence must be between 0 and 1, such as 0.95, got {confidence!r}")
    centre = float(data.mean())
    if data.size == 1:
        return Interval(centre, math.nan, math.nan)
    error = float(data.std(ddof=1)) / math.sqrt(data.size)
    half = _t_quantile(confidence, data.size - 1) * error
    return Interval(centre, centre - half, centre + half)


def _t_quantile(probability: float, freedom: int) -> float:
    """Return t with P(|T| < t) = probability, by bisection of the angle atan(t / sqrt(freedom))."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _t_probability(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _t_probability(angle: float, freedom: int) -> float:
    """Return P(|T| < sqrt(freedom) tan(angle)), by Abramowitz and Stegun's finite sums 26.7.3 and 26.7.4."""
    cosine = math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for index in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (index + 1) / (index + 2)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def _resample(
    data: NDArray[np.float64],
    size: int,
    generator: np.random.Generator,
    resample_strata: bool,
) -> NDArray[np.float64]:
    """Return [size, strata * n] values."""
    strata, n = data.shape
    columns = generator.integers(0, n, size=(size, strata, n))
    if resample_strata:
        rows = generator.integers(0, strata, size=(size, strata, 1))
    else:
        rows = np.arange(strata)[None, :, None]
    return data[rows, columns].reshape(size, strata * n)


def checked(values: ArrayLike) -> NDArray[np.float64]:
    """Return numbers as an array.

    Args:
        values: Numbers of shape [..., n], n at least 1.

    Raises:
        ShapeError: There is no number.
        NonFiniteError: A number is NaN or infinite.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim == 0 or data.size == 0:
        raise ShapeError(f"at least one value is needed, got an array of shape {list(data.shape)}")
    if not np.isfinite(data).all():
        raise NonFiniteError("the values must be finite, but some are NaN or infinite")
    return data
