"""Networks of HyperPEARL that other kinds of hypernetworks generate."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl_agents.hyper_pearl.networks import Shape, chosen_networks, make_policy, make_q
from tests.agents.hyper_pearl.building import build


def shape(hypernet, **options):
    return Shape(3, 2, 4, hidden=(7,), primary=(8, 16), blocks=1, hypernet=hypernet, options=options)


def moved(module):
    """Give all parameters other values, as training would: heads start at zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module.double()


KINDS = [("modular", {"modules": 3}), ("lowrank", {"rank": 2}), ("linear", {}), ("chunked", {"chunk": 16})]


def by_hand(hyper, condition, x):
    """A generated network layer by layer, from the weights of one condition."""
    named = hyper(condition).as_dict()
    for index in range(2):
        weight, bias = named[f"layers.{index}.weight"], named[f"layers.{index}.bias"]
        x = named[f"layers.{index}.gain"] * functional.linear(x, weight) + bias
        x = x.relu() if not index else x
    return x


def test_a_modular_policy_mixes_templates_layer_by_layer():
    policy = moved(make_policy(shape("modular", modules=3)))
    latent, states = torch.randn(4).double(), torch.randn(5, 3).double()
    head, features = policy.hyper.head, policy.hyper.features(latent)
    raw = (features @ head.coefficient_head + head.coefficient_bias).view(2, 3)
    named, base = policy.hyper(latent).as_dict(), head.spec.unflatten(head.theta0())
    for index in range(2):
        alpha = raw[index] * 3**0.5 / raw[index].norm()
        weight = base[f"layers.{index}.weight"] + torch.einsum("m,mio->oi", alpha, head.banks[index])
        torch.testing.assert_close(named[f"layers.{index}.weight"], weight, rtol=1e-6, atol=1e-6)
    mean, log_std = policy(latent[None], states[None])
    expected = by_hand(policy.hyper, latent, states)
    torch.testing.assert_close(mean[0], expected[:, :2])
    torch.testing.assert_close(log_std[0], expected[:, 2:].clamp(-20, 2))


@pytest.mark.parametrize(("hypernet", "options"), KINDS)
def test_values_are_the_network_made_for_each_row(hypernet, options):
    value = moved(make_q(shape(hypernet, **options)))
    states, inputs = torch.randn(2, 5, 3).double(), torch.randn(2, 5, 6).double()
    together = value(states, inputs)
    for task in range(2):
        for row in range(5):
            alone = by_hand(value.hyper, states[task, row], inputs[task, row])
            torch.testing.assert_close(together[task, row], alone[0])


@pytest.mark.parametrize(("hypernet", "options"), KINDS)
def test_every_hypernetwork_learns_and_becomes_a_plain_policy(hypernet, options):
    agent = build(policy_kwargs={"networks": {"kind": "hyper", "hypernet": hypernet, **options}})
    before = [parameter.detach().clone() for parameter in agent.policy.parameters()]
    agent.learn(60)
    changed = [not torch.equal(*pair) for pair in zip(before, agent.policy.parameters(), strict=True)]
    assert sum(changed) > len(changed) / 2
    for policy in (agent.policy.actor, agent.policy.q1, agent.policy.v):
        assert any(not torch.equal(p, torch.zeros_like(p)) for p in policy.hyper.head.parameters())
    latents, states = torch.randn(1, 5), torch.randn(4, 2)
    acted = agent.policy.actor.act_in(latents)(torch.zeros(4, dtype=torch.long), states)[0]
    (first, bias), (last, last_bias) = agent.policy.actor.layers(latents[0])
    hidden = functional.linear(states, first, bias).relu()
    torch.testing.assert_close(acted, functional.linear(hidden, last, last_bias), rtol=1e-4, atol=1e-5)


def test_modular_networks_have_a_base_and_templates_beside_the_primary_network():
    hyper = make_policy(shape("modular", modules=3)).hyper
    generated = 3 * 7 + 7 * 4 + 2 * (7 + 4)
    primary = sum(parameter.numel() for parameter in hyper.trunk.parameters())
    assert hyper.n_generated() == generated
    assert hyper.n_params() == primary + (3 + 1) * generated + (16 + 1) * 2 * 3


@pytest.mark.parametrize(
    ("networks", "error", "words"),
    [
        ("hypr", UnknownNameError, "unknown networks 'hypr', did you mean 'hyper'"),
        ({"kind": "hyper", "hypernet": "modulr"}, UnknownNameError, "did you mean 'modular'"),
        ({"kind": "hyper", "hypernet": "film"}, ConfigError, "'film' generates no weights"),
        ({"kind": "hyper", "hypernet": "lowrank", "rnk": 2}, UnknownNameError, "did you mean 'rank'"),
        ({"kind": "mlp", "modules": 2}, UnknownNameError, "option of the networks 'mlp' 'modules'"),
        ({"hypernet": "modular"}, ConfigError, "networks must be one of hyper, mlp, or a table"),
    ],
)
def test_what_names_no_networks_is_refused(networks, error, words):
    with pytest.raises(error, match=words):
        chosen_networks(networks)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"primry": [8]}, UnknownNameError, "policy_kwargs 'primry', did you mean 'primary'"),
        ({"primary": 8}, ConfigError, "primary must be a list of widths"),
        ({"infer": "oracle"}, ConfigError, "infer is an argument of HyperPEARL"),
        (
            {"networks": {"kind": "hyper", "hypernet": "modular", "modules": 0}},
            ConfigError,
            "at least 1 modules",
        ),
    ],
)
def test_other_wrong_arguments_of_the_policy_are_refused(given, error, words):
    with pytest.raises(error, match=words):
        build(policy_kwargs=given)
