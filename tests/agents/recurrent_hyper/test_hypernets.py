"""Actors and critics that other kinds of hypernetworks generate from the latent."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from torch.nn import functional

from hyperrl.errors import ConfigError, UnknownNameError
from tests.agents.recurrent_hyper.small import build, moved
from tests.sb3.toys import same_parameters

KINDS = [
    {"hypernet": "modular", "modules": 3},
    {"hypernet": "lowrank", "rank": 2},
    {"hypernet": "chunked", "chunk": 16, "widths": [8]},
    {"hypernet": "mlp", "trunk_hidden": [8]},
    {"hypernet": "modular", "trunk": "residual", "trunk_hidden": [8]},
]


def hyper(**options):
    return {"kind": "hyper", **options}


def rows_by_hand(network, features, embedded):
    """A base network for each row from weights of that row alone."""
    rows = []
    for feature, x in zip(features, embedded, strict=True):
        named = network.hyper(feature).as_dict()
        hidden = functional.linear(x, named["layers.0.weight"], named["layers.0.bias"]).tanh()
        rows.append(functional.linear(hidden, named["layers.1.weight"], named["layers.1.bias"]))
    return th.stack(rows)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("contraction", ["auto", "outer"])
def test_every_hypernetwork_is_the_network_made_for_each_row(options, contraction):
    kwargs = {"actor": hyper(**options), "critic": hyper(**options), "contraction": contraction}
    networks = moved(build(policy_kwargs=kwargs).policy).double().networks
    states, latents = th.randn(30, 2).double(), th.randn(30, 6).double()
    means, values = networks(states, latents)
    embedded, features = networks.state(states).tanh(), networks.latent(latents).tanh()
    th.testing.assert_close(means, rows_by_hand(networks.actor, features, embedded))
    th.testing.assert_close(values, rows_by_hand(networks.critic, features, embedded)[:, 0])


def test_a_modular_actor_mixes_templates_by_affine_functions_of_the_embedded_latent():
    policy = moved(build(policy_kwargs={"actor": hyper(hypernet="modular", modules=3)}).policy).double()
    head = policy.networks.actor.hyper.head
    feature = policy.networks.latent(th.randn(6).double()).tanh()
    raw = (feature @ head.coefficient_head + head.coefficient_bias).view(2, 3)
    named, base = policy.networks.actor.hyper(feature).as_dict(), head.spec.unflatten(head.theta0())
    for index in range(2):
        alpha = raw[index] * 3**0.5 / raw[index].norm()
        weight = base[f"layers.{index}.weight"] + th.einsum("m,mio->oi", alpha, head.banks[index])
        th.testing.assert_close(named[f"layers.{index}.weight"], weight, rtol=1e-6, atol=1e-6)
        bank = head.vector_bank[:, head.spec.vector_slices[f"layers.{index}.bias"]]
        bias = base[f"layers.{index}.bias"] + alpha @ bank
        th.testing.assert_close(named[f"layers.{index}.bias"], bias, rtol=1e-6, atol=1e-6)


def test_parameters_are_those_of_the_parts():
    counts = build(policy_kwargs={"actor": hyper(hypernet="modular", modules=3)}).policy.parameter_counts
    generated = (8 + 1) * 8 + (8 + 1) * 2
    # Templates and a base; coefficients of two layers from 4 features and a bias.
    trainable = (3 + 1) * generated + (4 + 1) * 2 * 3
    assert counts["actor"] == {"kind": "hyper", "trainable": trainable, "generated": generated}
    assert counts["critic"]["trainable"] == (4 + 1) * counts["critic"]["generated"]


@pytest.mark.parametrize("options", KINDS)
def test_every_hypernetwork_learns_and_becomes_a_plain_policy(options):
    agent = build(policy_kwargs={"actor": hyper(**options), "critic": hyper(hypernet="linear")})
    before = [value.clone() for value in agent.policy.networks.actor.parameters()]
    agent.learn(16 * 4 * 2)
    after = list(agent.policy.networks.actor.parameters())
    assert all(not th.equal(one, other) for one, other in zip(before, after, strict=True))
    latent, states = th.randn(6), th.randn(20, 2)
    means, _ = agent.policy.networks(states, latent.expand(20, -1))
    plain = agent.specialise(latent.numpy())
    assert np.allclose(plain(states.numpy()), np.clip(means.detach().numpy(), -1, 2), atol=1e-5)


def test_a_table_of_the_default_is_the_default_and_survives_saving(tmp_path):
    table = build(policy_kwargs={"actor": hyper(hypernet="linear"), "critic": hyper()})
    assert same_parameters(table, build())
    modular = build(policy_kwargs={"actor": hyper(hypernet="modular", modules=3)})
    modular.save(tmp_path / "agent")
    assert same_parameters(modular, type(modular).load(tmp_path / "agent"))


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ({"actor": hyper(hypernet="modulr")}, UnknownNameError, "did you mean 'modular'"),
        ({"critic": hyper(hypernet="concat")}, ConfigError, "'concat' generates no weights, and the critic"),
        ({"critic": hyper(modules=3)}, UnknownNameError, "option of the critic 'hyper' 'modules'"),
        (
            {"actor": {"kind": "film", "hypernet": "modular"}},
            UnknownNameError,
            "of the actor 'film' 'hypernet'",
        ),
        ({"actor": hyper(trunk_hidden=[8])}, ConfigError, "'linear' of the actor has no trunk"),
        ({"actor": hyper(hypernet="modular", trunk_hidden=8)}, ConfigError, "must be a list of widths"),
        (
            {"actor": hyper(hypernet="modular", trunk="none", trunk_hidden=[8])},
            ConfigError,
            "'none' has no widths",
        ),
        (
            {"actor": {"hypernet": "modular"}},
            ConfigError,
            "actor must be one of hyper, concat, film, or a table",
        ),
        ({"actor": hyper(hypernet="lowrank"), "init": "hyperfan_in"}, ConfigError, "'bias_hyper' only"),
        ({"init": {"method": "bias_hyper"}}, UnknownNameError, "initialiser"),
        ({"hiden_size": 8}, UnknownNameError, "policy_kwargs 'hiden_size', did you mean 'hidden_size'"),
    ],
)
def test_what_names_no_network_is_refused(setting, error, words):
    with pytest.raises(error, match=words):
        build(policy_kwargs=setting)
