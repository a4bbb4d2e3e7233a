import csv
import random

import numpy as np
import pytest
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.logger import configure

from hyperrl.config import RunConfig
from hyperrl.errors import RunStoppedError
from hyperrl.run import RunFolder
from hyperrl.run.callbacks import Interval, RunCallback
from hyperrl.run.checkpoint import Checkpoints
from hyperrl.run.evaluations import Evaluations
from hyperrl.run.signals import StopSignals
from hyperrl.run.store import CheckpointStore


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


def callback_for(folder, agent, evaluations, eval_every, steps, checkpoint_every=0, signals=None):
    return RunCallback(
        folder,
        evaluations,
        Checkpoints(agent, folder.store, {}),
        signals or StopSignals(),
        steps=steps,
        eval_every=eval_every,
        checkpoint_every=checkpoint_every,
    )


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
    agent.learn(steps, callback=callback_for(folder, agent, evaluations, eval_every, steps))
    assert asked == [0, *expected]


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
    agent.learn(70, callback=callback_for(folder, agent, evaluations, 10, 70))
    assert asked == [0, 14, 21, 35, 42, 56, 63]


def test_the_table_has_every_episode_and_the_best_is_known(folder, agent):
    results = iter([[1.0, 3.0], [9.0, 11.0], [4.0, 4.0]])
    evaluations = Evaluations(folder, lambda a: next(results))
    best = []
    for steps in (0, 100, 200):
        agent.num_timesteps = steps
        best.append(evaluations.run(agent))
    assert best == [True, True, False]
    table = rows(folder)
    assert [(int(r["steps"]), int(r["episode"]), float(r["return"])) for r in table] == [
        (0, 0, 1.0),
        (0, 1, 3.0),
        (100, 0, 9.0),
        (100, 1, 11.0),
        (200, 0, 4.0),
        (200, 1, 4.0),
    ]
    assert (evaluations.best, evaluations.best_steps) == (10.0, 100)
    assert (evaluations.first_return, evaluations.last_return) == (2.0, 4.0)


def test_the_time_of_evaluations_is_not_learning_time(folder, agent, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("hyperrl.run.evaluations.time.monotonic", lambda: clock[0])

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
    agent.learn(20, callback=callback_for(folder, agent, evaluations, 0, 20))
    assert folder.status()["state"] == "running"
    assert 1 <= folder.status()["steps"] <= 20


def test_a_terminal_gets_a_bar_that_ends_at_the_number_of_steps(folder, agent, capsys, monkeypatch):
    monkeypatch.setattr("hyperrl.run.callbacks.sys.stderr.isatty", lambda: True)
    evaluations = Evaluations(folder, lambda a: [7.0])
    agent.learn(20, callback=callback_for(folder, agent, evaluations, 10, 20))
    text = capsys.readouterr().err
    assert "20.0/20.0" in text
    assert "return 7" in text


def test_no_terminal_gets_no_bar(folder, agent, capsys):
    evaluations = Evaluations(folder, lambda a: [7.0])
    agent.learn(20, callback=callback_for(folder, agent, evaluations, 10, 20))
    assert capsys.readouterr().err == ""


def test_intervals():
    due = Interval(10)
    assert [steps for steps in range(0, 60, 7) if due.passed(steps)] == [14, 21, 35, 42, 56]
    never = Interval(0)
    assert not any(never.passed(steps) for steps in range(100))
    later = Interval(10)
    later.start(25)
    assert not later.passed(29)
    assert later.passed(30)


def test_checkpoints_come_at_their_steps_and_at_the_best_evaluation(folder, agent):
    results = iter([0.0, 1.0, 5.0, 2.0])
    evaluations = Evaluations(folder, lambda a: [next(results)])
    saved = []
    callback = callback_for(folder, agent, evaluations, 40, 160, checkpoint_every=60)
    keep = callback.save
    callback.save = lambda best=False, ended=False: saved.append((agent.num_timesteps, best)) or keep(best)
    agent.learn(160, callback=callback)
    assert saved == [(0, True), (40, True), (60, False), (80, True), (120, False)]
    assert folder.checkpoint("best").steps == 80
    assert folder.checkpoint().steps == 120


def test_a_signal_ends_the_run_with_a_checkpoint(folder, agent):
    signals = StopSignals()

    def returns_of(agent):
        if agent.num_timesteps:
            signals.received = "SIGTERM"
        return [1.0]

    evaluations = Evaluations(folder, returns_of)
    callback = callback_for(folder, agent, evaluations, 30, 100, signals=signals)
    with pytest.raises(RunStoppedError, match="stopped by SIGTERM after 30 steps") as caught:
        agent.learn(100, callback=callback)
    assert caught.value.exit_status == 143
    assert folder.checkpoint().steps == 30


@pytest.fixture
def refusing(monkeypatch):
    """Let the disk refuse every checkpoint of the steps in this set."""
    steps, save = set(), CheckpointStore.save

    def perhaps(self, at, **content):
        if at in steps:
            raise OSError(28, "No space left on device")
        return save(self, at, **content)

    monkeypatch.setattr(CheckpointStore, "save", perhaps)
    return steps


@pytest.mark.filterwarnings("ignore:no checkpoint could be written")
def test_a_best_policy_that_could_not_be_saved_is_not_the_best(folder, agent, refusing):
    refusing.add(40)
    results = iter([1.0, 9.0, 5.0, 4.0])
    evaluations = Evaluations(folder, lambda a: [next(results)])
    agent.learn(160, callback=callback_for(folder, agent, evaluations, 40, 160))
    assert (evaluations.best, evaluations.best_steps) == (5.0, 80)
    best = folder.checkpoint("best")
    assert best.steps == 80
    assert best.state()["run"]["evaluations"]["best"] == 5.0


@pytest.mark.filterwarnings("ignore:no checkpoint could be written")
def test_a_run_that_begins_on_a_full_disk_has_a_best_policy_later(folder, agent, refusing):
    refusing.add(0)
    results = iter([9.0, 5.0])
    evaluations = Evaluations(folder, lambda a: [next(results)])
    agent.learn(50, callback=callback_for(folder, agent, evaluations, 40, 50))
    assert folder.checkpoint("best").steps == 40


@pytest.mark.filterwarnings("ignore:no checkpoint could be written")
@pytest.mark.parametrize(("seconds", "steps"), [(0.0, [0, 43]), (1e9, [0, 80])])
def test_a_checkpoint_that_the_disk_refused_is_tried_again_soon(
    folder, agent, refusing, monkeypatch, seconds, steps
):
    monkeypatch.setattr("hyperrl.run.callbacks._RETRY_SECONDS", seconds)
    refusing.update({40, 41, 42})
    evaluations = Evaluations(folder, lambda a: [1.0])
    callback = callback_for(folder, agent, evaluations, 0, 90, checkpoint_every=40)
    written = []
    save = callback.save
    callback.save = lambda best=False, ended=False: save(best, ended) and written.append(agent.num_timesteps)
    agent.learn(90 if seconds else 60, callback=callback)
    assert written == steps


def test_an_evaluation_leaves_the_random_generators_alone(folder, agent):
    def returns_of(_):
        return [float(np.random.random() + random.random() + torch.rand(()))]

    np.random.seed(3), random.seed(3), torch.manual_seed(3)
    expected = np.random.random(), random.random(), float(torch.rand(()))
    np.random.seed(3), random.seed(3), torch.manual_seed(3)
    Evaluations(folder, returns_of).run(agent)
    assert (np.random.random(), random.random(), float(torch.rand(()))) == expected


def test_a_resumed_table_has_no_row_of_later_steps_and_no_half_row(folder, agent):
    evaluations = Evaluations(folder, lambda a: [1.0, 2.0])
    for steps in (0, 100):
        agent.num_timesteps = steps
        evaluations.run(agent)
    state = evaluations.state()
    agent.num_timesteps = 200
    evaluations.run(agent)
    file = folder.evaluation / "evaluations.csv"
    file.write_text(file.read_text() + "300,1.")
    again = Evaluations(folder, lambda a: [3.0, 4.0])
    again.restore(state, 150)
    assert [int(row["steps"]) for row in rows(folder)] == [0, 0, 100, 100]
    agent.num_timesteps = 200
    assert again.run(agent)
    assert [(int(r["steps"]), float(r["return"])) for r in rows(folder)][-2:] == [(200, 3.0), (200, 4.0)]
    assert again.first_return == 1.5


def test_an_evaluation_that_cannot_be_written_is_a_warning_and_leaves_no_half_row(folder, agent, monkeypatch):
    evaluations = Evaluations(folder, lambda a: [1.0])
    evaluations.run(agent)
    before = (folder.evaluation / "evaluations.csv").read_bytes()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hyperrl.run.evaluations._append_whole", refuse)
    agent.num_timesteps = 100
    with pytest.warns(UserWarning, match="after 100 steps could not be written .*No space left"):
        evaluations.run(agent)
    assert (folder.evaluation / "evaluations.csv").read_bytes() == before
