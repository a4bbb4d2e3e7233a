"""What cannot be simulated on a GPU is refused with one sentence, also without the extra."""

from __future__ import annotations

import sys

import pytest
import torch

from hyperrl.cli import main
from hyperrl.config import RunConfig
from hyperrl.environments import make_training_envs
from hyperrl.errors import ConfigError, MissingExtraError, UnknownNameError, UnsupportedEnvError
from hyperrl_envs import native, warp
from hyperrl_envs.quadrotor.ids import QUADROTOR
from hyperrl_envs.warp import make_warp, supports
from hyperrl_envs.warp.extra import torch_device


def test_the_ids_are_those_of_the_native_tasks_but_for_the_solver():
    variant = {"Humanoid-v5": warp.HUMANOID_NEWTON}
    assert set(warp.SUPPORTED) == {variant.get(env_id, env_id) for env_id in native.SUPPORTED} - {QUADROTOR}
    assert supports("HalfCheetah-v5")
    assert not supports("Humanoid-v5")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = warp.nothing


@pytest.mark.parametrize("module", ["warp", "mujoco_warp"])
def test_without_the_extra_one_sentence_says_what_to_install(module, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    if module == "warp":
        monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    else:
        pytest.importorskip("warp", reason="without warp the other module is not asked for")
    with pytest.raises(MissingExtraError, match=rf"not installed \({module}\): pip install -e '\.\[warp\]'$"):
        make_warp("HalfCheetah-v5", 2)
    arguments = ["--env", "HalfCheetah-v5", "--set", "simulator=warp", "--steps", "100"]
    assert main(["train", "ppo", *arguments]) == 2
    assert "pip install -e '.[warp]'" in capsys.readouterr().err


def test_humanoid_is_refused_with_the_name_of_its_variant():
    with pytest.raises(UnsupportedEnvError, match=r"PGS solver.*use 'hyperrl/HumanoidNewton-v5'"):
        make_warp("Humanoid-v5", 2)


@pytest.mark.parametrize(
    ("env_id", "arguments", "error", "sentence"),
    [
        ("halfcheetah-v5", {}, UnsupportedEnvError, "did you mean 'HalfCheetah-v5'"),
        ("Pendulum-v1", {}, UnsupportedEnvError, "'Pendulum-v1' cannot be simulated with MuJoCo Warp"),
        ("Hopper-v5", {"healthy_rewards": 1}, UnknownNameError, "did you mean 'healthy_reward'"),
        ("Hopper-v5", {"healthy_reward": "much"}, ConfigError, "healthy_reward must be a finite number"),
        ("Hopper-v5", {"max_episode_steps": 0}, ConfigError, "max_episode_steps must be"),
        ("Hopper-v5", {"render_mode": "rgb_array"}, ConfigError, "draws no pictures: leave render_mode out"),
        ("Hopper-v5", {"xml_file": "/no/such.xml"}, ConfigError, "cannot be loaded"),
    ],
)
def test_wrong_arguments_are_refused(env_id, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        make_warp(env_id, 2, **arguments)


def test_devices_that_are_not_there_are_refused():
    assert torch_device("cpu") == torch.device("cpu")
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for wrong in ("gpu", "mps", "meta"):
        with pytest.raises(ConfigError, match=r"device must be 'auto', 'cpu', 'cuda' or 'cuda:N'"):
            torch_device(wrong)
    with pytest.raises(ConfigError, match=r"device is 'cuda:99', but torch finds \w+ GPUs here"):
        torch_device("cuda:99")


def test_runs_refuse_settings_that_contradict_the_simulator():
    with pytest.raises(UnknownNameError, match="unknown simulator 'wrap', did you mean 'warp'"):
        RunConfig("ppo", "HalfCheetah-v5", simulator="wrap")
    with pytest.raises(ConfigError, match="workers = true contradicts simulator = 'warp'"):
        RunConfig("ppo", "HalfCheetah-v5", simulator="warp", workers=True)
    for env_id, kwargs, sentence in [
        ("Humanoid-v5", {}, "PGS"),
        ("Pendulum-v1", {}, "cannot be simulated"),
        ("Hopper-v5", {"captured": False}, "no keyword argument 'captured'"),
    ]:
        config = RunConfig("ppo", env_id, simulator="warp", env_kwargs=kwargs)
        with pytest.raises((UnsupportedEnvError, ConfigError), match=sentence):
            make_training_envs(config, 0)
