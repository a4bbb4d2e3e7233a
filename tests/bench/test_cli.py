"""The verb `bench` as it is typed."""

from __future__ import annotations

import csv

import pytest

from hyperrl.bench import cli as bench
from hyperrl.bench.learning import COLUMNS
from hyperrl.cli import main


def test_a_quick_look_writes_both_tables(tmp_path, capsys):
    assert main(["bench", "--quick", "--out", str(tmp_path)]) == 0
    for name, column in (("update.csv", "speedup"), ("contraction.csv", "ratio_to_best")):
        with (tmp_path / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert all(float(row[column]) > 0 for row in rows)
        assert all(row["machine"] and row["torch"] and row["command"] for row in rows)
    assert str(tmp_path / "contraction.csv") in capsys.readouterr().out
    assert '"quick": true' in (tmp_path / "manifest.json").read_text()


def test_a_missed_limit_is_the_exit_status(tmp_path, monkeypatch):
    from hyperrl.bench import update

    row = {"comparison": "c", "variant": "v", "batch_size": 1, "cpu_ms": 1.0, "wall_ms": 1.0, "rounds": 1}
    row |= {"cpu_ratio": 2.0, "cpu_ratio_min": 2.0, "cpu_ratio_max": 2.0, "speedup": 0.5, "ratio_limit": 1.0}
    monkeypatch.setattr(update, "measure", lambda *args, **kwargs: [{**row, "met": False}])
    assert main(["bench", "update", "--out", str(tmp_path)]) == 1
    monkeypatch.setattr(update, "measure", lambda *args, **kwargs: [{**row, "met": True}])
    assert main(["bench", "update", "--out", str(tmp_path)]) == 0


def test_a_plot_writes_picture_and_summary(tmp_path, capsys):
    for agent, seed in (("td3", 0), ("td3", 1), ("hyper-td3", 0)):
        lines = [
            ",".join(COLUMNS),
            f"{agent},My/Env-v0,{seed},0,0,1,9,0,0",
            f"{agent},My/Env-v0,{seed},9,0,2,9,3,3",
        ]
        (tmp_path / f"{agent}-{seed}.csv").write_text("\n".join(lines) + "\n")
    assert main(["bench", "plot", str(tmp_path)]) == 0
    assert (tmp_path / "My_Env-v0.png").exists()
    assert "hyper-td3" in (tmp_path / "summary.csv").read_text()
    # The summary lies among the curves and is not taken for one.
    assert main(["bench", "plot", str(tmp_path), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "summary.csv").read_text() == (tmp_path / "summary.csv").read_text()
    assert "paired by seed" in capsys.readouterr().out


def test_learning_gets_what_was_typed(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("hyperrl.bench.sweep.sweep", lambda *arguments: asked.append(arguments))
    argv = ["--agents", "td3", "hyper-td3", "--envs", "Pendulum-v1", "--seeds", "0", "5", "--steps", "100"]
    argv += ["--workers", "2", "--set", "batch_size=8", "--set", "gamma=0.9", "--out", str(tmp_path)]
    assert bench.main(["learning", *argv]) == 0
    ((plan, folder, workers),) = asked
    assert (plan.agents, plan.envs, plan.seeds) == (("td3", "hyper-td3"), ("Pendulum-v1",), (0, 5))
    assert (plan.steps, plan.settings, folder, workers) == (100, ("batch_size=8", "gamma=0.9"), tmp_path, 2)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["updat"], "did you mean 'update'"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["update", "--rounds", "0"], "rounds must be a whole number from 1"),
        (["--threads", "0"], "threads must be a whole number"),
        (["plot", "nowhere"], "nowhere is no folder"),
        (["plot", "."], "no finished learning curve"),
        (["learning", "--envs", "Pendulum-v1", "--out", "x"], "agents"),
        (["learning", "--agents", "tdd3", "--envs", "Pendulum-v1", "--out", "x"], "did you mean 'td3'"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *argv]) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_parts(capsys):
    assert bench.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("update", "contraction", "learning", "plot"))
