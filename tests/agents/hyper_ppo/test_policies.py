"""The policy of many architectures against networks that are built one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn

from hyperrl.errors import ConfigError, UnknownNameError, UnsupportedSpaceError
from hyperrl.registry import generators
from tests.agents.hyper_ppo.conftest import SMALL

DRAWS = np.random.default_rng(0)


def one_by_one(policy, architecture, observations, activation):
    """The network of an architecture as modules of torch."""
    layers = policy.generator.generate(architecture)
    h = th.as_tensor(observations, dtype=th.float32)
    for index, (weight, bias) in enumerate(layers):
        h = nn.functional.linear(h, weight, bias)
        h = activation(h) if index < len(layers) - 1 else h
    return h


def observations_of(model, rows):
    return DRAWS.normal(size=(rows, *model.observation_space.shape)).astype(np.float32)


@pytest.mark.parametrize("generator", generators.names())
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_predict_is_the_network_of_the_architecture(make_agent, generator, activation):
    module = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    model = make_agent(generator=generator, policy_kwargs={"activation_fn": module})
    rows = observations_of(model, 5)
    for architecture in SMALL:
        with th.no_grad():
            mean = one_by_one(model.policy, architecture, rows, getattr(th, activation)).numpy()
        low, high = model.action_space.low, model.action_space.high
        actions, _ = model.predict(rows, deterministic=True, architecture=architecture)
        assert np.allclose(actions, np.clip(mean, low, high), atol=1e-6)


def test_policies_of_different_architectures_differ(make_agent):
    model = make_agent()
    rows = observations_of(model, 3)
    actions = [model.predict(rows, deterministic=True, architecture=one)[0].tobytes() for one in SMALL]
    assert len(set(actions)) == len(SMALL)


def test_without_an_architecture_the_largest_acts(make_agent):
    model = make_agent()
    rows = observations_of(model, 3)
    assert model.policy.default_architecture == (8, 8, 8)
    largest, _ = model.predict(rows, deterministic=True, architecture=[8, 8, 8])
    assert np.array_equal(model.predict(rows, deterministic=True)[0], largest)


def test_an_architecture_is_chosen_for_one_call_only(make_agent):
    model = make_agent()
    rows = observations_of(model, 3)
    before, _ = model.predict(rows, deterministic=True)
    model.predict(rows, deterministic=True, architecture=[4])
    with pytest.raises(UnknownNameError, match=r"did you mean \[8\]"):
        model.predict(rows, deterministic=True, architecture=[9])
    assert np.array_equal(model.predict(rows, deterministic=True)[0], before)


def test_networks_for_acting_are_generated_anew_after_the_generator_learned(make_agent):
    model = make_agent()
    rows = observations_of(model, 3)
    before, _ = model.predict(rows, deterministic=True, architecture=[4, 8])
    again, _ = model.predict(rows, deterministic=True, architecture=[4, 8])
    model.learn(64)
    after, _ = model.predict(rows, deterministic=True, architecture=[4, 8])
    assert np.array_equal(before, again)
    assert not np.array_equal(before, after)


def test_all_architectures_at_once_act_as_each_alone(make_agent):
    model = make_agent()
    numbers = range(len(SMALL))
    rows = np.stack([observations_of(model, 4) for _ in numbers])
    together = model.policy.mean_actions(numbers, rows)
    for number in numbers:
        alone, _ = model.predict(rows[number], deterministic=True, architecture=model.policy.space[number])
        assert np.allclose(together[number], alone, atol=1e-6)


def test_weights_are_generated_once_for_all_steps(make_agent, monkeypatch):
    policy = make_agent().policy
    calls = []
    generate = type(policy.generator).forward
    monkeypatch.setattr(
        type(policy.generator),
        "forward",
        lambda self, layout: calls.append(layout.architectures) or generate(self, layout),
    )
    rows = np.zeros((3, 2, policy.space.inputs), np.float32)
    for _ in range(4):
        policy.mean_actions([0, 2, 3], rows)
        policy.predict(rows[0], architecture=[8])
    assert calls == [tuple(policy.space[n] for n in (0, 2, 3)), ((8,),)]


def test_few_sets_of_weights_are_kept(make_agent):
    policy = make_agent(policy_kwargs={"architectures": [[width] for width in range(1, 41)]}).policy
    for start in (0, 20):
        policy.mean_actions(range(start, start + 20), np.zeros((20, 1, policy.space.inputs), np.float32))
    assert [len(numbers) for numbers in policy._networks] == [20]
    for number in range(30):
        policy.predict(np.zeros(policy.space.inputs, np.float32), architecture=policy.space[number])
    assert len(policy._networks) == 16


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("critic", [[], [16], [16, 8]])
def test_a_frozen_policy_is_the_same_policy(make_agent, activation, critic):
    model = make_agent(policy_kwargs={"net_arch": critic, "activation_fn": activation}).learn(32)
    rows = observations_of(model, 6)
    tensor = th.as_tensor(rows)
    actions = th.as_tensor(DRAWS.normal(size=(6, model.action_space.shape[0])).astype(np.float32))
    for architecture in SMALL:
        frozen = model.policy.freeze(architecture)
        expected, _ = model.predict(rows, deterministic=True, architecture=architecture)
        assert np.allclose(frozen.predict(rows, deterministic=True)[0], expected, atol=1e-6)
        with th.no_grad():
            values, log_prob, _ = frozen.evaluate_actions(tensor, actions)
            own = model.policy.get_distribution(tensor, architecture).log_prob(actions)
            assert th.allclose(values, model.policy.predict_values(tensor, architecture), atol=1e-5)
            assert th.allclose(log_prob, own, atol=1e-5)


def test_the_critic_sees_logarithms_of_widths_and_the_depth(make_agent):
    policy = make_agent().policy
    row = policy.architecture_features[policy.space.index([4, 8])]
    assert row.tolist() == [2 / 8, 3 / 8, 0, 0, 1, 0]
    assert float(policy.architecture_features.max()) <= 1


def test_values_depend_on_the_architecture(make_agent):
    policy = make_agent().policy
    observation = th.zeros(1, policy.space.inputs)
    with th.no_grad():
        values = {round(float(policy.predict_values(observation, one)), 6) for one in SMALL}
    assert len(values) == len(SMALL)


def test_wrong_settings_are_refused_in_a_sentence(make_agent):
    with pytest.raises(UnknownNameError, match="space of architectures 'pape', did you mean 'paper'"):
        make_agent(policy_kwargs={"architectures": "pape"})
    with pytest.raises(ConfigError, match="needs both widths and depths"):
        make_agent(policy_kwargs={"architectures": {"widths": [4]}})
    with pytest.raises(UnknownNameError, match="key of architectures 'width'"):
        make_agent(policy_kwargs={"architectures": {"width": [4], "depths": [1]}})
    with pytest.raises(ConfigError, match="architectures must be"):
        make_agent(policy_kwargs={"architectures": 5})
    with pytest.raises(UnknownNameError, match="generator of weights 'neste', did you mean 'nested'"):
        make_agent(generator="neste")
    with pytest.raises(UnknownNameError, match="hidden activation of generated policies 'ELU'"):
        make_agent(policy_kwargs={"activation_fn": nn.ELU})
    with pytest.raises(UnknownNameError, match="unknown kernel"):
        make_agent(policy_kwargs={"kernel": "fast"})
    with pytest.raises(UnknownNameError, match="option of NestedGenerator 'output_gian', did you mean"):
        make_agent(policy_kwargs={"generator_kwargs": {"output_gian": 1.0}})
    with pytest.raises(ConfigError, match="or a WeightGenerator class, got <class 'int'>"):
        make_agent(generator=int)
    with pytest.raises(ConfigError, match=r"net_arch must be the hidden widths of the critic.*got \{'pi'"):
        make_agent(policy_kwargs={"net_arch": {"pi": [8], "vf": [8]}})
    with pytest.raises(ConfigError, match="a width in net_arch must be"):
        make_agent(policy_kwargs={"net_arch": [0]})
    with pytest.raises(ConfigError, match="leave use_sde out"):
        make_agent(use_sde=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("squash_output", True),
        ("share_features_extractor", False),
        ("features_extractor_class", NatureCNN),
        ("features_extractor_kwargs", {"features_dim": 3}),
    ],
)
def test_what_generated_networks_do_not_have_is_refused(make_agent, name, value):
    with pytest.raises(ConfigError, match=f"leave {name} out"):
        make_agent(policy_kwargs={name: value})


def test_discrete_actions_are_refused(make_agent):
    from stable_baselines3.common.env_util import make_vec_env

    with pytest.raises((UnsupportedSpaceError, AssertionError)):
        make_agent(make_vec_env("CartPole-v1", 4))
