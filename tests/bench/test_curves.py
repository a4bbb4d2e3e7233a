"""Summaries of learning curves against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hyperrl.bench.curves import Curve, band, baseline_of, read_curves, select, summarise
from hyperrl.bench.learning import COLUMNS
from hyperrl.bench.plot import plot
from hyperrl.errors import ConfigError, NonFiniteError, RunFolderError, ShapeError
from hyperrl.evaluation.statistics import t_interval


def curve(agent: str, seed: int, returns: list[float], cpu: float, env: str = "E") -> Curve:
    steps = np.arange(len(returns)) * 100.0
    times = steps * cpu / steps[-1]
    return Curve(agent, env, seed, steps, times, 2 * times, np.array(returns))


@pytest.fixture
def curves() -> list[Curve]:
    return [
        curve("td3", 0, [0, 10, 20], cpu=4),
        curve("td3", 1, [0, 20, 40], cpu=4),
        curve("hyper-td3", 0, [0, 30, 40], cpu=8),
        curve("hyper-td3", 1, [0, 30, 60], cpu=8),
        curve("hyper-td3", 7, [0, 0, 0], cpu=8),
    ]


# Published tables of the t distribution: two-sided 95 %, degrees of freedom 1, 2, 3, 9 and 30.
@pytest.mark.parametrize(
    ("n", "quantile"), [(2, 12.7062), (3, 4.3027), (4, 3.1824), (10, 2.2622), (31, 2.0423)]
)
def test_the_interval_is_students(n, quantile):
    values = np.random.default_rng(0).normal(size=n)
    interval = t_interval(values)
    half = quantile * values.std(ddof=1) / math.sqrt(n)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.high - interval.estimate == pytest.approx(half, rel=1e-4)
    assert interval.estimate - interval.low == pytest.approx(half, rel=1e-4)


def test_the_interval_covers_as_often_as_it_says():
    samples = np.random.default_rng(1).normal(size=(2000, 3))
    intervals = [t_interval(sample, confidence=0.8) for sample in samples]
    assert np.mean([i.low <= 0 <= i.high for i in intervals]) == pytest.approx(0.8, abs=0.03)


def test_an_interval_refuses_what_it_cannot_use():
    assert math.isnan(t_interval([1.0]).low)
    with pytest.raises(ShapeError):
        t_interval([[1.0, 2.0]])
    with pytest.raises(NonFiniteError):
        t_interval([1.0, math.nan])
    with pytest.raises(ConfigError, match="confidence"):
        t_interval([1.0, 2.0], confidence=1.0)


def test_the_area_is_the_mean_over_steps():
    assert curve("a", 0, [0, 10, 20], cpu=1).area() == 10
    uneven = Curve(
        "a",
        "E",
        0,
        np.array([0.0, 100.0, 400.0]),
        np.arange(3.0),
        np.arange(3.0),
        np.array([0.0, 10.0, 10.0]),
    )
    assert uneven.area() == pytest.approx((100 * 5 + 300 * 10) / 400)


def test_a_band_over_steps_averages_seeds(curves):
    positions, intervals = band(select(curves, "E", "td3"), "step")
    assert positions.tolist() == [0, 100, 200]
    assert [interval.estimate for interval in intervals] == [0, 15, 30]


def test_a_band_over_time_ends_where_the_quickest_run_does():
    runs = [curve("a", 0, [0, 10, 20], cpu=4), curve("a", 1, [0, 10, 20], cpu=8)]
    positions, intervals = band(runs, "cpu_seconds")
    assert positions.tolist() == [0, 2, 4]
    # After 4 seconds the slow run is half-way through.
    assert intervals[-1].estimate == (20 + 10) / 2


def test_the_summary_pairs_runs_by_seed(curves):
    plain, hyper = sorted(summarise(curves), key=lambda row: row["agent"], reverse=True)
    assert (plain["agent"], plain["final"], plain["area"], plain["baseline"]) == ("td3", 30, 15, "")
    assert (plain["pairs"], math.isnan(plain["final_difference"])) == (0, True)
    assert plain["cpu_seconds_per_1000_steps"] == pytest.approx(20)
    # Seed 7 has no partner and counts for the mean alone.
    assert (hyper["seeds"], hyper["pairs"], hyper["final"]) == (3, 2, pytest.approx(100 / 3))
    assert (hyper["final_difference"], hyper["final_difference_low"]) == (20, 20)
    assert hyper["area_difference"] == pytest.approx(((25 - 10) + (30 - 20)) / 2)
    # Equal CPU time is the plain agent's 4 seconds, when the other is at step 100.
    assert hyper["at_equal_cpu_difference"] == ((30 - 20) + (30 - 40)) / 2
    assert hyper["cpu_ratio"] == 2


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("hyper-td3", "td3"),
        ("hyper-td3@paper", "td3"),
        ("hyper-sac", None),
        ("td3", None),
        ("td3@compact", "td3"),
    ],
)
def test_the_baseline_is_the_plain_algorithm(agent, expected):
    assert baseline_of(agent, ["td3", agent]) == expected


def test_curves_are_read_as_they_were_written(tmp_path):
    lines = [",".join(COLUMNS)]
    for step, returns in ((0, (1, 3)), (100, (5, 9))):
        lines += [f"td3,E,2,{step},{i},{value},10,{step / 10},{step / 20}" for i, value in enumerate(returns)]
    (tmp_path / "one.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "killed.csv.part").write_text(lines[0])
    (found,) = read_curves(tmp_path)
    assert (found.agent, found.env, found.seed) == ("td3", "E", 2)
    assert found.returns.tolist() == [2, 7]
    assert found.wall_seconds.tolist() == [0, 10]
    assert found.cpu_seconds.tolist() == [0, 5]


@pytest.mark.parametrize("body", ["", "td3,E,0,0,0,1,1,0,0\n", "td3,E,0,x,0,1,1,0,0\n"])
def test_a_broken_curve_is_named(tmp_path, body):
    (tmp_path / "bad.csv").write_text(",".join(COLUMNS) + "\n" + body)
    with pytest.raises(RunFolderError, match=r"bad\.csv"):
        read_curves(tmp_path)


def test_a_picture_is_a_png_and_shows_every_agent(tmp_path, curves):
    plot(curves, "E", tmp_path / "E.png")
    assert (tmp_path / "E.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RunFolderError, match="cannot be written"):
        plot(curves, "E", tmp_path / "missing" / "E.png")
