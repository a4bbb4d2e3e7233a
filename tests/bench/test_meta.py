"""The benchmark of what meta-learners save: what it compares, and how it judges."""

from __future__ import annotations

import csv
from dataclasses import replace

from hyperrl.bench import meta
from hyperrl.cli import main


def test_a_quick_look_writes_its_table(tmp_path, capsys):
    assert main(["bench", "meta", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "meta.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["pass"] for row in rows] == ["forward", "forward+backward"] * 4
    assert [float(row["floor"]) for row in rows] == [20, 20, 4, 4, 5, 5, 5, 5]
    assert '"meta.csv"' in (tmp_path / "manifest.json").read_text()
    assert "policies of 2 tasks" in capsys.readouterr().out


def test_the_sizes_are_those_of_the_publications():
    sizes = meta.Sizes()
    assert (sizes.tasks, sizes.states, sizes.trunk) == (4, 256, (256, 512, 1024))
    assert (sizes.rows, sizes.width, sizes.features) == (512, 256, 25)


def test_missed_floors_and_other_numbers_are_below():
    one = meta.comparisons(meta.QUICK, "cpu", 0)[1]
    easy = replace(one, floor=1e-9, memory_floor=1e-9)

    def gates(comparison):
        return [row["gate"] for row in meta.measure(comparison, rounds=1)]

    assert gates(easy) == ["ok", "ok"]
    assert gates(replace(easy, floor=1e9)) == ["below", "below"]
    assert gates(replace(easy, memory_floor=1e9)) == ["below", "below"]
    spoilt = replace(easy, other=lambda backward: [2 * tensor for tensor in one.other(backward)])
    assert gates(spoilt) == ["below", "below"]
