import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, HyperRLError, NonFiniteError, RunFolderError
from hyperrl.registry import agents
from hyperrl.run import RunFolder
from hyperrl.run.manifest import available_cores
from hyperrl.train import check, train


def evaluations(folder):
    with (folder.evaluation / "evaluations.csv").open(newline="") as file:
        return [(int(row["steps"]), float(row["return"])) for row in csv.DictReader(file)]


def test_a_run_leaves_everything_that_it_promises(finished_run, small_config):
    folder = finished_run.folder
    assert folder.config() == small_config
    assert folder.status()["state"] == "finished"
    assert folder.status()["steps"] == 300
    assert folder.manifest()["finished"] is not None
    assert [steps for steps, _ in evaluations(folder)] == [0, 0, 100, 100, 200, 200, 300, 300]
    assert folder.checkpoint().steps == 300
    assert folder.checkpoint("best").steps in {steps for steps, _ in evaluations(folder)}
    top = {"run.toml", "run.lock", "manifest.json", "status.json", "tb", "ckpt", "eval"}
    assert {p.name for p in folder.path.iterdir()} == top


def test_the_result_says_what_the_table_says(finished_run):
    rows = evaluations(finished_run.folder)
    assert finished_run.return_before == pytest.approx(
        np.mean([value for steps, value in rows if steps == 0])
    )
    assert finished_run.return_after == pytest.approx(
        np.mean([value for steps, value in rows if steps == 300])
    )
    assert finished_run.steps == 300
    assert finished_run.steps_per_second == pytest.approx(300 / finished_run.seconds)


def test_tensorboard_logs_lie_directly_in_tb(finished_run):
    files = list(finished_run.folder.tensorboard.iterdir())
    assert [file.name.startswith("events.out.tfevents") for file in files] == [True]
    log = EventAccumulator(str(finished_run.folder.tensorboard))
    log.Reload()
    tags = set(log.Tags()["scalars"])
    assert {"eval/mean_return", "train/critic_loss", "train/actor_loss"} <= tags
    assert [event.step for event in log.Scalars("eval/mean_return")] == [0, 100, 200, 300]


def same_weights(first, second):
    a, b = (run.folder.checkpoint().weights() for run in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(finished_run, small_config, tmp_path):
    again = train(dataclasses.replace(small_config, out=str(tmp_path / "again")))
    assert same_weights(finished_run, again)
    assert evaluations(finished_run.folder) == evaluations(again.folder)
    other = train(dataclasses.replace(small_config, seed=1, out=str(tmp_path / "other")))
    assert not same_weights(finished_run, other)


def test_evaluations_do_not_change_what_is_learned(finished_run, small_config, tmp_path):
    config = dataclasses.replace(small_config, eval_every=0, eval_episodes=1, out=str(tmp_path / "run"))
    assert same_weights(finished_run, train(config))


@pytest.mark.skipif(available_cores() < 2, reason="needs two cores")
def test_several_environments_and_threads(small_config, tmp_path):
    before = torch.get_num_threads()
    config = dataclasses.replace(small_config, n_envs=3, threads=2, eval_every=0, out=str(tmp_path / "run"))
    with pytest.warns(UserWarning, match="the run computes with 2 threads"):
        run = train(config)
    assert run.steps == 300
    assert run.folder.checkpoint().about["threads"] == 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": "td4"},
        {"env": "Pendulm-v1"},
        {"env": "CartPole-v1"},
        {"policy": "MlpPolcy"},
        {"policy": "MultiInputPolicy"},
        {"env_kwargs": {"gravityy": 1}},
        {"agent_kwargs": {"gamma": 2}},
        {"n_envs": 2, "agent_kwargs": {"train_freq": [1, "episode"]}},
        {"agent_kwargs": {"learning_starts": 300}},
        {"agent_kwargs": {"policy_kwargs": {"net_arhc": [3]}}},
        {"agent_kwargs": {"optimize_memory_usage": True, "replay_buffer_kwargs": {"no_such_argument": 1}}},
    ],
    ids=str,
)
def test_what_cannot_be_trained_leaves_nothing(small_config, tmp_path, changes):
    config = dataclasses.replace(small_config, out=str(tmp_path / "run"), **changes)
    with pytest.raises(HyperRLError) as caught:
        train(config)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_gpu_is_refused(small_config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch finds no GPU here"):
        check(dataclasses.replace(small_config, device="cuda"))


def test_a_folder_that_holds_a_run_is_refused(finished_run, small_config):
    before = {p: p.read_bytes() for p in Path(finished_run.folder.path).rglob("*") if p.is_file()}
    with pytest.raises(RunFolderError, match="already holds a run"):
        train(dataclasses.replace(small_config, out=str(finished_run.folder.path)))
    assert {p: p.read_bytes() for p in Path(finished_run.folder.path).rglob("*") if p.is_file()} == before


@pytest.fixture
def interrupted(monkeypatch):
    """Make TD3 raise an error after 120 steps."""

    def install(error):
        cls = agents.get("td3")
        collect = cls.collect_rollouts

        def collect_or_raise(self, *args, **kwargs):
            if self.num_timesteps >= 120:
                raise error
            return collect(self, *args, **kwargs)

        monkeypatch.setattr(cls, "collect_rollouts", collect_or_raise)

    return install


def test_a_keyboard_interrupt_that_is_no_signal_leaves_the_last_checkpoint(
    small_config, tmp_path, interrupted
):
    interrupted(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt) as caught:
        train(dataclasses.replace(small_config, out=str(tmp_path / "run")))
    assert caught.value.__notes__ == [f"the run up to its last checkpoint lies in {tmp_path / 'run'}"]
    folder = RunFolder.open(tmp_path / "run")
    assert (folder.status()["state"], folder.status()["steps"]) == ("stopped", 120)
    assert folder.manifest()["finished"] is not None


def test_a_failure_is_written_down(small_config, tmp_path, interrupted):
    interrupted(RuntimeError("the simulator\nbroke"))
    with pytest.raises(RuntimeError, match="broke"):
        train(dataclasses.replace(small_config, out=str(tmp_path / "run")))
    status = RunFolder.open(tmp_path / "run").status()
    assert (status["state"], status["steps"]) == ("failed", 120)
    assert status["error"] == "RuntimeError: the simulator broke"


def test_weights_that_become_nan_stop_the_run(small_config, tmp_path, monkeypatch):
    cls = agents.get("td3")
    learn = cls.train

    def poison(self, *args, **kwargs):
        learn(self, *args, **kwargs)
        with torch.no_grad():
            self.actor.mu[0].weight.fill_(float("nan"))

    monkeypatch.setattr(cls, "train", poison)
    with pytest.raises(
        NonFiniteError, match=r"weight actor\.mu\.0\.weight is nan, found after update 1 at step 51"
    ):
        train(dataclasses.replace(small_config, out=str(tmp_path / "run")))
    folder = RunFolder.open(tmp_path / "run")
    assert folder.status()["state"] == "failed"
    weights = folder.checkpoint().weights()
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_the_default_place_is_the_root_of_the_runs(small_config, runs_root):
    config = RunConfig(
        "td3", "Pendulum-v1", steps=60, eval_episodes=1, agent_kwargs=small_config.agent_kwargs
    )
    path = train(config).folder.path
    assert path.relative_to(runs_root).parts[:2] == ("Pendulum-v1", "td3")
