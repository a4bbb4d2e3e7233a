"""HyperMAML with the verbs of Stable-Baselines3: it learns tasks, acts, saves, specialises, refuses."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl import HyperMAML
from hyperrl.agent_arguments import build_agent_kwargs, check_agent_kwargs
from hyperrl.errors import ConfigError, ContextError, NonFiniteError, UnknownNameError, UnsupportedEnvError
from hyperrl.presets import read_presets, resolve
from hyperrl.testing import check_agent
from hyperrl_agents.hyper_maml.actor import TaskActor
from tests.sb3.meta.reaching import ReachEnv

HYPER = {"actor": {"kind": "hyper", "hidden": [8], "trunk_hidden": [8, 8]}}
MLP = {"actor": {"kind": "mlp", "hidden": [16]}}
SIZES = {"meta_batch_size": 3, "episodes_per_task": 2}


def build(env=ReachEnv, policy="MlpPolicy", n_envs=3, policy_kwargs=None, **kwargs):
    venv = env if not callable(env) else make_vec_env(env, n_envs=n_envs, seed=0)
    given = {"policy_kwargs": policy_kwargs or HYPER, **SIZES, **kwargs}
    return HyperMAML(policy, venv, seed=0, device="cpu", **given)


def parameters(agent):
    return torch.nn.utils.parameters_to_vector(agent.policy.parameters()).detach().clone()


def observations(rows=4, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (rows, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("env", "policy", "kwargs"),
    [
        (
            partial(ReachEnv, mode="hidden", reach=0.4),
            "MlpPolicy",
            {"policy_kwargs": MLP, "first_order": False},
        ),
        (
            partial(ReachEnv, append="dict", units="raw"),
            "MultiInputPolicy",
            {"policy_kwargs": HYPER, "adapt": "generated", "inner_lr": 0.01, "inner_steps": 2},
        ),
    ],
)
def test_it_keeps_the_promises_of_agents_in_other_settings(env, policy, kwargs):
    kwargs = {"meta_batch_size": 2, "episodes_per_task": 1, **kwargs}
    check_agent(HyperMAML, env, policy=policy, agent_kwargs=kwargs)


class Told(BaseCallback):
    """Counts what a callback is told of."""

    def __init__(self):
        super().__init__()
        self.steps, self.contexts, self.rollouts = 0, [], 0

    def _on_rollout_start(self):
        self.rollouts += 1
        self.contexts.append([])

    def _on_step(self):
        self.steps += len(self.locals["rewards"])
        self.contexts[-1].extend(tuple(info["context"]) for info in self.locals["infos"])
        return True


@pytest.mark.parametrize("inner_steps", [0, 1, 3])
def test_an_iteration_plays_each_task_before_and_behind_each_inner_step(inner_steps):
    agent, told = build(inner_steps=inner_steps), Told()
    agent.learn(1, callback=told)
    # 3 tasks of 2 episodes of 6 steps for each phase.
    assert agent.num_timesteps == told.steps == 36 * (inner_steps + 1)
    contexts = [told.contexts[0].count(context) for context in set(told.contexts[0])]
    assert contexts == [12 * (inner_steps + 1)] * 3
    collected = agent._collected
    assert len(collected.before) == inner_steps
    assert collected.after.states.shape == (3, 12, 2)
    agent.learn(1, callback=told, reset_num_timesteps=False)
    assert told.rollouts == 2
    assert set(told.contexts[0]).isdisjoint(told.contexts[1])


def test_tasks_are_drawn_from_those_of_training_alone():
    told = Told()
    env = partial(ReachEnv, split={"mode": "box", "n_train": 4, "n_test": 6})
    agent = build(env, meta_batch_size=12, episodes_per_task=1)
    agent.learn(400, callback=told)
    seen = {context for contexts in told.contexts for context in contexts}
    assert seen == {tuple(row) for row in agent.env.get_attr("splits")[0].contexts("train")}


def test_the_outer_step_begins_where_the_policies_that_acted_are():
    """The surrogate of unchanged parameters is the mean advantage, 0, and the divergence is 0."""
    agent = build(inner_lr=0.1, policy_kwargs=MLP)
    agent.learn(1)
    assert agent.logger.name_to_value["train/surrogate_loss"] < 0
    assert 0 < agent.logger.name_to_value["train/kl_divergence"] < 1e-2


@pytest.mark.parametrize("adapt", ["all", "generated"])
def test_tasks_are_differentiated_a_few_at_a_time(adapt, monkeypatch):
    sizes, own = [], TaskActor.gaussian

    def gaussian(self, tasks, states):
        sizes.append(len(states))
        return own(self, tasks, states)

    monkeypatch.setattr(TaskActor, "gaussian", gaussian)
    agent = build(tasks_at_once=2, adapt=adapt, inner_lr=0.01).learn(1)
    # All together are only looked at to say how they acted, without a graph.
    assert sorted(set(sizes)) == [1, 2, 3]
    assert sizes.count(3) == 1
    assert agent.logger.name_to_value["train/moved"]


def test_a_callback_ends_learning():
    agent = build()
    before = parameters(agent)
    agent.learn(1000, callback=lambda a, b: False)
    assert agent.num_timesteps == 3
    assert torch.equal(before, parameters(agent))


@pytest.mark.parametrize("policy_kwargs", [HYPER, MLP, {"actor": {**MLP["actor"], "sees_context": True}}])
def test_a_specialised_policy_acts_as_the_agent_does(policy_kwargs):
    agent = build(policy_kwargs=policy_kwargs).learn(200)
    seen = observations()
    context = agent.env.get_attr("context_space")[0].denormalise(np.array([0.3, -0.6]))
    seen[:, 2:] = agent.observed.vector(context)
    sees = agent.policy.actor.network.sees_context
    plain = agent.specialise(context if sees else None)
    np.testing.assert_allclose(plain(seen[:, :2]), agent.predict(seen, deterministic=True)[0], atol=1e-5)
    if sees:
        with pytest.raises(ContextError, match="acts by the context: give one"):
            agent.specialise()


def test_a_batch_of_many_contexts_acts_as_each_alone():
    agent = build().learn(100)
    seen = observations(9)
    seen[3:6, 2:] = seen[0, 2:]
    together, _ = agent.predict(seen, deterministic=True)
    for row, action in zip(seen, together, strict=True):
        np.testing.assert_allclose(agent.predict(row, deterministic=True)[0], action, atol=1e-5)


def test_plain_maml_does_not_see_the_context_unless_it_is_told_to():
    seen = observations(1).repeat(2, axis=0)
    seen[1, 2:] += 0.5
    for sees in (False, True):
        agent = build(policy_kwargs={"actor": {**MLP["actor"], "sees_context": sees}})
        one, other = agent.predict(seen, deterministic=True)[0]
        assert np.array_equal(one, other) == (not sees)


def test_the_inner_rate_is_the_published_one_unless_told():
    assert build().inner_rule.rate == 5e-5
    assert build(policy_kwargs=MLP).inner_rule.rate == 0.1
    assert build(inner_lr=0.2).inner_rule.rate == 0.2


def test_saving_keeps_the_tasks_to_come(tmp_path):
    agent = build().learn(200)
    agent.save(tmp_path / "agent")
    loaded = HyperMAML.load(tmp_path / "agent", env=make_vec_env(ReachEnv, n_envs=3, seed=0), device="cpu")
    assert torch.equal(parameters(agent), parameters(loaded))
    agent.check_trainable()
    loaded.check_trainable()
    assert np.array_equal(agent._tasks.draw(5), loaded._tasks.draw(5))
    assert loaded.region == agent.region
    acting = HyperMAML.load(tmp_path / "agent", device="cpu")
    assert np.array_equal(*(a.predict(observations(), deterministic=True)[0] for a in (agent, acting)))


def test_it_refuses_other_environments_than_it_was_built_for():
    agent = build().learn(72)
    agent.set_env(make_vec_env(partial(ReachEnv, split={"n_train": 5}), n_envs=3, seed=1))
    agent.learn(72)
    assert len(agent._tasks.pool) == 5
    with pytest.raises(ContextError, match="other units"):
        agent.set_env(make_vec_env(partial(ReachEnv, units="raw"), n_envs=3))


def test_observations_can_be_normalised_but_for_the_context():
    env = partial(ReachEnv, append="dict")
    venv = VecNormalize(make_vec_env(env, n_envs=3, seed=0), norm_obs_keys=["observation"])
    agent = build(venv, "MultiInputPolicy").learn(200)
    plain = agent.specialise([0.5, 0.5])
    states = observations()[:, :2]
    raw = agent.complete(states, [0.5, 0.5])
    expected = agent.predict(venv.normalize_obs(raw), deterministic=True)[0]
    np.testing.assert_allclose(plain(states), expected, atol=1e-5)
    adaptation = agent.adaptation(np.full((4, 2), 0.5))
    np.testing.assert_allclose(adaptation.act(raw, explore=False), expected, atol=1e-5)
    with pytest.raises(ContextError, match="would change what the numbers of the context mean"):
        build(VecNormalize(make_vec_env(ReachEnv, n_envs=1)))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"env": "Pendulum-v1"}, ConfigError, "these observations have none"),
        ({"env": partial(ReachEnv, mode="hidden")}, ConfigError, "hides its context"),
        ({"env": partial(ReachEnv, mode="privileged")}, ConfigError, "to critics alone"),
        ({"meta_batch_size": 0}, ConfigError, "meta_batch_size must be a whole number from 1"),
        ({"episodes_per_task": 1.5}, ConfigError, "episodes_per_task must be a whole number"),
        ({"inner_steps": -1}, ConfigError, "inner_steps must be"),
        ({"inner_lr": 0.0}, ConfigError, "inner_lr must be a number above 0"),
        ({"first_order": 1}, ConfigError, "first_order must be true or false"),
        ({"adapt": "head"}, UnknownNameError, "did you mean 'heads'"),
        ({"adapt": "generated", "policy_kwargs": MLP}, ConfigError, "is for the actor 'hyper'"),
        ({"tasks_at_once": 0}, ConfigError, "tasks_at_once must be a whole number from 1"),
        ({"gamma": 0}, ConfigError, "gamma must be"),
        ({"target_kl": 0}, ConfigError, "target_kl must be"),
        ({"line_search_shrinking_factor": 1.0}, ConfigError, "line_search_shrinking_factor must be"),
        ({"policy_kwargs": {"actor": "hyperr"}}, UnknownNameError, "did you mean 'hyper'"),
        ({"policy_kwargs": {"actor": {"kind": "hyper", "hidden": [0]}}}, ConfigError, "positive integers"),
        ({"policy_kwargs": {"log_std_init": "a"}}, ConfigError, "log_std_init must be"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_sentence(kwargs, error, message):
    kwargs = dict(kwargs)
    env = kwargs.pop("env", ReachEnv)
    if env == "Pendulum-v1":
        env = make_vec_env(env, n_envs=1)
    with pytest.raises(error, match=message) as caught:
        build(env, **kwargs)
    assert "\n" not in str(caught.value)


def test_what_has_no_tasks_is_refused_before_anything_is_played():
    agent = build(make_vec_env("Pendulum-v1", n_envs=1), policy_kwargs=MLP)
    with pytest.raises(UnsupportedEnvError, match="HyperMAML learns from many tasks"):
        agent.learn(10)
    agent = build(partial(ReachEnv, split={"n_train": 1}))
    with pytest.raises(ContextError, match="one task only"):
        agent.learn(10)
    assert agent.num_timesteps == 0


def test_a_first_observation_that_is_not_finite_is_named():
    agent = build()
    agent.learn(36)

    def spoiled(*args, **kwargs):
        return np.array([[0.0, 0, 0, 0], [0, np.nan, 0, 0], [0, 0, 0, 0]], np.float32)

    agent.env.reset = spoiled
    with pytest.raises(NonFiniteError, match=r"environment 1 gave an observation of nan \(column 1\)"):
        agent.learn(36, reset_num_timesteps=False)


@pytest.mark.parametrize("preset", read_presets("hyper-maml"))
def test_every_preset_can_be_built(preset):
    config = resolve("hyper-maml", {"preset": preset, "env": "hyperrl/Navigation2D-v0"}).config
    check_agent_kwargs("hyper-maml", HyperMAML, config.policy, config.agent_kwargs, config.steps)
    kwargs = build_agent_kwargs(config.agent_kwargs, 2)
    if preset == "paper":
        assert kwargs["policy_kwargs"] == {"actor": "hyper"}
    else:
        agent = HyperMAML(config.policy, make_vec_env(partial(ReachEnv, append="dict")), **kwargs)
        assert agent.parameter_counts["actor"]["trainable"] < 1e6


def test_the_papers_settings():
    config = resolve("hyper-maml", {"preset": "paper", "env": "hyperrl/Navigation2D-v0"}).config
    kwargs = config.agent_kwargs | {"policy_kwargs": HYPER}
    agent = HyperMAML("MlpPolicy", make_vec_env(ReachEnv), **kwargs)
    found = {name: getattr(agent, name) for name in ("meta_batch_size", "episodes_per_task", "inner_steps")}
    assert found == {"meta_batch_size": 40, "episodes_per_task": 20, "inner_steps": 1}
    assert (agent.gamma, agent.gae_lambda, agent.first_order, agent.adapt) == (0.95, 1.0, True, "all")
    region = agent.region
    assert (region.target_kl, region.cg_max_steps, region.cg_damping) == (1e-2, 10, 1e-5)
    assert (region.line_search_max_iter, region.line_search_shrinking_factor) == (20, 0.8)
    assert config.env_kwargs["n_train"] == 100
    assert config.env_kwargs["n_test"] == 20
