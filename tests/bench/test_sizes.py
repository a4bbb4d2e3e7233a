"""Returns by size of the policy."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from hyperrl.bench.sizes import Measured, plot, publish, summarise
from hyperrl.config import RunConfig
from hyperrl.errors import RunFolderError
from hyperrl.evaluate import evaluate
from hyperrl.train import train

SMALL = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}
MANY = {**SMALL, "n_architectures": 2}
MANY["policy_kwargs"] = {"architectures": [[2], [4], [4, 4]], "generator": "nested"}


def measured(agent, seed, architecture, parameters, picking, reported):
    return Measured(
        agent, "E-v0", seed, architecture, parameters, 3, picking, reported, 1000, 12.0, first_return=0.0
    )


def test_what_is_picked_by_some_episodes_is_reported_by_others():
    runs = []
    for seed, shift in ((0, -1.0), (1, 1.0)):
        runs.append(measured("many", seed, "4", 10, 50 + shift, 1 + shift))
        runs.append(measured("many", seed, "8", 20, 95 + shift, 2 + shift))
        runs.append(measured("many", seed, "9", 30, 80 + shift, 3 + shift))
        runs.append(measured("many", seed, "16", 40, 100 + shift, 4 + shift))
        runs += [measured("many", seed, f"{w}-{w}", 100 + w, 0.0, 0.0) for w in range(1, 5)]
        runs.append(measured("one", seed, "16", 40, 60 + shift, 5 + shift))
    rows = {(row["agent"], row["which"]): row for row in summarise(runs)}
    best, smallest = rows["many", "best"], rows["many", "smallest with 90 %"]
    assert (best["architecture"], best["mean_return"]) == ("16", 4)
    assert (smallest["architecture"], smallest["mean_return"]) == ("8", 2)
    assert best["return_of_90_percent"] == pytest.approx(90)
    # Two seeds, a distance of 1 from the mean: t for one degree of freedom is 12.706.
    assert best["high"] - best["mean_return"] == pytest.approx(12.706, rel=1e-3)
    assert rows["one", "16"]["mean_return"] == 5
    # Beside the same architecture of the other agent.
    assert rows["many", "16"]["mean_return"] == 4
    assert ("many", "4") not in rows


def test_a_picture_of_one_and_of_many(tmp_path):
    runs = [measured("many", 0, str(width), 10 * width, 1.0, float(width)) for width in range(1, 9)]
    runs += [measured("one", seed, "16", 40, 1.0, float(seed)) for seed in (0, 1)]
    plot(runs, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RunFolderError, match="cannot be written"):
        plot(runs, tmp_path / "missing" / "picture.png")


def test_runs_of_sweeps_are_evaluated(tmp_path, capsys):
    sweep = tmp_path / "sweep"
    common = {"steps": 32, "n_envs": 2, "eval_episodes": 1, "eval_every": 0}
    many = RunConfig("hyper-ppo", "Pendulum-v1", **common, agent_kwargs=MANY, out=str(sweep / "many"))
    widths = {"policy_kwargs": {"net_arch": [4]}}
    one = RunConfig("ppo", "Pendulum-v1", **common, agent_kwargs={**SMALL, **widths}, out=str(sweep / "one"))
    train(many)
    train(one)
    (sweep / "runs.csv").write_text("name,status\nmany,finished\none,finished\nnone,waiting\n")
    publish([sweep], tmp_path, episodes=2)
    with (tmp_path / "architectures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["agent"], row["architecture"]) for row in rows] == [
        ("hyper-ppo (nested)", "2"),
        ("hyper-ppo (nested)", "4"),
        ("hyper-ppo (nested)", "4-4"),
        ("ppo", "4"),
    ]
    assert [int(row["parameters"]) for row in rows] == [11, 21, 41, 21]
    for row in rows:
        widths = [int(width) for width in row["architecture"].split("-")]
        architecture = widths if row["agent"] != "ppo" else None
        for seed, name in ((0, "picking_return"), (1, "mean_return")):
            run = sweep / ("one" if architecture is None else "many")
            alone = evaluate(run, 2, seed=seed, architecture=architecture)
            assert np.isclose(float(row[name]), alone.mean.estimate, rtol=1e-4)
    assert (tmp_path / "Pendulum-v1.png").exists()
    assert "smallest with 90 %" in (tmp_path / "summary.csv").read_text()


def test_a_sweep_without_finished_runs_is_refused(tmp_path):
    (tmp_path / "runs.csv").write_text("name,status\nnone,waiting\n")
    with pytest.raises(RunFolderError, match="there is no finished run"):
        publish([tmp_path], tmp_path, episodes=2)
    with pytest.raises(RunFolderError, match="cannot be read"):
        publish([tmp_path / "missing"], tmp_path, episodes=2)
