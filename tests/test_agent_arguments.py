import inspect

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from hyperrl.agent_arguments import (
    agent_parameters,
    build_agent,
    build_agent_kwargs,
    check_agent_kwargs,
    parameters_of,
)
from hyperrl.errors import ConfigError, UnknownNameError


class WiderTD3(TD3):
    """Passes what it does not know on, as agents do."""

    def __init__(self, *args, extra: int = 3, **kwargs):
        super().__init__(*args, **kwargs)


def check(kwargs, cls=TD3, policy="MlpPolicy", steps=1_000_000):
    check_agent_kwargs("td3", cls, policy, kwargs, steps)


def test_parameters_follow_the_base_classes():
    assert set(parameters_of(TD3)) == set(inspect.signature(TD3).parameters)
    assert set(parameters_of(WiderTD3)) == set(inspect.signature(TD3).parameters) | {"extra"}


def test_what_belongs_to_the_run_is_no_argument_of_the_agent():
    names = set(agent_parameters(TD3))
    assert {"batch_size", "policy_kwargs", "policy_delay"} <= names
    assert not names & {"policy", "env", "seed", "device", "tensorboard_log", "verbose", "_init_setup_model"}


@pytest.mark.parametrize("name", ["policy", "env", "seed", "device", "tensorboard_log", "verbose"])
def test_giving_it_to_the_agent_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name} belongs to the run"):
        check({name: 3})


GOOD = {
    "learning_rate": [1e-3, 1],
    "buffer_size": [1, 1e6],
    "learning_starts": [0, 100],
    "batch_size": [1, 256],
    "tau": [0.005, 1],
    "gamma": [0.9, 1],
    "train_freq": [1, [1, "step"], [2, "episode"]],
    "gradient_steps": [1, -1],
    "policy_delay": [1, 2],
    "target_policy_noise": [0, 0.2],
    "target_noise_clip": [0, 0.5],
    "n_steps": [1, 3],
    "optimize_memory_usage": [True, False],
    "action_noise": [{"kind": "normal", "sigma": 0.1}, {"kind": "ornstein-uhlenbeck"}, {"kind": "none"}],
    "policy_kwargs": [
        {},
        {"net_arch": []},
        {"net_arch": {"pi": [64], "qf": [64, 64]}},
        {"activation_fn": "Tanh"},
    ],
}
BAD = {
    "learning_rate": [0, -1e-3, 2, float("nan"), float("inf"), "fast"],
    "buffer_size": [0, 1.5, -1, 1e30],
    "learning_starts": [-1, 0.5],
    "batch_size": [0, -1, 2.5, True],
    "tau": [0, 1.1, float("nan")],
    "gamma": [0, 1.5, 2, float("inf")],
    "train_freq": [0, [1], [1, "week"], [0, "step"], "step", [1, "step", 2]],
    "gradient_steps": [0, -2],
    "policy_delay": [0],
    "target_policy_noise": [-0.1],
    "target_noise_clip": [float("nan")],
    "n_steps": [0],
    "optimize_memory_usage": [1, "yes"],
    "action_noise": [
        0.1,
        {"sigma": 0.1},
        {"kind": "normal", "sigma": -1},
        {"kind": "normal", "sigma": float("nan")},
    ],
    "policy_kwargs": [
        3,
        {"net_arch": [0]},
        {"net_arch": [64.5]},
        {"net_arch": 64},
        {"net_arch": "64"},
        {"n_critics": 0},
        {"n_critics": 2.5},
        {"share_features_extractor": 1},
        {"normalize_images": "no"},
    ],
    "replay_buffer_kwargs": [{"x": [float("nan")]}],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in GOOD.items() for value in values]
)
def test_right_arguments_are_accepted_and_build_an_agent(name, value):
    kwargs = {"buffer_size": 100, "policy_kwargs": {"net_arch": [8]}, name: value}
    check(kwargs)
    if name != "optimize_memory_usage" and value != 1e6:
        agent = TD3("MlpPolicy", "Pendulum-v1", device="cpu", **build_agent_kwargs(kwargs, 1))
        assert agent.num_timesteps == 0


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_wrong_arguments_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name):
        check({name: value})


@pytest.mark.parametrize("value", ["auto", "auto_0.1", 0.2])
def test_right_entropy_coefficients(value):
    check({"ent_coef": value}, SAC)


@pytest.mark.parametrize("value", ["auto_x", "auto_-1", "automatic", 0, -0.1, float("nan"), "auto_inf"])
def test_wrong_entropy_coefficients(value):
    with pytest.raises(ConfigError, match="ent_coef must be"):
        check({"ent_coef": value}, SAC)


@pytest.mark.parametrize(
    ("value", "right"), [("auto", True), (-6, True), ("auto_1", False), (float("inf"), False)]
)
def test_target_entropies(value, right):
    if right:
        check({"target_entropy": value}, SAC)
    else:
        with pytest.raises(ConfigError, match="target_entropy"):
            check({"target_entropy": value}, SAC)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"bach_size": 3}, "unknown argument of td3 'bach_size', did you mean 'batch_size'"),
        (
            {"policy_kwargs": {"net_arh": [3]}},
            "unknown argument of MlpPolicy 'net_arh', did you mean 'net_arch'",
        ),
        (
            {"policy_kwargs": {"net_arch": {"q": [3]}}},
            "unknown key of policy_kwargs.net_arch 'q', did you mean 'qf'",
        ),
        ({"policy_kwargs": {"activation_fn": "relu"}}, "unknown activation 'relu', did you mean 'ReLU'"),
        ({"policy_kwargs": {"optimizer_class": "Adm"}}, "unknown optimizer 'Adm', did you mean 'Adam'"),
        ({"action_noise": {"kind": "norml"}}, "unknown kind of action_noise 'norml', did you mean 'normal'"),
        (
            {"action_noise": {"kind": "normal", "sigm": 1}},
            "unknown key of action_noise 'sigm', did you mean 'sigma'",
        ),
        ({"ent_coef": 0.1}, "unknown argument of td3 'ent_coef'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(kwargs, text):
    with pytest.raises(UnknownNameError, match=text):
        check(kwargs)


def test_an_unknown_policy_is_refused():
    with pytest.raises(UnknownNameError, match="unknown policy of td3 'MlpPolcy', did you mean 'MlpPolicy'"):
        check({}, policy="MlpPolcy")


def test_a_run_that_only_warms_up_is_refused():
    check({"learning_starts": 99}, steps=100)
    with pytest.raises(ConfigError, match="learning_starts must be less than the 100 steps"):
        check({"learning_starts": 100}, steps=100)


@pytest.mark.parametrize(
    ("table", "cls"),
    [
        ({"kind": "normal", "sigma": 0.3}, NormalActionNoise),
        ({"kind": "ornstein-uhlenbeck", "sigma": 0.3}, OrnsteinUhlenbeckActionNoise),
    ],
)
def test_noise_has_the_size_of_the_actions(table, cls):
    noise = build_agent_kwargs({"action_noise": table}, 6)["action_noise"]
    assert type(noise) is cls
    assert noise().shape == (6,)
    np.testing.assert_array_equal(noise._sigma, np.full(6, 0.3))
    np.testing.assert_array_equal(noise._mu, np.zeros(6))


def test_no_noise_is_none():
    assert build_agent_kwargs({"action_noise": {"kind": "none"}}, 2) == {"action_noise": None}


def test_classes_tuples_and_whole_numbers_are_built_and_the_original_is_left_alone():
    kwargs = {
        "batch_size": 64.0,
        "train_freq": [2, "step"],
        "policy_kwargs": {"activation_fn": "Tanh", "optimizer_class": "AdamW", "net_arch": [8]},
    }
    built = build_agent_kwargs(kwargs, 1)
    assert built["train_freq"] == (2, "step")
    assert type(built["batch_size"]) is int
    assert built["policy_kwargs"] == {
        "activation_fn": torch.nn.Tanh,
        "optimizer_class": torch.optim.AdamW,
        "net_arch": [8],
    }
    assert kwargs["policy_kwargs"]["activation_fn"] == "Tanh"


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [(MemoryError("no room\nfor it"), "no room for it"), (MemoryError(), "MemoryError")],
)
def test_a_constructor_that_fails_is_one_sentence_and_closes_the_environments(failure, sentence):
    class Greedy(TD3):
        def __init__(self, *args, **kwargs):
            raise failure

    closed = []
    env = DummyVecEnv([lambda: gym.make("Pendulum-v1")])
    env.close = lambda: closed.append(True)
    with pytest.raises(ConfigError, match=f"greedy cannot be built with these arguments: {sentence}$"):
        build_agent("greedy", Greedy, "MlpPolicy", env, {})
    assert closed == [True]
