"""Updates are those of the plain algorithms; acting follows every change of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from hyperrl import CompiledSAC, CompiledTD3, ContextPPO, ContextSAC, ContextTD3
from hyperrl.errors import ConfigError
from tests.agents.contexts.building import build, every_agent, parameters, stirred
from tests.sb3.contexts.toys import ContextTask
from tests.sb3.toys import PointEnv


def test_ppo_is_stable_baselines3s_where_networks_are_plain():
    settings = {"n_steps": 32, "batch_size": 16, "n_epochs": 3, "seed": 0, "device": "cpu"}
    settings |= {"ent_coef": 0.01, "clip_range_vf": 0.2}
    theirs = PPO(
        "MlpPolicy", make_vec_env(PointEnv, 2, seed=0), policy_kwargs={"net_arch": [8, 8]}, **settings
    )
    networks = {"actor": "unaware", "critic": "unaware", "net_arch": [8, 8]}
    ours = ContextPPO("MlpPolicy", make_vec_env(PointEnv, 2, seed=0), policy_kwargs=networks, **settings)
    pairs = [
        *zip(ours.policy.action_net.dense, [*theirs.policy.mlp_extractor.policy_net[::2]], strict=False),
        *zip(ours.policy.value_net.dense, [*theirs.policy.mlp_extractor.value_net[::2]], strict=False),
        (ours.policy.action_net.dense[-1], theirs.policy.action_net),
        (ours.policy.value_net.dense[-1], theirs.policy.value_net),
    ]
    with th.no_grad():
        for own, other in pairs:
            own.weight.copy_(other.weight)
            own.bias.copy_(other.bias)
    for model in (theirs, ours):
        th.manual_seed(1)
        np.random.seed(1)
        model.learn(192)
    for own, other in pairs:
        assert th.allclose(own.weight, other.weight, atol=1e-5)
    assert th.allclose(ours.policy.log_std, theirs.policy.log_std, atol=1e-6)
    assert ours._n_updates == theirs._n_updates == 9


@pytest.mark.parametrize(("cls", "plain"), [(ContextSAC, CompiledSAC), (ContextTD3, CompiledTD3)])
def test_off_policy_agents_are_the_plain_ones_where_networks_are_plain(cls, plain):
    def trained(cls, networks):
        env = make_vec_env(PointEnv, 2, seed=0)
        settings = {"seed": 0, "device": "cpu", "learning_starts": 20, "batch_size": 16, "buffer_size": 300}
        return cls("MlpPolicy", env, policy_kwargs={"net_arch": [8, 8], **networks}, **settings)

    ours = trained(cls, {"actor": "unaware", "critic": "unaware"})
    theirs = trained(plain, {"optimizer_kwargs": {"fused": True}})
    for own, other in ((ours.critic, theirs.critic), (ours.critic_target, theirs.critic_target)):
        for mine, their in zip(own.q_networks, other.q_networks, strict=True):
            copy_layers(mine.dense, [layer for layer in their if isinstance(layer, th.nn.Linear)])
    actors = [(ours.actor, theirs.actor)]
    if cls is ContextTD3:
        actors.append((ours.actor_target, theirs.actor_target))
    for mine, their in actors:
        sequence = their.mu if cls is ContextTD3 else [*their.latent_pi, None]
        layers = [layer for layer in sequence if isinstance(layer, th.nn.Linear)]
        copy_layers(mine.net.dense, layers)
        if cls is ContextSAC:
            with th.no_grad():
                mine.net.dense[-1].weight.copy_(th.cat([their.mu.weight, their.log_std.weight]))
                mine.net.dense[-1].bias.copy_(th.cat([their.mu.bias, their.log_std.bias]))
    for model in (ours, theirs):
        th.manual_seed(1)
        np.random.seed(1)
        model.learn(60)
    states = th.rand(5, 3)
    found, expected = (model.critic(states, th.zeros(5, 2))[0] for model in (ours, theirs))
    assert ours._n_updates > 10
    assert th.allclose(found, expected, atol=1e-4)


def copy_layers(mine, theirs):
    with th.no_grad():
        for own, other in zip(mine, theirs, strict=False):
            own.weight.copy_(other.weight)
            own.bias.copy_(other.bias)


@pytest.mark.parametrize("ortho_init", [True, False])
def test_ppo_starts_as_stable_baselines3s(ortho_init):
    plain = {"net_arch": [64, 64], "ortho_init": ortho_init}
    theirs = PPO("MlpPolicy", PointEnv(), policy_kwargs=plain, device="cpu").policy
    networks = {"actor": "unaware", "critic": "unaware", **plain}
    ours = ContextPPO("MlpPolicy", PointEnv(), policy_kwargs=networks, device="cpu").policy
    for own, other in (
        (ours.action_net.dense[0], theirs.mlp_extractor.policy_net[0]),
        (ours.action_net.dense[1], theirs.mlp_extractor.policy_net[2]),
        (ours.action_net.dense[2], theirs.action_net),
        (ours.value_net.dense[2], theirs.value_net),
    ):
        assert own.weight.norm().item() == pytest.approx(other.weight.norm().item(), rel=0.25)
        assert bool(own.bias.any()) == bool(other.bias.any()) == (not ortho_init)


CHANGES = {
    "in place": lambda model, other: stirred(model),
    "loaded": lambda model, other: model.policy.load_state_dict(other.policy.state_dict()),
    "set": lambda model, other: model.set_parameters(other.get_parameters()),
    "learned": lambda model, other: model.learn(40),
}


@every_agent
@pytest.mark.parametrize("change", CHANGES)
def test_acting_follows_every_change_of_weights(cls, change):
    model, other = stirred(build(cls)), stirred(stirred(build(cls)))
    seen = {"observation": np.ones((2, 3), np.float32), "context": np.eye(2, dtype=np.float32)}
    before = model.predict(seen, deterministic=True)[0]
    CHANGES[change](model, other)
    after = model.predict(seen, deterministic=True)[0]
    assert not np.array_equal(after, before)
    # Alone, rows are other groups: nothing can have been kept for them.
    each = ({key: rows[index] for key, rows in seen.items()} for index in (0, 1))
    alone = [model.predict(one, deterministic=True)[0] for one in each]
    assert np.allclose(after, alone, atol=1e-6)


def test_acting_follows_updates_that_change_weights_unseen(monkeypatch):
    def replayed(model, gradient_steps, batch_size):
        for parameter in model.policy.parameters():
            parameter.data.add_(0.1)

    monkeypatch.setattr(CompiledSAC, "train", replayed)
    model = stirred(build(ContextSAC))
    seen = model.env.reset()
    before = model.predict(seen, deterministic=True)[0]
    model.train(1, 16)
    assert not np.array_equal(model.predict(seen, deterministic=True)[0], before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contexts_per_batch": 5}, "multiple of the 5 contexts of a batch"),
        ({"contexts_per_batch": 0}, "positive integer"),
        ({"contexts_per_batch": 4, "balance": "all"}, "transitions, contexts"),
    ],
)
def test_wrong_groups_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        build(ContextSAC, **options)
    with pytest.raises(ConfigError, match="observations have none"):
        ContextSAC("MlpPolicy", PointEnv(), contexts_per_batch=4, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "kind", "groups"),
    [(ContextSAC, "hyper", 4), (ContextTD3, "adapter", 4), (ContextTD3, "film", None)],
)
def test_updates_compile_to_the_same(cls, kind, groups):
    options = {"contexts_per_batch": groups, "actor": kind, "critic": kind}
    agents = [build(cls, compile=compiles, **options).learn(48) for compiles in (False, True)]
    assert agents[1]._compiled[0] is not None
    assert th.allclose(*(parameters(agent) for agent in agents), atol=1e-4)


def test_updates_whose_groups_are_unknown_are_not_compiled():
    model = build(ContextSAC, compile=True)
    assert "give contexts_per_batch" in model._why_not_compiled()
    assert build(ContextSAC, contexts_per_batch=4)._why_not_compiled() is None
    assert build(ContextSAC, actor="concat")._why_not_compiled() is None
    assert build(ContextSAC, actor="film")._why_not_compiled() is None


@pytest.mark.slow
@pytest.mark.parametrize("actor", ["concat", "hyper"])
def test_a_sign_that_flips_is_learned(actor):
    env = make_vec_env(ContextTask, 8, seed=0)
    networks = {"actor": actor, "critic": actor, "net_arch": [32, 32]}
    model = ContextPPO(
        "MultiInputPolicy", env, n_steps=64, batch_size=128, gamma=0.5, policy_kwargs=networks, seed=0
    )
    model.learn(40_000)
    states = np.random.default_rng(0).uniform(-1, 1, (200, 3)).astype(np.float32)
    for sign in (-1.0, 1.0):
        actions = model.specialise({"sign": sign})(states)
        assert np.abs(actions - 0.5 * sign * states[:, :2]).mean() < 0.12
