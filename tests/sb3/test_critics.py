"""Hyper critics against plain networks, full graphs and published counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import SAC, TD3
from torch.nn import functional

from hyperrl import HyperSAC, HyperTD3
from hyperrl.errors import ConfigError, HyperRLError, UnknownNameError
from hyperrl.sb3 import CRITICS, HyperQ, HyperTD3Policy, critic_config
from hyperrl_agents.compiled_sac import losses as sac_losses
from hyperrl_agents.compiled_td3 import losses as td3_losses
from tests.sb3.toys import SMALL, TINY, TINY_LINEAR, TINY_PAPER, PointEnv, ShapeEnv

CRITIC_VARIANTS = {
    "fast": TINY,
    "paper": TINY_PAPER,
    "action": {**TINY, "condition": "action"},
    "lowrank": {**TINY, "kind": "lowrank", "kind_options": {"rank": 2}},
    "modular": {**TINY, "kind": "modular", "kind_options": {"modules": 3}},
    "film": {**TINY, "kind": "film"},
    "concat": {**TINY, "kind": "concat"},
    "without norms": {**TINY, "hidden_norm": "none", "layer_norm": False, "feature_norm": "none"},
    "linear": TINY_LINEAR,
    "action linear": {**TINY_LINEAR, "condition": "action"},
}
variants = pytest.mark.parametrize("critic", CRITIC_VARIANTS.values(), ids=list(CRITIC_VARIANTS))


@pytest.mark.parametrize(
    ("observation", "action", "n_critics", "published"),
    [(17, 6, 2, 8_537_346), (11, 3, 1, 7_748_610), (111, 8, 1, 9_086_210), (348, 17, 1, 11_508_482)],
)
def test_the_paper_critic_has_the_published_number_of_parameters(observation, action, n_critics, published):
    env = ShapeEnv(observation, action)
    kwargs = {"critic": "paper", "n_critics": n_critics, "net_arch": [4]}
    model = HyperTD3("MlpPolicy", env, policy_kwargs=kwargs, buffer_size=10, device="cpu")
    assert len(model.critic.q_networks) == n_critics
    for network in model.critic.q_networks:
        assert sum(p.numel() for p in network.parameters() if p.requires_grad) == published
    # At the start gains are 1 and biases 0, up to what the small random heads add.
    generated = model.critic.q_networks[0].hyper(th.randn(5, observation)).as_dict()
    gain = next(value for name, value in generated.items() if name.endswith("gain"))
    assert gain.mean().item() == pytest.approx(1, abs=0.1)


def double(model):
    """Let a model compute in float64; observations arrive as they are."""
    for network in (model.actor, model.critic):
        network.double()
        network.extract_features = lambda observation, extractor: observation
    return th.randn(12, 3, dtype=th.float64)


def full_graph(critic, state, action):
    """Every value with gradients everywhere, past the critic's own `forward`."""
    values = []
    for network in critic.q_networks:
        condition, x = (state, action) if network.on_state else (action, state)
        values.append(network.target(network.hyper(condition), x))
    return values


def gradients(loss, parameters):
    return [g.numpy() for g in th.autograd.grad(loss, list(parameters))]


def assert_no_gradient(module):
    assert all(parameter.grad is None for parameter in module.parameters())


@variants
def test_the_td3_actor_gets_the_gradient_of_the_full_graph_and_the_critic_none(critic):
    model = HyperTD3("MlpPolicy", PointEnv(), policy_kwargs={"critic": critic, "net_arch": [8]}, **SMALL)
    state = double(model)
    expected = gradients(
        -full_graph(model.critic, state, model.actor(state))[0].mean(), model.actor.parameters()
    )
    td3_losses.actor_loss(model.critic.q1_forward(state, model.actor(state))).backward()
    for parameter, gradient in zip(model.actor.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-10, atol=1e-15)
    assert max(np.abs(gradient).max() for gradient in expected) > 0
    assert_no_gradient(model.critic)


@variants
def test_the_sac_actor_gets_the_gradient_of_the_full_graph_and_the_critic_none(critic):
    model = HyperSAC("MlpPolicy", PointEnv(), policy_kwargs={"critic": critic, "net_arch": [8]}, **SMALL)
    state, alpha = double(model), th.tensor(0.2, dtype=th.float64)
    th.manual_seed(1)
    actions, log_prob = model.actor.action_log_prob(state)
    smallest = th.minimum(*full_graph(model.critic, state, actions)).squeeze(1)
    expected = gradients((alpha * log_prob - smallest).mean(), model.actor.parameters())
    th.manual_seed(1)
    actions, log_prob = model.actor.action_log_prob(state)
    loss = sac_losses.actor_loss(model.critic(state, actions), log_prob.reshape(-1, 1), alpha)
    loss.backward()
    for parameter, gradient in zip(model.actor.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-10, atol=1e-15)
    assert_no_gradient(model.critic)


@variants
def test_the_critic_loss_gets_the_gradient_of_the_full_graph(critic):
    model = HyperTD3("MlpPolicy", PointEnv(), policy_kwargs={"critic": critic, "net_arch": [8]}, **SMALL)
    state = double(model)
    action, target = th.rand(12, 2, dtype=th.float64), th.randn(12, 1, dtype=th.float64)
    errors = [((value - target) ** 2).mean() for value in full_graph(model.critic, state, action)]
    expected = gradients(errors[0] + errors[1], model.critic.parameters())
    td3_losses.critic_loss(model.critic(state, action), target).backward()
    for parameter, gradient in zip(model.critic.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-10, atol=1e-15)


def plain_network(theta0, spec, x, normalised):
    """A network of `torch.nn.functional.linear` with the given flat weights."""
    named = spec.unflatten(theta0)
    for index, layer in enumerate(spec.layers):
        x = functional.linear(x, named[layer.weight], named[layer.bias])
        if index < len(spec.layers) - 1:
            x = functional.relu(functional.layer_norm(x, x.shape[-1:]) if normalised else x)
    return x


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_bias_hyperinit_without_scale_starts_as_one_plain_network_for_all_states(norm):
    critic = {"init": {"method": "bias_hyper", "scale": 0.0}, "hidden_norm": norm}
    model = HyperTD3("MlpPolicy", PointEnv(), policy_kwargs={"critic": critic}, seed=3, **SMALL)
    actions = th.rand(6, 2) * 2 - 1
    for network in model.critic.q_networks:
        expected = plain_network(network.hyper.theta0(), network.hyper.spec, actions, norm == "layer")
        for scale in (0.0, 1.0, 100.0):
            value = network(th.randn(6, 3) * scale, actions)
            th.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        # theta0 starts in the range of torch's own layers, the width of the layer's input deciding.
        first = network.hyper.spec.unflatten(network.hyper.theta0())[network.hyper.spec.layers[0].weight]
        assert first.abs().max().item() == pytest.approx(1 / math.sqrt(2), rel=0.05)
        assert first.abs().max().item() <= 1 / math.sqrt(2)


@pytest.mark.parametrize(("hyper", "plain"), [(HyperTD3, TD3), (HyperSAC, SAC)])
def test_the_actor_starts_as_that_of_the_plain_agent_with_the_same_seed(hyper, plain):
    kwargs = {"policy_kwargs": {"net_arch": [16, 16]}, "seed": 5, **SMALL}
    first, second = hyper("MlpPolicy", PointEnv(), **kwargs), plain("MlpPolicy", PointEnv(), **kwargs)
    for one, other in zip(first.actor.parameters(), second.actor.parameters(), strict=True):
        assert th.equal(one, other)


@pytest.mark.parametrize(("cls", "scale"), [(HyperTD3, 0.5), (HyperSAC, math.sqrt(0.5))])
def test_the_primary_network_starts_at_the_scale_of_its_algorithm(cls, scale):
    model = cls("MlpPolicy", PointEnv(), policy_kwargs={"critic": "compact"}, **SMALL)
    for layer in model.critic.q_networks[0].hyper.trunk.modules():
        if isinstance(layer, th.nn.Linear) and layer.in_features >= 64:
            bound = scale / math.sqrt(layer.in_features)
            assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)


def test_one_state_can_value_many_actions():
    network = HyperQ(3, 2, critic_config(TINY))
    states, actions = th.randn(4, 3), th.randn(4, 7, 2)
    many = network(states, actions)
    assert many.shape == (4, 7, 1)
    for index in range(7):
        th.testing.assert_close(many[:, index], network(states, actions[:, index]))


def test_running_statistics_see_buffered_transitions_only_and_reach_the_target():
    critic = {**TINY, "encoder": "running_norm"}
    model = HyperTD3("MlpPolicy", PointEnv(), policy_kwargs={"critic": critic}, policy_delay=1, **SMALL)
    encoder = model.critic.q_networks[1].hyper.encoder
    states, actions = th.randn(64, 3) * 4 + 2, th.rand(64, 2)
    model.policy.set_training_mode(True)
    model.critic(states, actions.clone().requires_grad_())
    with th.no_grad():
        model.critic(states, actions)
    model.policy.set_training_mode(False)
    model.critic(states, actions)
    assert encoder.running_count.item() == 0
    model.policy.set_training_mode(True)
    model.critic(states, actions)
    assert encoder.running_count.item() == 64
    for found, expected in (
        (encoder.running_mean, states.mean(0)),
        (encoder.running_var, states.var(0, correction=0)),
    ):
        th.testing.assert_close(found, expected, check_dtype=False)
    model.learn(30)
    target = model.critic_target.q_networks[1].hyper.encoder
    assert encoder.running_count.item() > 64
    assert th.equal(target.running_mean, encoder.running_mean)
    assert th.equal(target.running_var, encoder.running_var)


def test_networks_of_one_critic_are_independent():
    model = HyperTD3("MlpPolicy", PointEnv(), policy_kwargs={"critic": TINY, "n_critics": 3}, **SMALL)
    values = model.critic(th.randn(4, 3), th.rand(4, 2))
    assert len(values) == 3
    assert not th.equal(values[0], values[1])
    identities = [id(p) for network in model.critic.q_networks for p in network.parameters()]
    assert len(set(identities)) == len(identities)


@pytest.mark.parametrize(
    ("critic", "error", "sentence"),
    [
        ("papr", UnknownNameError, "did you mean 'paper'?"),
        ({"kind": "lowrnk"}, UnknownNameError, "did you mean 'lowrank'?"),
        ({"encoder": "runing_norm"}, UnknownNameError, "did you mean 'running_norm'?"),
        ({"activation": "rellu"}, UnknownNameError, "did you mean 'relu'?"),
        ({"feature_norm": "l3"}, UnknownNameError, "did you mean 'l2'?"),
        ({"kind": "lowrank", "kind_options": {"rnk": 3}}, HyperRLError, "rnk"),
        ({"kind": "lowrank", "kind_options": {"rank": 0}}, ConfigError, "rank"),
    ],
)
def test_a_wrong_critic_is_refused_when_the_agent_is_built(critic, error, sentence):
    with pytest.raises(error) as caught:
        HyperTD3("MlpPolicy", PointEnv(), policy_kwargs={"critic": critic}, **SMALL)
    assert sentence in str(caught.value)


def test_every_preset_values_states_and_actions():
    for config in CRITICS.values():
        assert HyperQ(5, 3, config)(th.randn(2, 5), th.rand(2, 3)).shape == (2, 1)


def test_a_policy_can_be_built_without_an_agent():
    space = spaces.Box(-1, 1, (3,), np.float32)
    policy = HyperTD3Policy(space, spaces.Box(-1, 1, (2,), np.float32), lambda _: 1e-3, critic=TINY)
    action, _ = policy.predict(space.sample())
    assert action.shape == (2,)
