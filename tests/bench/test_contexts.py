"""The benchmark of contexts: what it measures, and how it judges."""

from __future__ import annotations

import csv

from hyperrl.bench import contexts
from hyperrl.cli import main


def test_a_quick_look_writes_its_table(tmp_path, capsys):
    assert main(["bench", "contexts", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "contexts.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["robot"] == "HalfCheetah"
    assert float(row["steps_min"]) <= float(row["steps"]) <= float(row["steps_max"])
    assert float(row["reload_reset_us"]) > float(row["reset_us"]) > 0
    assert '"contexts.csv"' in (tmp_path / "manifest.json").read_text()
    assert "HalfCheetah" in capsys.readouterr().out


def test_both_limits_count():
    settings = {"rounds": 1, "calls": 20}
    kind = contexts.Limits
    assert contexts.measure("Hopper", **settings, limits=kind(steps=1e9, reloads=0.0))["met"]
    assert not contexts.measure("Hopper", **settings, limits=kind(steps=0.0, reloads=0.0))["met"]
    assert not contexts.measure("Hopper", **settings, limits=kind(steps=1e9, reloads=1e9))["met"]
