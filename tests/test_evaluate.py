import csv
import dataclasses
import shutil
import sys

import numpy as np
import pytest
from safetensors.torch import load_file
from stable_baselines3 import TD3

from hyperrl.environments import make_env
from hyperrl.errors import ConfigError, RunFolderError, UnknownNameError
from hyperrl.evaluate import evaluate
from hyperrl.evaluation.rollout import play_episodes
from hyperrl.evaluation.statistics import iqm
from hyperrl.loading import load_agent
from hyperrl.run import RunFolder
from hyperrl.run.seeding import seeds_of_run


def saved_model(run, name):
    """Stable-Baselines3's own TD3 with the weights of a checkpoint, read without the library's loader."""
    weights = load_file(run.checkpoint(name).path / "policy.safetensors")
    model = TD3("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [16, 16]}, device="cpu")
    model.policy.load_state_dict(weights)
    return model


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run, in another place."""
    path = tmp_path / "moved run"
    shutil.copytree(finished_run.folder.path, path)
    return RunFolder.open(path)


def test_the_rebuilt_agent_acts_like_the_saved_one(run):
    agent, steps = load_agent(run)
    saved = saved_model(run, "latest")
    observations = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    expected, _ = saved.predict(observations, deterministic=True)
    actual, _ = agent.predict(observations, deterministic=True)
    np.testing.assert_array_equal(actual, expected)
    assert steps == 300


def test_the_statistics_are_those_of_the_table(run):
    result = evaluate(run.path, 8)
    with result.file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    returns = [float(row["return"]) for row in rows]
    assert len(rows) == 8
    assert [float(e.episode_return) for e in result.episodes] == returns
    assert result.mean.estimate == pytest.approx(np.mean(returns))
    assert result.iqm.estimate == pytest.approx(float(iqm(returns)))
    assert result.mean.low <= result.mean.estimate <= result.mean.high
    assert {(r["env"], r["agent"], r["run_seed"], r["checkpoint"], r["steps"]) for r in rows} == {
        ("Pendulum-v1", "td3", "0", "latest", "300")
    }
    assert {row["length"] for row in rows} == {"200"}


def test_an_evaluation_can_be_repeated_and_another_seed_plays_others(run):
    first = evaluate(run.path, 3)
    assert evaluate(run.path, 3).episodes == first.episodes
    assert not {e.seed for e in evaluate(run.path, 3, seed=1).episodes} & {e.seed for e in first.episodes}


def test_the_episodes_are_none_of_the_training(run):
    seeds = {e.seed for e in evaluate(run.path, 20).episodes}
    assert len(seeds) == 20
    assert not seeds & set(seeds_of_run(run.config().seed, 20).evaluation)


def test_the_rollouts_are_those_of_the_saved_policy(run):
    result = evaluate(run.path, 2, checkpoint="best")
    saved = saved_model(run, "best")
    env = make_env("Pendulum-v1")
    assert list(result.episodes) == play_episodes(saved, env, [e.seed for e in result.episodes])


def test_what_is_no_run_is_refused(run, tmp_path):
    with pytest.raises(RunFolderError, match="there is no folder"):
        evaluate(tmp_path / "none")
    with pytest.raises(UnknownNameError, match="did you mean 'latest'"):
        evaluate(run.path, 1, checkpoint="lates")
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunFolderError, match="has no checkpoint yet"):
        evaluate(run.path, 1)


@pytest.mark.parametrize("episodes", [0, -1, 1.5, float("nan"), "x", 10**9])
def test_wrong_numbers_of_episodes_are_refused(run, episodes):
    with pytest.raises(ConfigError, match="episodes must be a whole number from 1 to 100000"):
        evaluate(run.path, episodes)


@pytest.fixture
def trained_so(monkeypatch):
    """Whatever `run.toml` says: the run was trained with that."""
    monkeypatch.setattr(sys.modules["hyperrl.loading"], "check_settings", lambda *_: [])


def test_a_run_whose_configuration_does_not_fit_its_weights_is_refused(run, trained_so):
    config = run.config()
    kwargs = {**config.agent_kwargs, "policy_kwargs": {"net_arch": [17, 16]}}
    (run.path / "run.toml").write_text(dataclasses.replace(config, agent_kwargs=kwargs).to_toml())
    with pytest.raises(RunFolderError, match="does not fit"):
        evaluate(run.path, 1)


def test_a_run_of_an_agent_that_is_gone_is_refused(run, trained_so):
    text = (run.path / "run.toml").read_text()
    (run.path / "run.toml").write_text(text.replace('"td3"', '"td33"'))
    with pytest.raises(UnknownNameError, match="unknown agent 'td33', did you mean 'td3'"):
        evaluate(run.path, 1)


def test_a_run_whose_agent_cannot_be_built_is_refused(run, trained_so):
    config = run.config()
    kwargs = {**config.agent_kwargs, "replay_buffer_kwargs": {"no_such_argument": 1}}
    (run.path / "run.toml").write_text(dataclasses.replace(config, agent_kwargs=kwargs).to_toml())
    with pytest.raises(ConfigError, match=r"td3 cannot be built .*no_such_argument"):
        evaluate(run.path, 1)


def test_a_run_that_cannot_be_written_is_evaluated_all_the_same(run, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    # The package's attribute of that name is the function.
    monkeypatch.setattr(sys.modules["hyperrl.evaluate"], "write_text", refuse)
    with pytest.warns(UserWarning, match="episodes.csv cannot be written: Read-only file system"):
        result = evaluate(run.path, 2)
    assert result.file is None
    assert len(result.episodes) == 2


def test_settings_that_are_not_those_of_the_checkpoint_are_refused(finished_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished_run.folder.path, folder)
    text = (folder / "run.toml").read_text()
    # What may change makes no difference.
    (folder / "run.toml").write_text(text.replace("eval_every = 100", "eval_every = 50"))
    assert evaluate(folder, 1).steps == finished_run.steps
    (folder / "run.toml").write_text(text.replace("Pendulum-v1", "MountainCarContinuous-v0"))
    with pytest.raises(RunFolderError, match=r"env was Pendulum-v1 .* and is MountainCarContinuous-v0 now"):
        evaluate(folder, 1)
