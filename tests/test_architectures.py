"""The verb `architectures`: table, picture, choice, and reading what was evaluated before."""

from __future__ import annotations

import csv
import itertools
import json
import shutil

import gymnasium
import numpy as np
import pytest

from hyperrl.architectures import architectures
from hyperrl.cli import main
from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.evaluate import evaluate
from hyperrl.evaluation.architectures import Tournament
from hyperrl.evaluation.choice import Limits
from hyperrl.exporters.microcontrollers import MICROCONTROLLERS
from hyperrl.train import train
from tests.sb3.toys import PointEnv

SPACE = [[2], [4], [4, 4], [8, 8], [16]]
SMALL = {
    "n_steps": 16,
    "batch_size": 16,
    "n_epochs": 1,
    "n_architectures": 2,
    "policy_kwargs": {"architectures": SPACE, "generator": "nested"},
}
QUICK = {"screening": 2, "episodes": 2, "say": lambda line: None}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("runs") / "run")
    settings = {"n_envs": 2, "eval_episodes": 1, "eval_every": 0, "normalize": True, "out": out}
    # Episodes of ten steps, as the tests play hundreds.
    gymnasium.register("PointOfATest-v0", PointEnv)
    config = RunConfig("hyper-ppo", "PointOfATest-v0", steps=32, agent_kwargs=SMALL, **settings)
    yield train(config).folder.path
    del gymnasium.registry["PointOfATest-v0"]


@pytest.fixture
def no_picture(monkeypatch):
    """Pictures take longer than all the rest."""
    monkeypatch.setattr("hyperrl.architectures.plot_architectures", lambda *_: None)


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def table_of(run):
    with (run / "eval" / "architectures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_every_architecture_with_its_costs(run):
    choice = architectures(run, **QUICK)
    rows = table_of(run)
    assert [row["architecture"] for row in rows] == ["2", "4", "4-4", "16", "8-8"]
    for row in rows:
        widths = [3, *map(int, row["architecture"].split("-")), 2]
        pairs = list(itertools.pairwise(widths))
        assert int(row["macs"]) == sum(a * b for a, b in pairs)
        assert int(row["parameters"]) == sum((a + 1) * b for a, b in pairs)
        assert int(row["flash_bytes"]) > 4 * int(row["parameters"])
        for name in MICROCONTROLLERS:
            assert 0 < float(row[f"us_{name.lower()}_low"]) <= float(row[f"us_{name.lower()}_high"])
        assert float(row["low"]) <= float(row["mean_return"]) <= float(row["high"])
    on_front = {row["architecture"] for row in rows if row["pareto_front"] == "1"}
    assert on_front == {"-".join(map(str, one.architecture)) for one in choice.front}
    assert choice.picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("no_picture")
def test_returns_are_those_of_an_evaluation_with_the_same_episodes(run):
    choice = architectures(run, screening=0, episodes=3, seed=4, say=lambda line: None)
    for one in choice.candidates:
        alone = evaluate(run, 3, seed=4, architecture=one.architecture)
        assert one.returns.estimate == pytest.approx(alone.mean.estimate, rel=1e-4)


@pytest.mark.usefixtures("no_picture")
def test_other_limits_need_no_new_episodes(run):
    lines = []
    first = architectures(run, screening=2, episodes=2, say=lines.append)
    assert len(lines) > 1
    lines.clear()
    second = architectures(run, Limits(max_params=20), screening=2, episodes=2, say=lines.append)
    assert lines == []
    assert second.candidates == first.candidates
    assert second.chosen.architecture == (2,)
    architectures(run, screening=2, episodes=2, again=True, say=lines.append)
    assert lines


@pytest.mark.usefixtures("no_picture")
def test_what_limits_allow_is_judged_by_fresh_episodes_too(run, monkeypatch):
    lines = []
    settings = {"screening": 2, "episodes": 3, "finalists": 1, "say": lines.append}
    # Of the two largest, which are of one class, the larger one is the finalist.
    monkeypatch.setattr(Tournament, "_finalists", lambda *_: [0, 1, 2, 4])
    first = architectures(run, **settings)
    assert not first.candidates[3].is_finalist
    lines.clear()
    second = architectures(run, Limits(max_params=first.candidates[3].budget.parameters), **settings)
    assert lines == ["1 finalists, 3 fresh episodes each"]
    assert (second.candidates[3].is_finalist, second.candidates[3].episodes) == (True, 3)
    assert [row["finalist"] for row in table_of(run)] == ["1"] * 5
    alone = Limits(max_params=first.candidates[3].budget.parameters)
    assert architectures(run, alone, **settings).candidates == second.candidates
    assert len(lines) == 1


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize("damage", ["settings", "table", "rows", "number", "other"])
def test_what_cannot_be_read_is_evaluated_anew(run, damage):
    expected = architectures(run, **QUICK).candidates
    table = run / "eval" / "architectures.csv"
    lines = table.read_text().splitlines()
    if damage == "settings":
        (run / "eval" / "architectures.json").write_text("{")
    elif damage == "table":
        table.write_text("architecture\n4\n")
    elif damage == "rows":
        table.write_text("\n".join(lines[:3]) + "\n")
    elif damage == "number":
        table.write_text("\n".join([lines[0], *(line.replace("-", "-9") for line in lines[1:])]) + "\n")
    else:
        settings = json.loads((run / "eval" / "architectures.json").read_text())
        (run / "eval" / "architectures.json").write_text(json.dumps({**settings, "steps": 1}))
    found = architectures(run, **QUICK).candidates
    assert [one.architecture for one in found] == [one.architecture for one in expected]
    assert np.allclose([o.returns.estimate for o in found], [o.returns.estimate for o in expected])


def test_wrong_numbers_and_names_are_refused(run):
    # From one episode there is no interval.
    with pytest.raises(ConfigError, match="episodes must be a whole number from 2"):
        architectures(run, episodes=1)
    with pytest.raises(UnknownNameError, match="microcontroller 'ESP31', did you mean 'ESP32"):
        architectures(run, Limits(mcu="ESP31"))
    assert not (run / "eval" / "architectures.csv").exists()


def test_a_run_of_one_architecture_is_refused(finished_run):
    with pytest.raises(ConfigError, match="td3 has a policy of one architecture"):
        architectures(finished_run.folder.path)


@pytest.mark.usefixtures("no_picture")
def test_the_command_line_shows_front_and_choice(run, capsys):
    arguments = ["architectures", str(run), "--screening", "2", "--episodes", "2"]
    assert main([*arguments, "--max-params", "20", "--mcu", "ESP32"]) == 0
    out = capsys.readouterr().out
    assert "us on ESP32" in out
    assert "chosen: 2, " in out
    assert out.splitlines()[-1].endswith("--architecture 2 --format c99")
    assert main([*arguments, "--max-params", "3"]) == 2
    assert "no architecture is within these limits" in capsys.readouterr().err
    assert main([*arguments, "--min-return", "nan"]) == 2
    assert "min_return must be a number that is finite" in capsys.readouterr().err
    assert main([*arguments, "--deadline-us", "3"]) == 2
    assert "a deadline needs the microcontroller" in capsys.readouterr().err
    assert main(["architectures"]) == 2


def test_evaluate_takes_an_architecture(run, capsys):
    assert main(["evaluate", str(run), "--episodes", "1", "--architecture", "4,4"]) == 0
    with (run / "eval" / "episodes.csv").open(newline="") as file:
        assert [row["architecture"] for row in csv.DictReader(file)] == ["4-4"]
    assert "architecture 4,4" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--episodes", "1"]) == 0
    assert "architecture 8,8" in capsys.readouterr().out
    with (run / "eval" / "episodes.csv").open(newline="") as file:
        assert [row["architecture"] for row in csv.DictReader(file)] == ["8-8"]
    assert main(["evaluate", str(run), "--architecture", "5"]) == 2
    assert "did you mean [4]?" in capsys.readouterr().err
