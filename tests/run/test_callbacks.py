import csv

import pytest
from stable_baselines3 import TD3
from stable_baselines3.common.logger import configure

from hyperrl.config import RunConfig
from hyperrl.run import RunFolder
from hyperrl.run.callbacks import Evaluations, RunCallback


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(RunConfig("td3", "Pendulum-v1", out=str(tmp_path / "run")))


@pytest.fixture
def agent():
    agent = TD3(
        "MlpPolicy",
        "Pendulum-v1",
        buffer_size=100,
        learning_starts=1000,
        policy_kwargs={"net_arch": [8]},
        device="cpu",
    )
    agent.set_logger(configure(None, []))
    return agent


def rows(folder):
    with (folder.evaluation / "evaluations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("eval_every", "steps", "expected"),
    [(30, 100, [30, 60, 90]), (0, 100, []), (50, 100, [50]), (1000, 100, []), (25, 60, [25, 50])],
)
def test_evaluations_come_at_their_steps_and_never_at_the_end(folder, agent, eval_every, steps, expected):
    asked = []
    evaluations = Evaluations(folder, lambda a: [asked.append(a.num_timesteps) or 1.0])
    agent.learn(steps, callback=RunCallback(folder, evaluations, eval_every, steps))
    assert asked == expected


def test_steps_of_several_environments_at_once_miss_no_evaluation(folder):
    from hyperrl.environments import make_vec_env

    venv = make_vec_env("Pendulum-v1", {}, 7, 0)
    agent = TD3(
        "MlpPolicy",
        venv,
        buffer_size=100,
        learning_starts=1000,
        policy_kwargs={"net_arch": [8]},
        device="cpu",
    )
    agent.set_logger(configure(None, []))
    asked = []
    evaluations = Evaluations(folder, lambda a: [asked.append(a.num_timesteps) or 1.0])
    agent.learn(70, callback=RunCallback(folder, evaluations, 10, 70))
    assert asked == [14, 21, 35, 42, 56, 63]


def test_the_table_has_every_episode_and_the_best_weights_are_kept(folder, agent):
    results = iter([[1.0, 3.0], [9.0, 11.0], [4.0, 4.0]])
    evaluations = Evaluations(folder, lambda a: next(results))
    for steps in (0, 100, 200):
        agent.num_timesteps = steps
        evaluations.run(agent)
    table = rows(folder)
    assert [(int(r["steps"]), int(r["episode"]), float(r["return"])) for r in table] == [
        (0, 0, 1.0),
        (0, 1, 3.0),
        (100, 0, 9.0),
        (100, 1, 11.0),
        (200, 0, 4.0),
        (200, 1, 4.0),
    ]
    assert (folder.checkpoint("best") / "checkpoint.json").read_text().count('"steps": 100') == 1
    assert evaluations.last_return == 4.0


def test_the_time_of_evaluations_is_not_learning_time(folder, agent, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("hyperrl.run.callbacks.time.monotonic", lambda: clock[0])

    def slow(_):
        clock[0] += 50.0
        return [1.0]

    evaluations = Evaluations(folder, slow)
    clock[0] += 2.0
    evaluations.run(agent)
    clock[0] += 3.0
    evaluations.run(agent)
    assert [float(row["seconds"]) for row in rows(folder)] == [2.0, 5.0]
    assert evaluations.seconds_of_learning() == 5.0


def test_the_status_follows(folder, agent):
    evaluations = Evaluations(folder, lambda a: [1.0])
    agent.learn(20, callback=RunCallback(folder, evaluations, 0, 20))
    assert folder.status()["state"] == "running"
    assert 1 <= folder.status()["steps"] <= 20


def test_a_terminal_gets_a_bar_that_ends_at_the_number_of_steps(folder, agent, capsys, monkeypatch):
    monkeypatch.setattr("hyperrl.run.callbacks.sys.stderr.isatty", lambda: True)
    evaluations = Evaluations(folder, lambda a: [7.0])
    agent.learn(20, callback=RunCallback(folder, evaluations, 10, 20))
    text = capsys.readouterr().err
    assert "20.0/20.0" in text
    assert "return 7" in text


def test_no_terminal_gets_no_bar(folder, agent, capsys):
    agent.learn(20, callback=RunCallback(folder, Evaluations(folder, lambda a: [7.0]), 10, 20))
    assert capsys.readouterr().err == ""
