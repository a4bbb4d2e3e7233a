"""The benchmark of the GPU simulation: what it compares, and how it judges."""

from __future__ import annotations

import csv
import dataclasses
import sys

import pytest

from hyperrl.bench import warp
from hyperrl.cli import main
from tests.envs.warp.cases import NEEDS_WARP

NEEDS_TIME = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_on_a_gpu_it_measures_the_gated_target():
    (each,) = warp.comparisons("cuda")
    assert (each.env_id, each.worlds, each.variants) == ("HalfCheetah-v5", 8192, ("captured", "eager"))
    assert (each.floors, each.least) == ({("captured", "eager"): 8.0}, 500_000)
    assert [(c.worlds, len(c.variants)) for c in warp.comparisons("cpu")] == [(8, 3), (64, 3)]


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "warp", None)
    assert main(["bench", "warp", "--quick", "--out", str(tmp_path)]) == 2
    assert "pip install -e '.[warp]'" in capsys.readouterr().err
    assert main(["bench", "warp", "--device", "tpu", "--out", str(tmp_path)]) == 2
    assert "device" in capsys.readouterr().err


def slow(test):
    for mark in NEEDS_TIME:
        test = mark(test)
    return test


@slow
def test_a_quick_look_writes_its_table(tmp_path, capsys):
    pytest.importorskip("mujoco_warp", reason=NEEDS_WARP)
    assert main(["bench", "warp", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "warp.csv").open(newline="") as file:
        eager, native = csv.DictReader(file)
    assert (eager["env"], eager["worlds"], eager["variant"], eager["against"]) == (
        "Reacher-v5",
        "2",
        "captured",
        "eager",
    )
    assert (native["against"], native["difference"], native["gate"]) == ("native", "", "")
    assert float(eager["difference"]) == 0
    assert float(eager["speedup"]) > 2
    assert '"warp.csv"' in (tmp_path / "manifest.json").read_text()
    assert "Reacher-v5" in capsys.readouterr().out


@slow
def test_a_missed_floor_is_below():
    pytest.importorskip("mujoco_warp", reason=NEEDS_WARP)
    (quick,) = warp.comparisons("cpu", quick=True)
    pair = ("captured", "eager")
    for changes, gate in [
        ({"floors": {pair: 1e9}}, "below"),
        ({"floors": {pair: 1e-9}}, "ok"),
        ({"least": 1e12}, "below"),
        ({"floors": {pair: 1e-9}, "least": 1e-9}, "ok"),
    ]:
        changed = dataclasses.replace(quick, variants=pair, **changes)
        (row,) = warp.measure(changed, device="cpu", rounds=1)
        assert row["gate"] == gate
