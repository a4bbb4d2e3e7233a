"""The benchmark of HyperZero's training step: what it compares, and how it judges."""

from __future__ import annotations

import csv

import torch

from hyperrl.bench import hyper_zero
from hyperrl.cli import main
from hyperrl_agents.hyper_zero.networks import Shape

SMALL = hyper_zero.Case(Shape(5, 2, 1, embedding=(8,), hidden=(8,)), tasks=3, rows=4)


def test_a_quick_look_writes_its_table(tmp_path, capsys):
    assert main(["bench", "hyper-zero", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "hyper_zero.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["grouped", "per sample"]
    assert float(rows[0]["speedup"]) == 1.0
    assert '"hyper_zero.csv"' in (tmp_path / "manifest.json").read_text()
    assert "per sample" in capsys.readouterr().out


def test_the_case_is_the_published_batch():
    case = hyper_zero.Case()
    assert case.tasks * case.rows == 512
    assert (case.tasks, case.shape) == (16, Shape(17, 6, 1))


def test_a_missed_floor_is_below():
    for floor, gate in ((1e9, "below"), (1e-9, "ok")):
        rows = hyper_zero.measure(SMALL, rounds=1, floor=floor)
        assert [row["gate"] for row in rows] == ["", gate]
        assert all(row["error"] < 1e-5 for row in rows)


def test_other_gradients_are_below(monkeypatch):
    own = hyper_zero.TaskBatch.per_row

    def spoilt(self):
        batch = own(self)
        values = torch.where(torch.arange(12)[:, None] == 0, batch.values + 1, batch.values)
        return hyper_zero.TaskBatch(**{**vars(batch), "values": values})

    monkeypatch.setattr(hyper_zero.TaskBatch, "per_row", spoilt)
    rows = hyper_zero.measure(SMALL, rounds=1, floor=1e-9)
    assert [row["gate"] for row in rows] == ["", "below"]
