"""Base networks and what generates them: published sizes, the first weights, the application."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.policies import BasePolicy
from torch.nn import functional

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.nets.init import InitConfig
from hyperrl_agents.recurrent_hyper.networks import ActorCriticNetworks
from tests.agents.recurrent_hyper.small import build, features_of, moved


@pytest.fixture
def policy():
    return build().policy.double()


def latents_like(policy, count):
    return th.randn(count, 2 * policy.encoder.latent_size, dtype=policy.log_std.dtype)


def outputs(policy, states, latents):
    return th.cat([part.reshape(len(states), -1) for part in policy.networks(states, latents)], dim=1)


def test_the_published_networks_have_the_published_sizes():
    networks = ActorCriticNetworks(
        20,
        10,
        6,
        actor="hyper",
        critic="hyper",
        state_features=256,
        latent_features=25,
        hidden=((256, 128), (256, 128)),
        output_gain=1.0,
        init=InitConfig("bias_hyper"),
    )
    assert networks.actor.generated == 99_462
    assert networks.critic.generated == 98_817
    assert networks.actor.hyper.n_params() == 26 * 99_462 == 2_586_012
    assert networks.critic.hyper.n_params() == 26 * 98_817


def test_bias_hyper_gives_the_same_network_for_every_latent_and_no_gradient_to_it_at_first(policy):
    states = th.randn(5, 2, dtype=th.double)
    latents = latents_like(policy, 5).requires_grad_()
    given = outputs(policy, states, latents)
    assert th.equal(given, outputs(policy, states, 7 * latents.flip(0)))
    (gradient,) = th.autograd.grad(given.square().sum(), latents)
    assert not gradient.any()
    policy.optimizer.zero_grad()
    outputs(policy, states, latents.detach()).square().sum().backward()
    policy.optimizer.step()
    (gradient,) = th.autograd.grad(outputs(policy, states, latents).square().sum(), latents)
    assert gradient.abs().min() > 0


def test_the_first_base_network_has_rows_of_the_published_lengths(policy):
    for network, last in ((policy.networks.actor, 1.0), (policy.networks.critic, 2**0.5)):
        spec = network.hyper.spec
        named = spec.unflatten(network.hyper.theta0())
        for layer in spec.layers:
            length = last if layer is spec.layers[-1] else 5 / 3
            assert named[layer.weight].norm(dim=1).tolist() == pytest.approx([length] * layer.out_features)
            assert not named[layer.bias].any()


@pytest.mark.parametrize("init", ["weight_hyper", "hyperfan_in"])
def test_other_initialisers_give_other_networks_for_other_latents(init):
    policy = build(policy_kwargs={"init": init}).policy
    states = th.randn(5, 2)
    first, second = (outputs(policy, states, latents_like(policy, 5)) for _ in range(2))
    assert (first - second).abs().min() > 0


def test_orthogonal_initialisation_leaves_heads_alone(policy):
    before = {name: value.clone() for name, value in policy.networks.named_parameters()}
    policy.networks.apply(partial(BasePolicy.init_weights, gain=1.0))
    for name, value in policy.networks.named_parameters():
        assert th.equal(before[name], value) == (not name.startswith(("state.", "latent."))), name


@pytest.mark.parametrize("part", ["hyper", "film"])
@pytest.mark.parametrize("contraction", ["auto", "outer", "xw"])
def test_every_order_is_the_network_made_for_each_row(part, contraction):
    kwargs = {"actor": part, "critic": part, "contraction": contraction}
    policy = moved(build(policy_kwargs=kwargs).policy.double())
    states, latents = th.randn(40, 2, dtype=th.double), latents_like(policy, 40).requires_grad_()
    given = outputs(policy, states, latents)
    embedded = policy.networks.state(states).tanh()
    rows = []
    for state, latent in zip(embedded, latents, strict=True):
        row = []
        for network in (policy.networks.actor, policy.networks.critic):
            named = network.hyper(policy.networks.latent(latent).tanh()).as_dict()
            hidden = functional.linear(state, named["layers.0.weight"], named["layers.0.bias"]).tanh()
            row.append(functional.linear(hidden, named["layers.1.weight"], named["layers.1.bias"]))
        rows.append(th.cat(row))
    expected = th.stack(rows)
    assert th.allclose(given, expected, atol=1e-12)
    weights, inputs = th.randn_like(given), [latents, *policy.networks.parameters()]
    for one, other in zip(
        th.autograd.grad((given * weights).sum(), inputs, retain_graph=True),
        th.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        assert th.allclose(one, other, atol=1e-10)


def test_concat_is_a_plain_network_of_state_and_latent_side_by_side():
    policy = moved(build(policy_kwargs={"actor": "concat", "critic": "concat"}).policy.double())
    states, latents = th.randn(9, 2, dtype=th.double), latents_like(policy, 9)
    networks, hyper = policy.networks, policy.networks.actor.hyper
    named = hyper.spec.unflatten(hyper.theta0())
    weight = th.cat([named["layers.0.weight"], hyper.head.condition_weight.t()], dim=1)
    inputs = th.cat([networks.state(states).tanh(), networks.latent(latents).tanh()], dim=1)
    hidden = functional.linear(inputs, weight, named["layers.0.bias"]).tanh()
    expected = functional.linear(hidden, named["layers.1.weight"], named["layers.1.bias"])
    assert th.allclose(networks(states, latents)[0], expected, atol=1e-12)


@pytest.mark.parametrize("part", ["hyper", "concat", "film"])
def test_plain_layers_act_as_the_network_of_their_latent(part):
    agent = build(policy_kwargs={"actor": part})
    policy = moved(agent.policy)
    latent, states = latents_like(policy, 1)[0].detach(), th.randn(20, 2)
    plain = agent.specialise(latent.numpy())
    means, _ = policy.networks(states, latent.expand(20, -1))
    expected = np.clip(means.detach().numpy(), -1, 2)
    assert np.allclose(plain(states.numpy()), expected, atol=1e-5)


def test_the_standard_deviation_has_a_floor():
    policy = build().policy
    with th.no_grad():
        policy.log_std.fill_(-1e3)
    features = features_of(policy, 1, 3)[0]
    policy.act(features, policy.encoder.nothing(3))
    assert float(policy.action_dist.distribution.stddev.min().detach()) == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ({"actor": "hyperr"}, UnknownNameError, "hyper"),
        ({"init": "zeros"}, UnknownNameError, "initialiser"),
        ({"contraction": "inner"}, UnknownNameError, "contraction"),
        ({"hidden_size": 0}, ConfigError, "hidden_size must be a whole number"),
        ({"embeddings": [8, 8]}, ConfigError, "three sizes"),
        ({"net_arch": {"pi": [8]}}, ConfigError, "pi and of vf"),
        ({"net_arch": 8}, ConfigError, "list of sizes"),
        ({"output_gain": 0.0}, ConfigError, "output_gain"),
        ({"encoder": "varibad"}, ConfigError, "argument of RecurrentHyper"),
    ],
)
def test_wrong_settings(setting, error, words):
    with pytest.raises(error, match=words):
        build(policy_kwargs=setting)
