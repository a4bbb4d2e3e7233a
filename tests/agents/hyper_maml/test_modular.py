"""Policies that other hypernetworks generate: what they are, and adapting what mixes templates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from hyperrl import HyperMAML
from hyperrl.errors import ConfigError, UnknownNameError
from hyperrl.presets import resolve
from hyperrl_agents.hyper_maml.inner import InnerRule, adapted
from hyperrl_agents.hyper_maml.networks import GeneratedNetwork, checked_actor
from hyperrl_envs.contextual.native import make_contextual
from tests.agents.hyper_maml.cases import make_actor, make_batch, make_conditions, one
from tests.agents.hyper_maml.test_agent import build, observations, parameters

RATE = 0.2
LAYERS = ("layers.0", "layers.1")


def actor_of(hypernet, **options):
    return {"kind": "hyper", "hidden": [8], "hypernet": hypernet, **options}


def mean_by_hand(actor, raw, states):
    """The policy that coefficients ``[2, M]`` of any length mix, layer by layer."""
    head = actor.network.hyper.head
    base = head.spec.unflatten(head.theta0())
    for index, layer in enumerate(LAYERS):
        alpha = raw[index] * 3**0.5 / raw[index].norm()
        bank = {role: head.spec.vector_slices[f"{layer}.{role}"] for role in ("bias", "gain")}
        weight = base[f"{layer}.weight"] + torch.einsum("m,mio->oi", alpha, head.banks[index])
        bias, gain = (base[f"{layer}.{role}"] + alpha @ head.vector_bank[:, bank[role]] for role in bank)
        states = gain * functional.linear(states, weight) + bias
        states = torch.tanh(states) if not index else states
    return states


def raw_coefficients(actor, condition):
    head = actor.network.hyper.head
    features = actor.network.hyper.features(condition)
    return (features @ head.coefficient_head + head.coefficient_bias).view(2, 3)


def test_a_modular_policy_mixes_templates_layer_by_layer():
    actor = make_actor("modular")
    conditions, batch = make_conditions(actor), make_batch()
    found = actor.gaussian(actor.task_weights(actor.by_name(), {}, conditions), batch.states).mean
    for task, condition in enumerate(conditions):
        expected = mean_by_hand(actor, raw_coefficients(actor, condition), batch.states[task])
        torch.testing.assert_close(found[task], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_adapting_coefficients_is_a_gradient_step_of_each_tasks_mixture(steps):
    """Against autograd on the mixture written out, with its standard deviation; templates stay."""
    actor, batches = make_actor("modular"), [make_batch(seed=s) for s in range(5, 5 + steps)]
    conditions = make_conditions(actor)
    own = adapted(actor, actor.by_name(), conditions, batches, InnerRule("coefficients", RATE))
    tasks = actor.task_weights(actor.by_name(), own, conditions)
    found = actor.gaussian(tasks, batches[0].states).mean
    assert torch.equal(tasks.log_std, actor.log_std.expand(3, -1))
    for task, condition in enumerate(conditions):
        raw = raw_coefficients(actor, condition).detach()
        leaf = raw * 3**0.5 / raw.norm(dim=1, keepdim=True)
        for batch in batches:
            leaf = leaf.detach().requires_grad_()
            states, actions, advantages = one(batch, task)
            policy = torch.distributions.Normal(mean_by_hand(actor, leaf, states), actor.log_std.exp())
            loss = -(policy.log_prob(actions).sum(1) * advantages).mean()
            leaf = leaf - RATE * torch.autograd.grad(loss, leaf)[0]
        expected = mean_by_hand(actor, leaf, batches[0].states[task])
        torch.testing.assert_close(found[task], expected, rtol=1e-5, atol=1e-6)


def test_modular_hypernetworks_have_as_many_parameters_as_published_for_their_parts():
    network = GeneratedNetwork(20, 3, 6, hidden=(64,), hypernet="modular", modules=4, trunk="none")
    generated = 20 * 64 + 64 * 6 + 2 * (64 + 6)
    assert network.spec.numel == generated
    # Templates and a base; coefficients of two layers from the context and a bias.
    assert network.hyper.n_params() == (4 + 1) * generated + (3 + 1) * 2 * 4
    assert network.coefficients == (2, 4)


@pytest.mark.parametrize(
    ("actor", "kwargs"),
    [
        (actor_of("modular", modules=3, trunk="mlp", trunk_hidden=[8]), {"adapt": "coefficients"}),
        (actor_of("modular", trunk="none"), {"adapt": "context"}),
        (actor_of("lowrank", rank=2, trunk_hidden=[8, 8], blocks=1), {"adapt": "heads"}),
        (actor_of("linear"), {"adapt": "all", "first_order": False}),
        (actor_of("chunked", chunk=32, widths=[8]), {"adapt": "generated"}),
    ],
)
def test_every_hypernetwork_learns_and_becomes_a_plain_policy(actor, kwargs):
    agent = build(policy_kwargs={"actor": actor}, inner_lr=0.01, **kwargs)
    before = parameters(agent)
    agent.learn(300)
    assert agent.logger.name_to_value["train/moved"]
    assert not torch.equal(before, parameters(agent))
    seen = observations()
    context = agent.env.get_attr("context_space")[0].denormalise(np.array([0.3, -0.6]))
    seen[:, 2:] = agent.observed.vector(context)
    plain = agent.specialise(context)
    np.testing.assert_allclose(plain(seen[:, :2]), agent.predict(seen, deterministic=True)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("actor", "error", "words"),
    [
        (actor_of("modulr"), UnknownNameError, "unknown hypernetwork kind 'modulr', did you mean 'modular'"),
        (actor_of(3), ConfigError, "hypernet of the actor must be the name of a kind, got 3"),
        (actor_of("concat"), ConfigError, "'concat' generates no weights.* take one of .*modular"),
        (actor_of("film"), ConfigError, "'film' generates no weights"),
        (
            actor_of("modular", modles=3),
            UnknownNameError,
            "of the actor 'hyper' 'modles', did you mean 'modules'",
        ),
        (actor_of("linear", modules=3), UnknownNameError, "option of the actor 'hyper' 'modules'"),
        (
            actor_of("linear", trunk_hidden=[3]),
            ConfigError,
            "'linear' of the actor has no trunk: leave out trunk_h",
        ),
        ({"kind": "mlp", "hypernet": "modular"}, UnknownNameError, "option of the actor 'mlp' 'hypernet'"),
        ({"kind": ["hyper"]}, UnknownNameError, "unknown actor"),
        (3, ConfigError, "table with kind and its options, got 3"),
    ],
)
def test_what_names_no_network_is_refused(actor, error, words):
    with pytest.raises(error, match=words):
        checked_actor(actor)


@pytest.mark.parametrize(
    ("actor", "error", "words"),
    [
        (actor_of("modular", modules=0), ConfigError, "at least 1 modules, got 0"),
        (actor_of("lowrank", init="hyperl"), ConfigError, "by 'bias_hyper' only"),
        (actor_of("modular", hidden=8), ConfigError, "hidden must be a list of widths"),
        (actor_of("modular", trunk_hidden=8), ConfigError, "trunk_hidden must be a list of widths"),
        (actor_of("modular", trunk="deep"), UnknownNameError, "unknown trunk 'deep'"),
        (actor_of("mlp", init={"methd": "bias_hyper"}), UnknownNameError, "did you mean 'method'"),
        (actor_of("mlp", init=3), ConfigError, "init must be the name"),
    ],
)
def test_options_that_make_no_network_are_refused(actor, error, words):
    with pytest.raises(error, match=words):
        build(policy_kwargs={"actor": actor})


def test_an_unknown_argument_of_the_policy_is_refused():
    with pytest.raises(UnknownNameError, match="policy_kwargs 'actr', did you mean 'actor'"):
        build(policy_kwargs={"actr": "hyper"})


def returns_in(contexts, env_kwargs, act):
    """What an episode of each context returns."""
    venv = make_contextual("hyperrl/Navigation2D-v0", n_envs=len(contexts), seed=7, **env_kwargs)
    for index, context in enumerate(contexts):
        venv.env_method("set_fixed_context", list(context), indices=[index])
    observations, total = venv.reset(), np.zeros(len(contexts))
    for _ in range(env_kwargs["max_episode_steps"]):
        observations, rewards, _, _ = venv.step(act(observations))
        total += rewards
    return total


@pytest.mark.slow
def test_modular_policies_act_in_combinations_that_nobody_trained_on():
    config = resolve("hyper-maml", {"preset": "modular"}).config
    env_kwargs = dict(config.env_kwargs)
    venv = make_contextual(config.env, n_envs=config.n_envs, seed=0, **env_kwargs)
    splits = venv.get_attr("splits")[0]
    tests = splits.tests["combinatorial"]
    assert (len(splits.contexts("train")), len(tests)) == (96, 32)
    agent = HyperMAML(config.policy, venv, seed=0, device="cpu", **config.agent_kwargs).learn(config.steps)
    found = returns_in(tests, env_kwargs, lambda seen: agent.predict(seen, deterministic=True)[0])
    idle = returns_in(tests, env_kwargs, lambda seen: np.zeros((len(tests), 2), np.float32))
    assert found.mean() > 0.5 * idle.mean()
