"""`hyperrl gradient-quality` measures what the function does, and refuses in one sentence."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl.cli import main as cli
from hyperrl.config import RunConfig
from hyperrl.environments import make_env
from hyperrl.evaluation.gradient_quality import GradientQualityConfig, gradient_quality
from hyperrl.train import restore_agent, train


def make_model_file(folder, algorithm=TD3):
    model = algorithm(
        "MlpPolicy", make_env("Reacher-v5"), seed=3, device="cpu", policy_kwargs={"net_arch": [16]}
    )
    model.save(folder / "model.zip")
    return model, str(folder / "model.zip")


def test_command_line_writes_what_the_function_returns(tmp_path, capsys):
    model, file = make_model_file(tmp_path)
    arguments = ["--agent", "td3", "--env", "Reacher-v5", "--trust-pickle", "--states", "3", "--actions", "4"]
    assert cli(["gradient-quality", file, *arguments, "--seed", "2"]) == 0
    printed = capsys.readouterr().out
    table = tmp_path / "eval" / "gradient_quality.csv"
    assert str(table) in printed
    expected = gradient_quality(model, "Reacher-v5", GradientQualityConfig(states=3, actions=4, seed=2))
    assert f"mean cosine {expected.mean_cosine:+.3f} (95 % interval" in printed
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 3
    for row, state in zip(rows, expected.states, strict=True):
        assert (row["env"], row["agent"], row["run_seed"], row["seed"]) == ("Reacher-v5", "td3", "3", "2")
        assert int(row["episode_step"]) == state.step
        assert float(row["cosine"]) == state.cosine
        assert float(row["critic_norm"]) == state.critic_norm
        assert float(row["policy_return"]) == state.returns[0]
        for axis in range(2):
            assert float(row[f"critic_gradient_{axis}"]) == state.critic_gradient[axis]
            assert float(row[f"estimated_gradient_{axis}"]) == state.estimated_gradient[axis]


def test_command_line_says_when_there_are_too_few_actions(tmp_path, capsys):
    _, file = make_model_file(tmp_path, SAC)
    arguments = ["--agent", "sac", "--env", "Reacher-v5", "--trust-pickle", "--states", "1", "--actions", "2"]
    assert cli(["gradient-quality", file, *arguments, "--out", str(tmp_path / "few.csv")]) == 0
    assert (
        "2 actions cannot determine 2 gradient components: use --actions 3 or more" in capsys.readouterr().out
    )
    assert (tmp_path / "few.csv").is_file()


def test_command_line_takes_the_normalisation_of_a_model_file(tmp_path, capsys):
    model, file = make_model_file(tmp_path)
    vec_normalize = VecNormalize(DummyVecEnv([lambda: make_env("Reacher-v5")]))
    vec_normalize.ret_rms.var = np.float64(25.0)
    vec_normalize.save(str(tmp_path / "normalize.pkl"))
    arguments = ["--agent", "td3", "--env", "Reacher-v5", "--trust-pickle", "--states", "2", "--actions", "4"]
    assert (
        cli(["gradient-quality", file, *arguments, "--vec-normalize", str(tmp_path / "normalize.pkl")]) == 0
    )
    numbers = GradientQualityConfig(states=2, actions=4)
    expected = gradient_quality(model, "Reacher-v5", numbers, vec_normalize=vec_normalize)
    assert f"mean cosine {expected.mean_cosine:+.3f}" in capsys.readouterr().out
    assert expected.mean_cosine != gradient_quality(model, "Reacher-v5", numbers).mean_cosine


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{file}"], "can run code when it is loaded: add --trust-pickle"),
        (["{file}", "--trust-pickle"], "add --agent and --env"),
        (["{file}", "--trust-pickle", "--agent", "td4", "--env", "Reacher-v5"], "did you mean 'td3'?"),
        (["{file}", "--trust-pickle", "--agent", "td3", "--env", "Reachr-v5"], "did you mean 'Reacher-v5'?"),
        (
            ["{file}", "--trust-pickle", "--agent", "td3", "--env", "Hopper-v5"],
            "cannot be loaded as td3 on Hopper-v5",
        ),
        (["{folder}/no.zip"], "there is no file"),
        (["{folder}/nowhere"], "there is no folder"),
        (["{folder}"], "holds no run"),
        (["{folder}", "--agent", "td3"], "--agent is for a .zip file"),
        (["{folder}", "--states", "0"], "states must be a whole number of at least 1"),
        (["{folder}", "--states", "many"], "see hyperrl gradient-quality --help"),
        ([], "see hyperrl gradient-quality --help"),
        (
            ["{file}", "--trust-pickle", "--agent", "td3", "--env", "Reacher-v5", "--out", "{folder}"],
            "is a folder: give the name of a .csv file",
        ),
        (
            ["{file}", "--trust-pickle", "--agent", "td3", "--env", "Reacher-v5", "--out", "{file}/x.csv"],
            "cannot be written",
        ),
    ],
)
def test_command_line_refuses_in_one_sentence_and_writes_nothing(tmp_path, capsys, arguments, words):
    _, file = make_model_file(tmp_path)
    filled = [part.format(file=file, folder=tmp_path) for part in arguments]
    assert cli(["gradient-quality", *filled]) == 2
    output = capsys.readouterr()
    assert words in output.err
    assert "Traceback" not in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_command_line_refuses_a_file_that_is_no_model(tmp_path, capsys):
    (tmp_path / "noise.zip").write_bytes(b"noise")
    arguments = ["--agent", "td3", "--env", "Reacher-v5", "--trust-pickle"]
    assert cli(["gradient-quality", str(tmp_path / "noise.zip"), *arguments]) == 2
    assert "cannot be loaded as td3 on Reacher-v5" in capsys.readouterr().err


@pytest.fixture(scope="module")
def reacher_run(tmp_path_factory):
    """A short run on Reacher-v5."""
    settings = {
        "learning_starts": 10,
        "batch_size": 4,
        "buffer_size": 100,
        "policy_kwargs": {"net_arch": [8]},
    }
    out = str(tmp_path_factory.mktemp("reacher") / "run")
    return train(
        RunConfig("td3", "Reacher-v5", steps=60, eval_episodes=1, seed=4, out=out, agent_kwargs=settings)
    ).folder


def test_command_line_measures_a_run_folder(reacher_run, capsys):
    assert cli(["gradient-quality", str(reacher_run.path), "--states", "2", "--actions", "3"]) == 0
    model = restore_agent(reacher_run.path)
    expected = gradient_quality(model, "Reacher-v5", GradientQualityConfig(states=2, actions=3))
    assert f"mean cosine {expected.mean_cosine:+.3f}" in capsys.readouterr().out
    with (reacher_run.evaluation / "gradient_quality.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["cosine"]) for row in rows] == pytest.approx(expected.cosines.tolist())
    assert {(row["checkpoint"], row["steps"], row["run_seed"]) for row in rows} == {("latest", "60", "4")}
