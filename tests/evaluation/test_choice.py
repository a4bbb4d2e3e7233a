"""Choosing among policies: rules on numbers that can be checked by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from hyperrl.errors import ConfigError
from hyperrl.evaluation.choice import (
    Candidate,
    Limits,
    better_half,
    choose,
    overlooked,
    pareto_front,
    size_classes,
)
from hyperrl.evaluation.statistics import Interval
from hyperrl.exporters.budget import budget_of


def candidate(width, estimate, spread=1.0):
    """A policy 18 -> width -> 4, which has 23 parameters for each neuron and 4 more."""
    budget = budget_of([18, width, 4])
    returns = Interval(estimate, estimate - spread, estimate + spread)
    return Candidate((width,), budget, 10, returns, True)


CANDIDATES = [candidate(4, 50), candidate(8, 40), candidate(16, 80), candidate(32, 79), candidate(64, 100)]


def test_the_front_has_each_policy_that_no_smaller_one_equals():
    assert [one.architecture for one in pareto_front(CANDIDATES)] == [(4,), (16,), (64,)]
    assert [one.architecture for one in pareto_front(CANDIDATES[::-1])] == [(4,), (16,), (64,)]


def test_of_two_of_one_size_the_better_is_in_front():
    same = [candidate(4, 10), candidate(4, 20)]
    assert [one.returns.estimate for one in pareto_front(same)] == [20]


@pytest.mark.parametrize(
    ("limits", "width"),
    [
        ({}, 64),
        ({"max_params": 1475}, 32 // 2),
        ({"max_params": 371}, 4),
        ({"max_macs": 22 * 16}, 16),
        ({"max_macs": 22 * 16 - 1}, 4),
        ({"min_return": 49}, 4),
        ({"min_return": 49.5}, 16),
        ({"min_return": 79, "max_params": 400}, 16),
    ],
)
def test_limits(limits, width):
    assert choose(CANDIDATES, Limits(**limits)).architecture == (width,)


def test_flash_and_deadline_are_limits_too():
    small, large = CANDIDATES[0], CANDIDATES[2]
    assert choose(CANDIDATES, Limits(max_flash=large.budget.flash_bytes)).architecture == (16,)
    longest = small.budget.microseconds("STM32F405")[1]
    assert choose(CANDIDATES, Limits(deadline_us=longest, mcu="STM32F405")).architecture == (4,)


def test_what_nothing_fulfils_is_said_in_a_sentence():
    with pytest.raises(ConfigError, match=r"the smallest, \[4\], has 96 parameters, 88 multiply"):
        choose(CANDIDATES, Limits(max_params=95))
    with pytest.raises(ConfigError, match=r"the best, \[64\], has 100.0 with a 95 % interval from 99.0"):
        choose(CANDIDATES, Limits(min_return=99.5))
    with pytest.raises(ConfigError, match="a deadline needs the microcontroller"):
        Limits(deadline_us=3.0)
    for name, value in (
        ("max_params", 0),
        ("deadline_us", -1),
        ("deadline_us", "a"),
        ("min_return", math.nan),
    ):
        with pytest.raises(ConfigError, match=f"{name} must be"):
            Limits(**{name: value}, mcu="STM32F405")


def test_finalists_within_limits_are_made_where_those_beyond_them_took_their_places():
    # 96, 119 and 142 parameters; 165 and 188.
    few, many = (
        [candidate(width, width) for width in (4, 5)],
        [candidate(width, width) for width in (6, 7, 8)],
    )
    candidates = [
        *(dataclasses.replace(one, is_finalist=False) for one in few[:1]),
        few[1],
        *(dataclasses.replace(one, is_finalist=False) for one in many[:2]),
        many[2],
    ]
    assert overlooked(candidates, Limits(), 1) == []
    assert overlooked(candidates, Limits(max_params=100), 1) == [0]
    assert overlooked(candidates, Limits(max_params=170), 1) == [3]
    assert overlooked(candidates, Limits(max_params=170), 2) == [0, 2, 3]


def test_a_class_has_sizes_up_to_twice_those_of_the_last():
    assert size_classes([1, 2, 3, 4, 127, 128, 255, 256]) == [1, 2, 2, 3, 7, 8, 8, 9]


def test_halving_keeps_the_better_of_each_class():
    assert better_half([1, 5, 3, 9, 2, 8], [0, 0, 0, 1, 1, 1]) == [1, 2, 3, 5]
    assert better_half([1, 5, 3, 9], [0, 0, 0, 0], keep=3) == [1, 2, 3]
    assert better_half([1.0, 1.0], [0, 0]) == [0]
