"""From a family of tasks to a data set: experts in processes, continued where they were stopped."""

import json

import numpy as np
import pytest

from hyperrl.cli import main
from hyperrl.config import RunConfig
from hyperrl.errors import ConfigError, ContextError, DatasetError, RunFolderError, UnknownNameError
from hyperrl.sweep.console import Lines
from hyperrl.zero_shot import configure, plan_preparation, record_experts, train_experts
from hyperrl.zero_shot_data import Dataset
from tests.agents.hyper_zero.lines import ENV, LineEnv, line_dataset
from tests.sweep.in_process import InProcess

SMALL = {
    "agent": "td3",
    "env": ENV,
    "steps": 60,
    "eval_every": 0,
    "eval_episodes": 1,
    "checkpoint_every": 20,
    "device": "cpu",
    "env_kwargs": {"grid": 7},
    "agent_kwargs": {"learning_starts": 20, "batch_size": 8, "policy_kwargs": {"net_arch": [8]}},
}


def family(**changes):
    return RunConfig(**{**SMALL, **changes})


def plan(folder, **changes):
    settings = {"tests": ["tasks"], "episodes": 2} | {
        key: changes.pop(key) for key in ("tests", "episodes", "checkpoint") if key in changes
    }
    return plan_preparation(family(**changes), folder, **settings)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "lines"
    preparation = plan(folder)
    engine = InProcess(failing=["task-002"])
    result = train_experts(preparation, engine, Lines())
    return preparation, engine, result, record_experts(preparation)


def test_each_task_of_the_split_gets_one_expert_that_does_not_see_it(tmp_path):
    preparation = plan(tmp_path / "new")
    splits = LineEnv(grid=7).splits
    contexts = [(split, tuple(row)) for split in ("train", "tasks") for row in splits.contexts(split)]
    assert [(task.split, tuple(task.context.values())) for task in preparation.tasks] == contexts
    for index, task in enumerate(preparation.tasks):
        config = task.run.config
        assert config.env_kwargs["fixed"] == task.context
        assert config.env_kwargs["mode"] == "hidden"
        assert config.env_kwargs["split"] == "tasks"
        assert (config.seed, config.threads) == (index, 1)
    assert not (tmp_path / "new").exists()
    assert len(plan(tmp_path / "new", tests=[]).tasks) == len(splits.points)
    assert len(plan(tmp_path / "new", tests=None).tasks) == len(contexts)


def test_finished_experts_make_a_data_set_and_a_failed_one_is_named(prepared):
    preparation, engine, result, manifest = prepared
    names = [task.name for task in preparation.tasks]
    assert engine.started == names
    assert set(result.unfinished) == {"task-002"}
    assert result.unfinished["task-002"].error == "it was to fail"
    assert [task.name for task in manifest.tasks] == [name for name in names if name != "task-002"]
    assert manifest.env_kwargs == {"split": "tasks", "grid": 7}
    assert manifest.gamma == 0.99
    for task in manifest.tasks:
        assert task.label == "critic"
        assert task.rows == 2 * 8
        assert task.expert["agent"] == "td3"
        assert len(task.returns) == 2
    loaded = Dataset(preparation.folder).load("train")
    assert len(loaded) == len(manifest.of_split("train"))
    # What was recorded happened in the task: x' is its drift times x, the action and a little noise.
    for task, data in zip(manifest.of_split("train"), loaded, strict=True):
        noise = data.next_states - task.context[0] * data.states - data.actions
        assert np.abs(noise).max() < 0.1 + 1e-4
        rewards = data.rewards.reshape(2, 8).sum(axis=1)
        np.testing.assert_allclose(rewards, task.returns, rtol=1e-5)


def test_the_same_call_continues(prepared):
    preparation, _, _, manifest = prepared
    again = plan(preparation.folder)
    files = {task.name: (preparation.folder / task.file).stat().st_mtime_ns for task in manifest.tasks}
    spoilt = preparation.folder / manifest.tasks[1].file
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    engine = InProcess()
    assert not train_experts(again, engine, Lines(), retry=True).unfinished
    assert engine.started == ["task-002"]
    complete = record_experts(again)
    assert len(complete.tasks) == 7
    after = {task.name: (preparation.folder / task.file).stat().st_mtime_ns for task in complete.tasks}
    assert {name for name in files if after[name] != files[name]} == {manifest.tasks[1].name}
    # The same episodes are played again: the same bytes.
    assert {task.sha256 for task in manifest.tasks} <= {task.sha256 for task in complete.tasks}


def test_other_settings_of_experts_are_refused(prepared):
    preparation = prepared[0]
    with pytest.raises(ConfigError, match="was begun with steps = 60"):
        plan(preparation.folder, steps=70)


def test_no_finished_expert_is_one_sentence(tmp_path):
    preparation = plan(tmp_path / "new")
    with pytest.raises(DatasetError, match="no expert of a task of training is finished"):
        record_experts(preparation)
    names = [task.name for task in preparation.tasks]
    train_experts(preparation, InProcess(failing=names[:-1]), Lines())
    with pytest.raises(DatasetError, match="no expert of a task of training is finished"):
        record_experts(preparation)
    assert not (tmp_path / "new" / "dataset.json").exists()


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"env": "Pendulum-v1", "env_kwargs": {}}, ConfigError, "cannot be built"),
        ({"env_kwargs": {"split": "box"}}, ContextError, "experts solve single tasks: set env_kwargs.split"),
        ({"env_kwargs": {"mode": "visible"}}, ConfigError, "leave env_kwargs.mode out"),
        ({"env_kwargs": {"fixed": {"drift": 0.1}}}, ConfigError, "leave env_kwargs.fixed out"),
        ({"env_kwargs": {"grid": 4}}, ConfigError, "less than one test"),
        ({"agent_kwargs": {"batch_sise": 8}}, UnknownNameError, "did you mean 'batch_size'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, changes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        plan_preparation(family(**changes), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_unknown_tests_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown split 'task', did you mean 'tasks'"):
        plan(tmp_path / "new", tests=["task"])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="already holds files"):
        plan(tmp_path)


def test_a_run_is_configured_by_the_data_set(prepared):
    preparation = prepared[0]
    config = configure(preparation.folder, "uvfa", {"steps": 20, "seed": 3}, settings=["tasks_per_batch=4"])
    assert (config.agent, config.env, config.steps, config.seed) == ("hyper-zero", ENV, 20, 3)
    assert config.env_kwargs == {"split": "tasks", "grid": 7}
    assert config.policy == "MlpPolicy"
    assert config.agent_kwargs["dataset"] == str(preparation.folder)
    assert (config.agent_kwargs["method"], config.agent_kwargs["tasks_per_batch"]) == ("uvfa", 4)
    raw = configure(preparation.folder, settings=["env_kwargs.units=raw", "env_kwargs.append=dict"])
    assert (raw.env_kwargs["units"], raw.policy) == ("raw", "MultiInputPolicy")


COMMON = ["--steps", "20", "--set", "tasks_per_batch=2", "--set", "rows_per_task=4"]
COMMON += ["--set", "policy_kwargs.embedding=[8]", "--eval-episodes", "1", "--device", "cpu"]


def test_a_run_learns_continues_evaluates_and_exports(tmp_path, capsys):
    data = str(line_dataset(tmp_path / "data", env_kwargs={"split": "tasks", "grid": 20}).folder)
    out = str(tmp_path / "run")
    assert main(["zero-shot", "train", data, *COMMON, "--out", out, "--method", "hyperzero"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == out
    assert main(["resume", out, "--steps", "40"]) == 0
    (tmp_path / "data" / "dataset.json").rename(tmp_path / "data" / "away")
    # Whoever evaluates need not have the data.
    assert main(["evaluate", out, "--episodes", "1"]) == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train"], "needs the folder of a data set"),
        (["train", "nowhere"], "holds no data set"),
        (["train", "DATA", "--method", "hyperzer"], "did you mean 'hyperzero'"),
        (["train", "DATA", "--set", "tasks_per_batch=18"], "fewer than the 18 of a batch"),
        (["train", "DATA", "--set", "env_kwargs.high=0.8"], "is trained from -0.9 to 0.9"),
        (["prepare", "--env", "Pendulum-v1"], "needs --env and --out"),
        (["prepare", "--env", "Pendulum-v1", "--out", "OUT"], "cannot be built"),
        (["prepare", "--env", ENV, "--out", "OUT", "--expert", "td4"], "did you mean"),
        (["prepare", "--env", ENV, "--out", "OUT", "--episodes", "0"], "episodes must be"),
        (["plan"], "unknown part of zero-shot 'plan'"),
    ],
)
def test_the_command_line_says_what_is_wrong(tmp_path, capsys, arguments, sentence):
    data = line_dataset(tmp_path / "data", rows=8)
    places = {"DATA": str(data.folder), "OUT": str(tmp_path / "out")}
    own = [*COMMON, "--out", str(tmp_path / "out")] if arguments[0] == "train" else []
    words = [places.get(word, word) for word in arguments]
    assert main(["zero-shot", words[0], *(own if len(words) > 1 else []), *words[1:]]) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert "Traceback" not in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_dry_run_lists_the_tasks(tmp_path, capsys):
    words = ["--env", ENV, "--out", str(tmp_path / "out"), "--set", "env_kwargs.grid=7", "--expert", "td3"]
    assert main(["zero-shot", "prepare", *words, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["task-000", "train", "drift=-0.9"]
    assert len(lines) == 8
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_experts_are_trained_in_processes(tmp_path, capsys):
    words = ["--env", ENV, "--out", str(tmp_path / "out"), "--set", "env_kwargs.grid=7", "--expert", "td3"]
    words += ["--steps", "60", "--set", "learning_starts=20", "--episodes", "1", "--workers", "2"]
    words += ["--set", "eval_every=0", "--set", "eval_episodes=1"]
    assert main(["zero-shot", "prepare", *words]) == 0
    first = capsys.readouterr().out
    assert "7 of 7 tasks" in first
    assert main(["zero-shot", "prepare", *words]) == 0
    assert "7 runs, 7 of them finished before" in capsys.readouterr().out
