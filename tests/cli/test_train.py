import dataclasses
import shlex

import pytest

from hyperrl.cli import main
from hyperrl.config import RunConfig
from hyperrl.run import RunFolder

SMALL = [
    *("--set", "learning_starts=50", "batch_size=16", "buffer_size=1000", "policy_kwargs.net_arch=[16]"),
    *("--eval-episodes", "1", "--eval-every", "0"),
]


def test_train_leaves_a_run_prints_the_next_commands_and_the_folder_last(capsys, tmp_path):
    out = tmp_path / "my run"
    argv = [
        "train",
        "td3",
        "--env",
        "Pendulum-v1",
        "--steps",
        "200",
        "--seed",
        "3",
        "--out",
        str(out),
        *SMALL,
    ]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(out)
    assert lines[0].startswith("td3 on Pendulum-v1, 200 steps in ")
    assert "steps/s" in lines[0]
    assert " before training, " in lines[1]
    commands = [shlex.split(line) for line in lines if line.startswith("  ")]
    assert commands == [
        ["tensorboard", "--logdir", str(out / "tb")],
        ["hyperrl", "resume", str(out), "--steps", "2000"],
        ["hyperrl", "evaluate", str(out), "--episodes", "20"],
    ]
    config = RunFolder.open(out).config()
    assert (config.seed, config.steps, config.env) == (3, 200, "Pendulum-v1")
    assert config.agent_kwargs["policy_kwargs"] == {"net_arch": [16]}
    assert RunFolder.open(out).status()["state"] == "finished"

    assert main([*commands[1][1:-1], "220"]) == 0
    assert capsys.readouterr().out.startswith("td3 on Pendulum-v1, 220 steps in ")
    assert RunFolder.open(out).config() == dataclasses.replace(config, steps=220)

    assert main([*commands[2][1:-1], "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "eval" / "episodes.csv")

    assert main(argv) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_print_config_shows_what_would_run_and_writes_nothing(capsys, runs_root):
    argv = ["train", "td3", "--env", "Hopper-v5", "--steps", "1e5", "--n-envs", "2", "--print-config"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    config = RunConfig.from_toml(out)
    assert (config.agent, config.env, config.steps, config.n_envs) == ("td3", "Hopper-v5", 100_000, 2)
    assert config.agent_kwargs["learning_rate"] == 1e-3
    assert err == ""
    assert list(runs_root.iterdir()) == []


def test_print_config_refuses_what_could_not_run(capsys):
    assert main(["train", "td3", "--env", "Hoper-v5", "--print-config"]) == 2
    assert capsys.readouterr().out == ""
    short = ["--env", "Pendulum-v1", "--steps", "100", "--print-config"]
    assert main(["train", "hyper-td3", *short, "--set", "policy_kwargs.critic.kind=lowrnk"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "unknown hypernetwork kind 'lowrnk', did you mean 'lowrank'?" in err


def test_a_note_says_what_was_adapted(capsys):
    assert main(["train", "td3", "--env", "Pendulum-v1", "--steps", "500", "--print-config"]) == 0
    out, err = capsys.readouterr()
    assert err == "note: learning_starts is 50, not the preset's 10000: the run has only 500 steps\n"
    assert RunConfig.from_toml(out).agent_kwargs["learning_starts"] == 50


@pytest.mark.parametrize(
    "several", [["--set", "gamma=0.9", "tau=0.01"], ["--set", "gamma=0.9", "--set", "tau=0.01"]]
)
def test_several_settings(capsys, several):
    assert main(["train", "sac", "--env", "Pendulum-v1", *several, "--print-config"]) == 0
    kwargs = RunConfig.from_toml(capsys.readouterr().out).agent_kwargs
    assert (kwargs["gamma"], kwargs["tau"]) == (0.9, 0.01)


def test_a_file_and_flags(capsys, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('env = "Pendulum-v1"\nsteps = 70000\nseed = 4\n[agent]\ngamma = 0.9\n')
    assert main(["train", "td3", "--config", str(file), "--seed", "5", "--print-config"]) == 0
    config = RunConfig.from_toml(capsys.readouterr().out)
    assert (config.env, config.steps, config.seed, config.agent_kwargs["gamma"]) == (
        "Pendulum-v1",
        70_000,
        5,
        0.9,
    )
