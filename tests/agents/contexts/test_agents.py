"""SAC, TD3 and PPO with contexts: they learn, save, load, and become plain policies; modes are respected."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl import CompiledSAC, CompiledTD3, ContextPPO, ContextSAC, ContextTD3, specialise
from hyperrl.context import ContextSpace
from hyperrl.errors import BoundsError, ConfigError, ContextError, NonFiniteError, UnknownNameError
from hyperrl.sb3.contexts import KINDS
from hyperrl.sb3.normalising import ContextVecNormalize, normalised
from hyperrl.testing import check_agent
from tests.sb3.contexts.toys import CONTEXTS, SPACE, ContextTask, policy_of
from tests.sb3.toys import PointEnv, same_parameters

AGENTS = [ContextSAC, ContextTD3, ContextPPO]
every_agent = pytest.mark.parametrize("cls", AGENTS)
SIZES = {
    ContextPPO: {"n_steps": 16, "batch_size": 16, "n_epochs": 2},
    ContextSAC: {"learning_starts": 16, "batch_size": 16, "buffer_size": 200},
    ContextTD3: {"learning_starts": 16, "batch_size": 16, "buffer_size": 200},
}


def build(cls, append="dict", actor="hyper", critic="concat", env=None, mode="visible", **kwargs):
    env = env or make_vec_env(lambda: ContextTask(append, mode), 2, seed=0)
    policy = policy_of(append if mode != "hidden" else "flat")
    networks = {"actor": actor, "critic": critic, "net_arch": [12, 12], **kwargs.pop("policy_kwargs", {})}
    arguments = {"seed": 0, "device": "cpu", **SIZES[cls], **kwargs}
    return cls(policy, env, policy_kwargs=networks, **arguments)


def stirred(model):
    """Heads that start at zero would leave nothing to compare."""
    with th.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.1 * th.randn_like(parameter))
    return model


def parameters(model):
    return th.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


@every_agent
@pytest.mark.parametrize("append", ["dict", "flat"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_and_becomes_a_plain_policy(cls, append, kind):
    model = build(cls, append, kind, kind)
    before = parameters(model)
    model.learn(64)
    assert th.isfinite(parameters(model)).all()
    assert not th.equal(parameters(model), before)
    stirred(model)
    states = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    for context in ({"sign": -0.3, "scale": 3.0}, {"sign": 1.5}, CONTEXTS[2]):
        policy = specialise(model, context=context)
        raw = SPACE.array(context)
        code = np.tile(SPACE.normalise(raw).astype(np.float32), (32, 1))
        whole = {"observation": states, "context": code} if append == "dict" else np.hstack([states, code])
        expected, _ = model.predict(whole, deterministic=True)
        assert policy.sizes[0] == 3
        assert np.abs(policy(states) - expected).max() < 1e-5


@every_agent
@pytest.mark.parametrize("append", ["dict", "flat"])
def test_a_loaded_agent_is_the_saved_one_and_knows_its_contexts(cls, append, tmp_path):
    model = build(cls, append, "adapter", "hyper").learn(64)
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model")
    assert same_parameters(model, loaded)
    assert loaded.observed == model.observed
    assert loaded.observed.space == SPACE
    observation = model.env.reset()
    expected, _ = model.predict(observation, deterministic=True)
    assert np.array_equal(loaded.predict(observation, deterministic=True)[0], expected)
    assert loaded.specialise({"sign": 0.5}).fingerprint == model.specialise({"sign": 0.5}).fingerprint
    again = cls.load(tmp_path / "model", env=make_vec_env(lambda: ContextTask(append), 2), device="cpu")
    assert again.learn(64, reset_num_timesteps=False).num_timesteps == model.num_timesteps + 64


OTHERS = {
    "contexts": ContextSpace(SPACE.params[::-1]),
    "ranges of training": SPACE.with_train({"scale": (0.5, 2.0)}),
}


@every_agent
@pytest.mark.parametrize("noun", OTHERS)
def test_contexts_of_another_meaning_are_refused(cls, noun, tmp_path):
    model = build(cls)
    other = make_vec_env(lambda: ContextTask(space=OTHERS[noun]), 2)
    model.save(tmp_path / "model")
    with pytest.raises(ContextError, match=f"trained with other {noun} than this environment has") as caught:
        cls.load(tmp_path / "model", env=other)
    assert "\n" not in str(caught.value)
    with pytest.raises(ContextError, match=f"other {noun}"):
        model.set_env(other)
    # Files of weights alone, as runs have them, know it too.
    with pytest.raises(ContextError, match="trained for other contexts"):
        build(cls, env=other).policy.load_state_dict(model.policy.state_dict())
    wider = dataclasses.replace(SPACE.params[0], low=-3.0)
    model.set_env(make_vec_env(lambda: ContextTask(space=ContextSpace((wider, SPACE.params[1]))), 2))


@every_agent
def test_contexts_that_cannot_be_fixed(cls):
    model = build(cls)
    for context, error, words in (
        (None, ContextError, "acts by the context: give one, for example sign=1,scale=1"),
        ({"sing": 1.0}, UnknownNameError, "did you mean 'sign'"),
        ({"sign": float("nan")}, NonFiniteError, "must be finite"),
        ({"sign": 3.0}, BoundsError, "from -2 to 2, got 3"),
    ):
        with pytest.raises(error, match=words):
            specialise(model, context=context)
    plain = cls("MlpPolicy", PointEnv(), device="cpu", **SIZES[cls])
    with pytest.raises(ContextError, match="was trained without contexts"):
        specialise(plain, context={"sign": 1.0})
    assert specialise(plain).sizes[0] == 3
    with pytest.raises(ContextError, match="does not act by a context"):
        specialise(PPO("MlpPolicy", PointEnv(), device="cpu"), context={"sign": 1.0})


@every_agent
def test_hidden_and_privileged_contexts(cls):
    for actor, critic in (("hyper", "unaware"), ("unaware", "film")):
        with pytest.raises(ConfigError, match="hides its context"):
            build(cls, actor=actor, critic=critic, mode="hidden")
    hidden = build(cls, actor="unaware", critic="unaware", mode="hidden").learn(64)
    assert hidden.observed.size == 0
    with pytest.raises(ConfigError, match="shows its context to critics alone"):
        build(cls, mode="privileged")
    model = stirred(build(cls, actor="unaware", critic="hyper", mode="privileged").learn(64))
    states = np.zeros((4, 3), np.float32)
    low, high = (
        {"observation": states, "context": np.full((4, 2), value, np.float32)} for value in (-1.0, 1.0)
    )
    assert np.array_equal(*(model.predict(one, deterministic=True)[0] for one in (low, high)))
    tensors = [model.policy.obs_to_tensor(one)[0] for one in (low, high)]
    if cls is ContextPPO:
        values = [model.policy.predict_values(one) for one in tensors]
    else:
        values = [model.critic(one, th.zeros(4, 2))[0] for one in tensors]
    assert not th.allclose(*values)
    assert specialise(model).sizes[0] == 3


@every_agent
def test_parameters_are_matched_and_counted(cls):
    counts = build(cls, policy_kwargs={"match_params": {"actor": 9000, "critic": 5000}}).parameter_counts
    for part, wanted in (("actor", 9000), ("critic", 5000)):
        assert abs(counts[part]["trainable"] - wanted) / wanted < 0.03
    assert counts["actor"]["kind"] == "hyper"
    assert counts["actor"]["generated"] > 0 == counts["critic"]["generated"]
    with pytest.raises(UnknownNameError, match="did you mean 'actor'"):
        build(cls, policy_kwargs={"match_params": {"actr": 9000}})


@every_agent
@pytest.mark.parametrize("append", ["dict", "flat"])
def test_the_context_is_not_normalised_by_statistics(cls, append):
    env = normalised(make_vec_env(lambda: ContextTask(append), 2, seed=0), {"norm_reward": False})
    assert type(env) is (VecNormalize if append == "dict" else ContextVecNormalize)
    model = stirred(build(cls, append, env=env).learn(64))
    seen = env.reset()
    codes = seen["context"] if append == "dict" else seen[:, 3:]
    allowed = {tuple(row) for row in SPACE.normalise(CONTEXTS).astype(np.float32).tolist()}
    assert {tuple(row) for row in codes.tolist()} <= allowed
    raw = env.get_original_obs()
    policy = specialise(model, context={"sign": 0.5})
    states = raw["observation"] if append == "dict" else raw[:, :3]
    code = np.tile(SPACE.normalise(SPACE.array({"sign": 0.5})).astype(np.float32), (2, 1))
    whole = {"observation": states, "context": code} if append == "dict" else np.hstack([states, code])
    expected, _ = model.predict(env.normalize_obs(whole), deterministic=True)
    assert np.abs(policy(states) - expected).max() < 1e-5
    if append == "dict":
        with pytest.raises(ConfigError, match="must leave the context as it is"):
            normalised(env.venv, {"norm_obs_keys": ["context", "observation"]})


@every_agent
def test_the_promises_of_agents_hold_with_contexts(cls):
    small = {"policy_kwargs": {"net_arch": [8]}}
    if cls is not ContextPPO:
        small |= {"batch_size": 16, "contexts_per_batch": 4, "balance": "contexts"}
    check_agent(cls, ContextTask, policy="MultiInputPolicy", agent_kwargs=small)


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
@pytest.mark.parametrize(("cls", "kind"), [(ContextSAC, "hyper"), (ContextTD3, "adapter")])
def test_grouped_updates_compile_to_the_same(cls, kind):
    options = {"contexts_per_batch": 4, "actor": kind, "critic": kind}
    agents = [build(cls, compile=compiles, **options).learn(48) for compiles in (False, True)]
    assert agents[1]._compiled[0] is not None
    assert th.allclose(*(parameters(agent) for agent in agents), atol=1e-4)


def test_updates_whose_groups_are_unknown_are_not_compiled():
    model = build(ContextSAC, compile=True)
    assert "give contexts_per_batch" in model._why_not_compiled()
    assert build(ContextSAC, contexts_per_batch=4)._why_not_compiled() is None
    assert build(ContextSAC, actor="concat")._why_not_compiled() is None


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
