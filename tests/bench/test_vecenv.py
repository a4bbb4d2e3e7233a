"""The benchmark of environments: what it compares, and how it judges."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np

from hyperrl.bench import vecenv
from hyperrl.cli import main
from hyperrl_envs.native import SUPPORTED


def test_a_quick_look_writes_its_table(tmp_path, capsys):
    assert main(["bench", "vecenv", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "vecenv.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["env"], row["variant"], row["against"]) == ("Reacher-v5", "native", "dummy")
    assert (row["identical"], row["envs"], row["rounds"]) == ("True", "8", "2")
    assert float(row["speedup_min"]) <= float(row["speedup"]) <= float(row["speedup_max"])
    assert '"vecenv.csv"' in (tmp_path / "manifest.json").read_text()
    assert "Reacher-v5" in capsys.readouterr().out


def test_every_task_has_a_floor_and_half_cheetah_more():
    by_env = {each.env_id: each for each in vecenv.comparisons()}
    assert set(by_env) == set(SUPPORTED)
    assert all(each.floors["native", "dummy"] >= 1 for each in by_env.values())
    cheetah = by_env["HalfCheetah-v5"]
    assert cheetah.floors == {("native", "dummy"): 1.3, ("native", "subproc"): 4.0}
    assert {"dummy", "native", "subproc"} <= set(cheetah.variants)


def test_a_missed_floor_and_other_numbers_are_below():
    (quick,) = vecenv.comparisons(quick=True)
    pair = ("native", "dummy")
    (row,) = vecenv.measure(dataclasses.replace(quick, floors={pair: 1e9}), rounds=1)
    assert (row["gate"], row["clock"], row["floor"]) == ("below", "cpu", 1e9)
    (row,) = vecenv.measure(dataclasses.replace(quick, floors={pair: 1e-9}), rounds=1)
    assert row["gate"] == "ok"
    other = {
        **quick.variants,
        "native": lambda env_id, count, seed: quick.variants["dummy"](env_id, count, 9),
    }
    (row,) = vecenv.measure(dataclasses.replace(quick, variants=other, floors={pair: 1e-9}), rounds=1)
    assert (row["gate"], row["identical"]) == ("below", False)


def test_processes_are_timed_by_the_clock_on_the_wall():
    (quick,) = vecenv.comparisons(quick=True)
    variants = {**quick.variants, "subproc": quick.variants["native"]}
    floors = {("native", "subproc"): 1e-9}
    native, subproc, between = vecenv.measure(
        dataclasses.replace(quick, variants=variants, floors=floors), rounds=2
    )
    assert [row["clock"] for row in (native, subproc, between)] == ["cpu", "wall", "wall"]
    assert (native["gate"], between["gate"]) == ("", "ok")
    assert (between["variant"], between["against"]) == ("native", "subproc")
    assert np.isclose(between["speedup"], between["wall_speedup"])
