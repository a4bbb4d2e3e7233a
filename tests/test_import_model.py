"""Models of Stable-Baselines3 that become runs; what a hostile file can do is in `tests/faults`."""

import os
import signal

import pytest
from gymnasium.spaces import Box
from stable_baselines3 import TD3

from hyperrl.cli import main
from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, RunStoppedError
from hyperrl.evaluation import rollout
from hyperrl.import_model import import_model
from hyperrl.run import RunFolder
from hyperrl.testing.digest import first_difference, state_digests
from hyperrl.train import restore_agent, resume

SETTINGS = {
    "buffer_size": 500,
    "learning_starts": 40,
    "batch_size": 8,
    "action_noise": {"kind": "normal", "sigma": 0.1},
    "policy_kwargs": {"net_arch": [8]},
}
DONE = 70


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that was trained for 70 of 90 steps."""
    model = TD3(
        "MlpPolicy",
        "Pendulum-v1",
        learning_starts=40,
        batch_size=8,
        policy_kwargs={"net_arch": [8]},
        seed=0,
        device="cpu",
    )
    model.learn(90, callback=lambda known, _: known["self"].num_timesteps < DONE)
    assert model.num_timesteps == DONE
    path = tmp_path_factory.mktemp("model") / "model.zip"
    model.save(path)
    return path


@pytest.fixture
def imported(model, tmp_path):
    """Makes a run folder of the model."""

    def make(name="run", steps=None):
        config = RunConfig(
            "td3",
            "Pendulum-v1",
            device="cpu",
            eval_episodes=1,
            eval_every=25,
            out=str(tmp_path / name),
            agent_kwargs=SETTINGS,
        )
        return import_model(model, config, trust_pickle=True, steps=steps)

    return make


@pytest.fixture
def updates(monkeypatch):
    """The steps at which updates were made."""
    steps, train = [], TD3.train

    def watched(self, gradient_steps, batch_size=100):
        steps.append((self.num_timesteps, gradient_steps, self.replay_buffer.size()))
        train(self, gradient_steps, batch_size)

    monkeypatch.setattr(TD3, "train", watched)
    return steps


def test_the_length_of_the_run_is_the_models(imported):
    assert imported().config().steps == 90
    assert imported("longer", 5000).config().steps == 5000
    with pytest.raises(ConfigError, match="steps must be at least the 70 that the model was trained for"):
        imported("shorter", 69)


def test_updates_begin_with_a_filled_buffer_and_nothing_is_random_before(imported, updates, monkeypatch):
    folder = imported(steps=160)

    def sample(*_):
        raise AssertionError("it acts at random")

    monkeypatch.setattr(Box, "sample", sample)
    resume(folder.path)
    assert updates == [(steps, 1, steps - DONE) for steps in range(DONE + 41, 161)]
    agent = restore_agent(folder.path)
    assert len(set(agent.replay_buffer.actions[:90].flatten().tolist())) == 90
    agent.env.close()


def test_a_run_that_is_over_before_it_learns_says_so(imported, updates):
    with pytest.warns(UserWarning, match="90 steps is over before it learns .* after 110 steps"):
        resume(imported().path)
    assert updates == []


def test_a_run_that_stops_amid_the_collecting_continues_the_same(imported, updates, monkeypatch):
    straight, struck = imported("straight", 150), imported("struck", 150)
    resume(straight.path)
    expected, play = list(updates), rollout.play_episode
    calls = []

    def strike(*arguments, **settings):
        calls.append(None)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return play(*arguments, **settings)

    updates.clear()
    monkeypatch.setattr(rollout, "play_episode", strike)
    with pytest.raises(RunStoppedError, match="after 75 steps"):
        resume(struck.path)
    assert updates == []
    resume(struck.path)
    assert updates == expected
    assert first_difference(*(digests(folder) for folder in (struck, straight))) is None


def digests(folder):
    agent = restore_agent(folder.path)
    try:
        return state_digests(agent)
    finally:
        agent.env.close()


def test_its_first_evaluation_is_the_best_so_far(imported):
    folder = imported(steps=DONE)
    with pytest.raises(KeyError, match="unknown checkpoint"):
        folder.checkpoint("best")
    run = resume(folder.path)
    assert (run.steps, run.was_finished, run.return_before) == (DONE, False, run.return_after)
    assert folder.checkpoint("best").steps == DONE
    assert resume(folder.path).was_finished


def test_the_command_takes_a_length(capsys, model, tmp_path):
    shape = ["--set", "policy_kwargs.net_arch=[8]", "buffer_size=100", "learning_starts=40"]
    argv = ["import", str(model), "--agent", "td3", "--env", "Pendulum-v1", "--trust-pickle", *shape]
    for name, steps, expected in (("a", [], 90), ("b", ["--steps", "1e4"], 10_000)):
        assert main([*argv, "--out", str(tmp_path / name), *steps]) == 0
        assert RunFolder.open(tmp_path / name).config().steps == expected
    assert main([*argv, "--out", str(tmp_path / "c"), "--steps", "50"]) == 2
    assert "at least the 70" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
