"""The presets are the papers' constants, and every one of them builds and trains its agent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hyperrl.presets import read_presets, resolve
from hyperrl.sb3 import CRITICS, PAPER, SAC_CRITICS, critic_config
from hyperrl.train import check

HYPER_AGENTS = ["hyper-td3", "hyper-sac"]


def settings(agent, preset, env="Hopper-v5"):
    config = resolve(agent, {"preset": preset, "env": env, "steps": 100_000}).config
    return config, config.agent_kwargs


@pytest.mark.parametrize("agent", HYPER_AGENTS)
def test_the_presets_there_are(agent):
    expected = {"default", "compact", "paper"} | ({"demo"} if agent == "hyper-td3" else set())
    assert set(read_presets(agent)) == expected
    assert all(preset["description"] for preset in read_presets(agent).values())


@pytest.mark.parametrize("agent", HYPER_AGENTS)
def test_every_preset_can_be_trained_and_names_its_critic(agent):
    for preset in read_presets(agent):
        config, kwargs = settings(agent, preset, "Pendulum-v1")
        check(config)
        critic = "fast" if preset in ("default", "demo") else preset
        assert kwargs["policy_kwargs"]["critic"] == {"preset": critic}


@pytest.mark.parametrize(
    ("env", "starts"), [("Hopper-v5", 1000), ("HalfCheetah-v5", 10_000), ("Ant-v5", 10_000)]
)
@pytest.mark.parametrize("preset", ["compact", "paper"])
def test_td3s_published_constants(preset, env, starts):
    _, kwargs = settings("hyper-td3", preset, env)
    assert kwargs["learning_rate"] == 3e-4
    assert kwargs["batch_size"] == 100
    assert kwargs["learning_starts"] == starts
    assert kwargs["action_noise"] == {"kind": "normal", "sigma": 0.1}
    assert CRITICS[preset].learning_rate == 5e-5


@pytest.mark.parametrize(("env", "rate"), [("Hopper-v5", 1e-5), ("HalfCheetah-v5", 1e-4), ("Ant-v5", 1e-5)])
@pytest.mark.parametrize("preset", ["compact", "paper"])
def test_sacs_published_constants(preset, env, rate):
    _, kwargs = settings("hyper-sac", preset, env)
    assert kwargs["learning_rate"] == rate
    assert kwargs["batch_size"] == 256
    assert kwargs["learning_starts"] == 10_000
    assert kwargs["ent_coef"] == 0.2
    assert SAC_CRITICS[preset].learning_rate == 5e-5


def test_the_default_of_hyper_td3_differs_from_that_of_td3_in_the_critic_alone():
    _, ours = settings("hyper-td3", "default")
    _, theirs = settings("td3", "default")
    ours = {**ours, "policy_kwargs": {**ours["policy_kwargs"]}}
    assert ours["policy_kwargs"].pop("critic") == {"preset": "fast"}
    assert ours == theirs


def test_the_default_of_hyper_sac_differs_from_that_of_sac_in_the_critic_alone():
    _, ours = settings("hyper-sac", "default")
    _, theirs = settings("sac", "default")
    assert ours == {**theirs, "policy_kwargs": {"critic": {"preset": "fast"}}}


def test_the_demo_is_short_and_leaves_most_of_it_for_learning():
    config = resolve("hyper-td3", {"preset": "demo"}).config
    assert config.env == "HalfCheetah-v5"
    assert config.steps <= 30_000
    assert config.agent_kwargs["learning_starts"] <= config.steps // 10


def test_a_single_field_of_the_critic_changes_the_preset_that_it_is_set_on():
    resolved = resolve(
        "hyper-td3", {"env": "Hopper-v5", "preset": "paper"}, settings=["policy_kwargs.critic.gain=false"]
    )
    critic = resolved.config.agent_kwargs["policy_kwargs"]["critic"]
    assert critic_config(critic) == replace(PAPER, gain=False)
