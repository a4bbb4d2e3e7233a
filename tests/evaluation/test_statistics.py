import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperrl.errors import ConfigError, NonFiniteError, ShapeError
from hyperrl.evaluation.statistics import bootstrap_interval, iqm, mean, stratified_bootstrap_interval

FINITE = st.floats(-1e6, 1e6)


def exact_quantile(values, q):
    return np.quantile(np.array(values), q)


@given(st.lists(FINITE, min_size=1, max_size=30))
def test_iqm_is_the_mean_of_what_is_left_after_cutting_a_quarter_on_each_side(values):
    rest = sorted(values)
    for _ in range(len(values) // 4):
        rest.remove(max(rest))
        rest.remove(min(rest))
    assert iqm(values) == pytest.approx(math.fsum(rest) / len(rest), abs=1e-6)


def test_iqm_of_known_numbers():
    assert iqm([1, 2, 3, 4]) == 2.5
    assert iqm([0, 1, 2, 3, 4, 5, 6, 1000]) == 3.5
    assert iqm([7.0]) == 7
    assert iqm([1, 2, 30]) == 11


def test_statistics_reduce_the_last_axis():
    data = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_allclose(mean(data), data.mean(axis=-1))
    np.testing.assert_allclose(iqm(data), data[..., 1:3].mean(axis=-1))


@given(st.lists(FINITE, min_size=2, max_size=12), st.floats(0.1, 10), FINITE)
def test_iqm_moves_with_scale_and_shift(values, scale, shift):
    moved = np.array(values) * scale + shift
    assert iqm(moved) == pytest.approx(float(iqm(values)) * scale + shift, rel=1e-9, abs=1e-4)


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_the_bootstrap_agrees_with_all_resamples(statistic):
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    everything = [float(statistic(np.array(draw))) for draw in itertools.product(values, repeat=5)]
    interval = bootstrap_interval(values, statistic, confidence=0.8, resamples=100_000)
    assert interval.estimate == float(statistic(np.array(values)))
    assert interval.low == pytest.approx(exact_quantile(everything, 0.1), abs=0.15)
    assert interval.high == pytest.approx(exact_quantile(everything, 0.9), abs=0.15)


def test_the_stratified_bootstrap_agrees_with_all_resamples():
    data = np.array([[0.0, 3.0], [100.0, 109.0], [50.0, 51.0]])
    draws = itertools.product(*(itertools.product(row, repeat=2) for row in data))
    everything = [np.mean(draw) for draw in draws]
    interval = stratified_bootstrap_interval(data, confidence=0.8, resamples=100_000)
    assert interval.estimate == pytest.approx(data.mean())
    assert interval.low == pytest.approx(exact_quantile(everything, 0.1), abs=0.2)
    assert interval.high == pytest.approx(exact_quantile(everything, 0.9), abs=0.2)


def test_resampled_strata_agree_with_all_resamples():
    data = np.array([[0.0, 4.0], [10.0, 12.0]])
    everything = [
        np.mean([draw_a, draw_b])
        for rows in itertools.product((0, 1), repeat=2)
        for draw_a in itertools.product(data[rows[0]], repeat=2)
        for draw_b in itertools.product(data[rows[1]], repeat=2)
    ]
    interval = stratified_bootstrap_interval(data, resample_strata=True, confidence=0.8, resamples=100_000)
    assert interval.low == pytest.approx(exact_quantile(everything, 0.1), abs=0.2)
    assert interval.high == pytest.approx(exact_quantile(everything, 0.9), abs=0.2)


def test_strata_without_spread_have_no_uncertainty_of_their_own():
    data = np.array([[1.0, 1.0], [5.0, 5.0]])
    fixed = stratified_bootstrap_interval(data)
    assert (fixed.low, fixed.estimate, fixed.high) == (3, 3, 3)
    new_seeds = stratified_bootstrap_interval(data, resample_strata=True)
    assert (new_seeds.low, new_seeds.high) == (1, 5)


def test_the_interval_of_a_mean_has_the_width_of_the_normal_theory():
    values = np.random.default_rng(0).normal(10, 2, 400)
    interval = bootstrap_interval(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)


def test_the_seed_decides_and_chunks_do_not(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    first = bootstrap_interval(values, iqm, resamples=1000)
    assert bootstrap_interval(values, iqm, resamples=1000) == first
    assert bootstrap_interval(values, iqm, resamples=1000, seed=1) != first
    monkeypatch.setattr("hyperrl.evaluation.statistics._CHUNK_NUMBERS", 50 * 7)
    assert bootstrap_interval(values, iqm, resamples=1000).low == pytest.approx(first.low, abs=0.05)


@pytest.mark.parametrize("function", [mean, iqm, bootstrap_interval])
def test_wrong_values_are_refused(function):
    with pytest.raises(ShapeError, match="at least one value"):
        function([])
    with pytest.raises(ShapeError, match="at least one value"):
        function(3.0)
    with pytest.raises(NonFiniteError, match="must be finite"):
        function([1.0, float("nan")])


def test_wrong_shapes_and_numbers_are_refused():
    with pytest.raises(ShapeError, match=r"shape \[n\], got \[1, 2\]"):
        bootstrap_interval([[1.0, 2.0]])
    with pytest.raises(ShapeError, match=r"shape \[strata, n\], got \[2\]"):
        stratified_bootstrap_interval([1.0, 2.0])
    for confidence in (0, 1, -0.1, 2, float("nan")):
        with pytest.raises(ConfigError, match="confidence must be"):
            bootstrap_interval([1.0], confidence=confidence)
    with pytest.raises(ConfigError, match="resamples must be"):
        bootstrap_interval([1.0], resamples=0)
    with pytest.raises(ConfigError, match="seed must be"):
        bootstrap_interval([1.0], seed=-1)
