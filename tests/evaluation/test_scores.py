"""Statistics over tasks and runs: by hand, by enumeration, and against rliable's values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hyperrl.errors import ConfigError, NonFiniteError, ShapeError
from hyperrl.evaluation.scores import (
    optimality_gap,
    paired_difference_interval,
    performance_profile,
    probability_of_improvement,
    probability_of_improvement_interval,
    worst_mean,
)
from hyperrl.evaluation.statistics import iqm, stratified_bootstrap_interval

# Scores of two methods, [runs, tasks], drawn once from gamma distributions and rounded, with one tie.
METHOD_X = np.array(
    [
        [0.34, 0.09, 1.05, 0.52, 0.54],
        [1.11, 0.63, 0.75, 0.48, 0.60],
        [0.45, 0.55, 1.06, 0.36, 0.21],
        [0.23, 0.44, 1.20, 0.31, 0.43],
        [0.96, 0.78, 0.32, 1.02, 2.55],
        [3.05, 0.34, 1.19, 1.32, 0.66],
    ]
)
METHOD_Y = np.array(
    [
        [0.34, 0.52, 0.34, 0.21, 1.98],
        [1.01, 0.95, 0.46, 0.51, 1.16],
        [0.48, 0.72, 0.45, 0.49, 1.17],
        [0.26, 0.71, 1.35, 0.10, 0.25],
    ]
)
# What rliable 1.2.0 (with arch 7.2.0, scipy 1.17.1) gives for them: metrics.aggregate_iqm,
# metrics.aggregate_optimality_gap, metrics.probability_of_improvement(x, y),
# library.create_performance_profile at THRESHOLDS; library.get_interval_estimates with reps=50000 for the
# ends of IQM and gap of x, with reps=5000 for the probability of improvement.
THRESHOLDS = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0]
RLIABLE = {
    "iqm": (0.6387499999999999, 0.563),
    "gap": (0.3670000000000001, 0.4105),
    "improvement": 0.5041666666666667,
    "profile_x": [1.0, 0.9, 0.6, 0.36666666666666664, 0.3, 0.06666666666666667, 0.06666666666666667],
    "profile_y": [1.0, 0.85, 0.5, 0.3, 0.25, 0.05, 0.0],
    "iqm_ends": (0.481875, 0.81125),
    "gap_ends": (0.272333, 0.463),
    "improvement_ends": (0.341667, 0.666667),
}


def test_the_aggregates_are_those_of_rliable():
    for number, scores in enumerate((METHOD_X, METHOD_Y)):
        assert float(iqm(scores.reshape(-1))) == pytest.approx(RLIABLE["iqm"][number], abs=1e-12)
        assert float(optimality_gap(scores.reshape(-1))) == pytest.approx(RLIABLE["gap"][number], abs=1e-12)
    improvement = probability_of_improvement(METHOD_X.T, METHOD_Y.T)
    assert improvement == pytest.approx(RLIABLE["improvement"], abs=1e-12)
    np.testing.assert_allclose(performance_profile(METHOD_X, THRESHOLDS), RLIABLE["profile_x"], atol=1e-12)
    np.testing.assert_allclose(performance_profile(METHOD_Y, THRESHOLDS), RLIABLE["profile_y"], atol=1e-12)


@pytest.mark.parametrize(("statistic", "ends"), [(iqm, "iqm_ends"), (optimality_gap, "gap_ends")])
def test_the_stratified_bootstrap_is_that_of_rliable(statistic, ends):
    interval = stratified_bootstrap_interval(METHOD_X.T, statistic, resamples=50_000)
    assert (interval.low, interval.high) == pytest.approx(RLIABLE[ends], abs=0.006)


def test_the_interval_of_an_improvement_is_that_of_rliable():
    interval = probability_of_improvement_interval(METHOD_X.T, METHOD_Y.T, resamples=20_000)
    assert interval.estimate == pytest.approx(RLIABLE["improvement"])
    assert (interval.low, interval.high) == pytest.approx(RLIABLE["improvement_ends"], abs=0.01)


def test_the_optimality_gap_by_hand():
    # Above the target counts as reaching it: (0.5 + 0 + 1.2) / 3.
    assert float(optimality_gap([0.5, 3.0, -0.2])) == pytest.approx(1.7 / 3)
    assert float(optimality_gap([0.5, 3.0], target=4.0)) == pytest.approx(2.25)


def test_the_mean_of_the_worst_by_hand():
    values = [9.0, 1.0, 5.0, 3.0, 7.0]
    assert float(worst_mean(values, 0.2)) == 1
    assert float(worst_mean(values, 0.4)) == 2
    # Two and a half values of five: 1, 3 and half of 5.
    assert float(worst_mean(values, 0.5)) == pytest.approx((1 + 3 + 2.5) / 2.5)
    # A tenth of five values is half a value: the worst.
    assert float(worst_mean(values)) == 1
    assert float(worst_mean(values, 1.0)) == pytest.approx(5)
    np.testing.assert_allclose(worst_mean(np.array([values, [0.0] * 5]), 0.4), [2, 0])


def test_a_profile_is_strict_and_falls():
    np.testing.assert_allclose(
        performance_profile([[1.0, 2.0], [2.0, 4.0]], [0, 1, 2, 4]), [1, 0.75, 0.25, 0]
    )


def test_the_probability_of_improvement_by_hand():
    # Task 1: of four pairs two are higher and one is a tie; task 2: all are lower.
    left, right = [[1.0, 3.0], [0.0, 0.0]], [[1.0, 2.0], [5.0, 6.0]]
    assert probability_of_improvement(left, right) == pytest.approx((2.5 / 4 + 0) / 2)
    assert probability_of_improvement(right, left) == pytest.approx(1 - (2.5 / 4 + 0) / 2)


def test_an_improvement_agrees_with_all_resamples():
    left, right = np.array([[1.0, 4.0], [0.0, 3.0]]), np.array([[2.0, 3.0], [1.0, 2.0]])
    draws = [list(itertools.product(row, repeat=2)) for row in (*left, *right)]
    everything = [probability_of_improvement([a, b], [c, d]) for a, b, c, d in itertools.product(*draws)]
    interval = probability_of_improvement_interval(left, right, confidence=0.8, resamples=50_000)
    assert interval.low == pytest.approx(np.quantile(everything, 0.1), abs=0.01)
    assert interval.high == pytest.approx(np.quantile(everything, 0.9), abs=0.01)


def test_a_paired_difference_agrees_with_all_resamples_and_rows_stay_together():
    left, right = np.array([[1.0, 3.0], [11.0, 13.0], [21.0, 23.0]]), np.array([[0.0], [10.0], [17.0]])

    def average(rows):
        return rows.mean(axis=(-2, -1))

    own = [2.0, 2.0, 5.0]  # Of each row by itself.
    everything = [np.mean(draw) for draw in itertools.product(own, repeat=3)]
    interval = paired_difference_interval(left, right, average, confidence=0.9, resamples=50_000)
    assert interval.estimate == pytest.approx(3)
    assert interval.low == pytest.approx(np.quantile(everything, 0.05), abs=0.02)
    assert interval.high == pytest.approx(np.quantile(everything, 0.95), abs=0.02)


def test_the_seed_decides_and_chunks_do_not(monkeypatch):
    first = probability_of_improvement_interval(METHOD_X.T, METHOD_Y.T)
    assert probability_of_improvement_interval(METHOD_X.T, METHOD_Y.T) == first
    monkeypatch.setattr("hyperrl.evaluation.statistics._CHUNK_NUMBERS", 5 * 24 * 7)
    assert probability_of_improvement_interval(METHOD_X.T, METHOD_Y.T).low == pytest.approx(
        first.low, abs=0.03
    )


def test_wrong_scores_are_refused():
    with pytest.raises(ShapeError, match=r"the same tasks, got \[2, 1\] and \[1, 1\]"):
        probability_of_improvement([[1.0], [2.0]], [[1.0]])
    with pytest.raises(ShapeError, match=r"\[n, a\] and \[n, b\]"):
        paired_difference_interval([[1.0], [2.0]], [[1.0]], lambda rows: rows.mean(axis=(-2, -1)))
    with pytest.raises(ShapeError, match=r"shape \[t\]"):
        performance_profile([1.0], [[1.0]])
    with pytest.raises(NonFiniteError):
        optimality_gap([float("nan")])
    with pytest.raises(ConfigError, match="share must be"):
        worst_mean([1.0], 0.0)
    with pytest.raises(ConfigError, match="confidence must be"):
        probability_of_improvement_interval([[1.0]], [[1.0]], confidence=1.0)
    with pytest.raises(ConfigError, match="resamples must be"):
        probability_of_improvement_interval([[1.0]], [[1.0]], resamples=0)


def test_the_probability_of_improvement_with_the_same_runs_in_all_tasks():
    """One of two runs wins everywhere, the other nowhere: a draw has both, or one twice."""
    left, right = np.tile([0.0, 2.0], (40, 1)), np.ones((40, 1))
    together = probability_of_improvement_interval(left, right, together=True)
    assert (together.low, together.estimate, together.high) == (0, 0.5, 1)
    apart = probability_of_improvement_interval(left, right)
    # The mean over 40 tasks and 2 draws of a coin.
    assert apart.high - apart.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(80), rel=0.2)
