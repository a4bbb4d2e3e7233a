"""Interleaving, ratios within rounds, and refusals."""

from __future__ import annotations

import time

import pytest
import torch

from hyperrl.bench.timing import Spread, Timings, calls_for, deciding_clock, interleave, prepare
from hyperrl.errors import ConfigError, UnknownNameError


def test_a_ratio_compares_within_rounds():
    # The machine is twice as slow in the second round, and every ratio by CPU time stays 3.
    timings = Timings({"base": [1.0, 2.0], "slow": [3.0, 6.0]}, {"base": [1.0, 1.0], "slow": [1.0, 4.0]})
    assert timings.ratio("slow", "base", "cpu") == Spread(3.0, 3.0, 3.0)
    assert timings.ratio("slow", "base", "wall") == Spread(2.5, 1.0, 4.0)
    assert timings.seconds("slow", "cpu") == Spread(4.5, 3.0, 6.0)


def test_variants_take_turns_and_the_order_rotates():
    called: list[str] = []
    variants = {name: lambda name=name: called.append(name) for name in "abc"}
    interleave(variants, rounds=3, calls={"a": 2, "b": 1, "c": 1}, warm_up=1)
    assert "".join(called) == "aaabbcc" + "bbccaaa" + "ccaaabb"


def test_waiting_costs_the_walls_clock_and_no_cpu_time():
    timings = interleave({"sleep": lambda: time.sleep(0.02)}, rounds=1, calls=2, warm_up=0)
    assert timings.seconds("sleep", "wall").median >= 0.02
    assert timings.seconds("sleep", "cpu").median < timings.seconds("sleep", "wall").median


def test_a_clock_that_stands_still_gives_a_finite_ratio():
    timings = Timings({"base": [0.0], "other": [0.0]}, {"base": [0.0], "other": [0.0]})
    assert timings.ratio("other", "base", "cpu").median == 0.0


def test_long_work_is_called_once_a_block():
    assert calls_for(lambda: time.sleep(0.02), 0.001) == 1


def test_a_gpu_is_judged_by_the_walls_clock():
    assert (deciding_clock("cpu"), deciding_clock("cuda")) == ("cpu", "wall")


def test_wrong_settings_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'cuda'"):
        prepare("cudo", 1)
    with pytest.raises(ConfigError, match="threads must be a whole number from 1"):
        prepare("cpu", 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="torch finds no GPU here"):
        prepare("cuda", 1)
