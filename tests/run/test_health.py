"""The guard beside learning: it changes nothing, alarms for nothing that is finite, and warns of divergence.

That it finds what is not finite is tested in tests/faults/test_non_finite.py.
"""

from __future__ import annotations

import random
import re
import warnings

import numpy as np
import pytest
import torch as th
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from hyperrl.errors import NonFiniteError
from hyperrl.run.health import DivergenceWarning, HealthCallback
from tests.faults.injection import (
    ONLINE,
    At,
    FaultyTrain,
    actor_weight,
    build,
    critic_weight,
    make_envs,
    on_policy,
)
from tests.sb3.toys import ImageEnv, same_parameters

# HyperTD3 and HyperSAC are the two left out, with other critics.
AGENTS = [name for name in ONLINE if name not in ("compiled-td3", "compiled-sac")]
every_agent = pytest.mark.parametrize("name", AGENTS)


@pytest.fixture(autouse=True)
def no_warning():
    """A warning where none is expected fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DivergenceWarning)
        yield


def generators():
    return (random.getstate(), th.get_rng_state().tolist(), str(np.random.get_state()))


# Every day each agent once, every second one of them in normalised environments.
@pytest.mark.parametrize(
    ("name", "normalised"),
    [
        pytest.param(name, normalised, marks=() if normalised == index % 2 else pytest.mark.slow)
        for index, name in enumerate(AGENTS)
        for normalised in (False, True)
    ],
)
def test_an_agent_learns_the_same_with_it_and_without_it(name, normalised):
    def run(callback):
        agent = build(name, normalised=normalised)
        agent.learn(90, callback=callback)
        actions = [str(agent.action_space.np_random.bit_generator.state), agent.env.reset().tolist()]
        return agent, generators(), actions

    plain, *expected = run(None)
    guarded, *found = run(HealthCallback())
    assert same_parameters(plain, guarded)
    assert found == expected
    assert guarded._n_updates > 2
    parts = ("observations", "actions", "rewards")
    buffers = [agent.rollout_buffer if on_policy(name) else agent.replay_buffer for agent in (plain, guarded)]
    for part in parts:
        assert np.array_equal(*(getattr(buffer, part) for buffer in buffers))


@every_agent
def test_nothing_of_it_is_left_in_the_agent(name):
    agent = build(name)
    before = set(vars(agent))
    agent.learn(60, callback=HealthCallback())
    assert set(vars(agent)) - before <= {"_custom_logger", "_logger"}


@pytest.mark.parametrize(
    ("cls", "env", "options"),
    [
        (DQN, "CartPole-v1", {"learning_starts": 10, "train_freq": 1, "buffer_size": 100}),
        (A2C, "CartPole-v1", {"n_steps": 5}),
        (PPO, "CartPole-v1", {"n_steps": 16, "batch_size": 16}),
        (DDPG, "Pendulum-v1", {"learning_starts": 10, "buffer_size": 100}),
        (SAC, "Pendulum-v1", {"learning_starts": 10, "buffer_size": 100, "ent_coef": 0.1}),
        (SAC, "Pendulum-v1", {"learning_starts": 10, "buffer_size": 100, "use_sde": True}),
    ],
)
def test_every_algorithm_of_stable_baselines3_runs_with_it(cls, env, options):
    agent = cls("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, device="cpu", seed=0, **options)
    agent.learn(64, callback=HealthCallback())
    assert agent._n_updates > 0


def test_images_are_whole_numbers_and_networks_may_share_their_extractor():
    env = make_vec_env(ImageEnv, n_envs=3)
    agent = TD3(
        "CnnPolicy",
        env,
        policy_kwargs={"net_arch": [8], "share_features_extractor": True},
        learning_starts=3,
        batch_size=4,
        buffer_size=30,
        device="cpu",
    )
    agent.learn(12, callback=HealthCallback())
    name, weight = next(iter(agent.critic.features_extractor.named_parameters()))
    FaultyTrain(agent, n=1, after=lambda _: weight.data.fill_(float("nan")))
    with pytest.raises(NonFiniteError, match=rf"features_extractor\.{name} is nan, found"):
        agent.learn(12, callback=HealthCallback())


@every_agent
def test_numbers_whose_squares_overflow_are_no_alarm(name):
    agent = build(name)
    agent.policy.register_parameter("unused", th.nn.Parameter(th.full((3, 2), 1e30)))
    weight = critic_weight(agent)[1]
    FaultyTrain(agent, n=3, after=lambda _: weight.grad.fill_(-1e25))
    agent.learn(60, callback=HealthCallback())
    assert agent.num_timesteps == 60


@pytest.mark.parametrize("dtype", [th.float16, th.bfloat16, th.float64])
def test_weights_of_several_precisions(dtype):
    agent = build("hyper-td3")
    for name, shape in (("vector", 3), ("matrix", (2, 2))):
        agent.policy.register_parameter(name, th.nn.Parameter(th.ones(shape, dtype=dtype)))
    agent.learn(30, callback=HealthCallback())
    FaultyTrain(agent, n=2, after=lambda a: a.policy.matrix.data.fill_(np.inf))
    with pytest.raises(NonFiniteError, match="the weight matrix is inf, found after update"):
        agent.learn(30, callback=HealthCallback())


def test_constants_that_are_infinite_are_no_alarm_but_statistics_that_become_so_are():
    agent = build("td3")
    agent.policy.register_buffer("mask", th.tensor([0.0, -np.inf]))
    agent.policy.register_buffer("mean", th.zeros(2))
    agent.learn(30, callback=HealthCallback())
    agent.policy.mean[1] = np.inf
    agent.policy.register_buffer("later", th.zeros(2))
    callback = At(2, lambda a: a.policy.later.fill_(np.nan))
    with pytest.raises(NonFiniteError, match="the weight later is nan"):
        agent.learn(30, callback=[HealthCallback(), callback])


def test_several_bad_weights_are_counted():
    agent = build("td3")

    def spoil(agent):
        for parameter in agent.critic.parameters():
            parameter.data.fill_(np.nan)

    FaultyTrain(agent, n=2, after=spoil)
    with pytest.raises(NonFiniteError, match=r"the weight critic\.qf0\.0\.weight is nan \(and 7 more\)"):
        agent.learn(60, callback=HealthCallback())


@pytest.mark.parametrize(
    ("key", "alarm"),
    [
        ("train/explained_variance", False),
        ("rollout/ep_rew_mean", False),
        ("train/note", False),
        ("train/loss", True),
        ("train/ent_coef_loss", True),
    ],
)
def test_which_logged_values_count(key, alarm):
    agent = build("ppo")
    value = "nan" if key == "train/note" else np.float32("nan")
    FaultyTrain(agent, n=2, after=lambda a: a.logger.record(key, value))
    if not alarm:
        agent.learn(60, callback=HealthCallback())
        return
    with pytest.raises(NonFiniteError, match=f"{key} is nan"):
        agent.learn(60, callback=HealthCallback())


class Saving(BaseCallback):
    """Saves the agent at the end of each rollout, where another update is about to come."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.model.save(self.path)


@pytest.mark.parametrize("name", ["sac", "ppo"])
def test_what_other_callbacks_save_is_the_agent_alone(name, tmp_path):
    agent = build(name)
    agent.learn(30, callback=[HealthCallback(), Saving(tmp_path / "agent")])
    loaded = type(agent).load(tmp_path / "agent", env=make_envs(), device="cpu")
    assert not {"train", "_excluded_save_params"} & set(vars(loaded))
    loaded.learn(30, callback=HealthCallback())
    assert loaded.num_timesteps >= 30


@pytest.mark.parametrize("error", [ValueError("mine"), ZeroDivisionError("mine"), KeyError("mine")])
def test_other_failures_of_an_update_are_left_alone(error):
    agent = build("sac")

    def fail(_):
        raise error

    update = FaultyTrain(agent, n=3, before=fail)
    with pytest.raises(type(error)) as caught:
        agent.learn(60, callback=HealthCallback())
    assert caught.value is error
    assert agent.train is update


def test_a_failure_within_an_update_keeps_its_cause():
    agent = build("sac")
    FaultyTrain(agent, n=3, before=lambda _: actor_weight(agent)[1].data.fill_(np.nan))
    with pytest.raises(NonFiniteError, match=r"actor\.\S+ is nan") as caught:
        agent.learn(60, callback=HealthCallback())
    assert "constraint Real" in str(caught.value.__cause__)


def test_a_run_that_another_callback_stops_ends_in_good_order():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 5

    agent = build("td3")
    agent.learn(60, callback=[HealthCallback(), Stop()])
    assert agent.num_timesteps == 15
    assert "train" not in vars(agent)


# Divergence


def logging(agent, n=2, **values):
    """Have an agent log values from its n-th update on."""
    own = agent.train
    calls = [0]

    def train(*args, **kwargs):
        own(*args, **kwargs)
        calls[0] += 1
        if calls[0] >= n:
            for key, value in values.items():
                agent.logger.record(key.replace("__", "/"), value)

    agent.train = train


def rewards_of(scale):
    """Three environments whose rewards have that size, always."""
    envs = make_envs()
    for env in envs.envs:
        own = env.step
        env.step = lambda action, own=own: (*own(action)[:1], scale, *own(action)[2:])
    return envs


def divergences(agent, steps=60, callback=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        agent.learn(steps, callback=callback or HealthCallback())
    return [str(w.message) for w in caught if issubclass(w.category, DivergenceWarning)]


@pytest.mark.parametrize(
    ("values", "subject"),
    [
        ({"hyper__q_max": 1010.0}, "the critic's hyper/q_max is 1.01e+03"),
        ({"hyper__q_min": -1010.0}, "the critic's hyper/q_min is -1.01e+03"),
        ({"train__critic_loss": 1010.0**2}, "the square root of train/critic_loss is 1.01e+03"),
    ],
)
def test_values_beyond_what_rewards_allow_are_warned_of_once(values, subject):
    agent = build("td3", rewards_of(2.0), gamma=0.98)
    logging(agent, **values)
    (text,) = divergences(agent)
    assert text.startswith(f"{subject} at step 12, but rewards of at most 2 with gamma = 0.98 allow values ")
    assert "of at most 100: learning diverges; try a lower learning rate of the critic" in text


@pytest.mark.parametrize(
    "values",
    [
        {"hyper__q_max": 990.0},
        {"hyper__q_min": -990.0},
        {"train__critic_loss": 990.0**2},
        {"train__actor_loss": 1e9},
    ],
)
def test_values_that_the_rewards_allow_are_not(values):
    agent = build("td3", rewards_of(-2.0), gamma=0.98)
    logging(agent, **values)
    assert divergences(agent) == []


@pytest.mark.parametrize(("scale", "gamma"), [(2.0, 1.0), (0.0, 0.98)])
def test_without_a_bound_there_is_no_warning(scale, gamma):
    agent = build("td3", rewards_of(scale), gamma=gamma)
    logging(agent, hyper__q_max=1e12)
    assert divergences(agent) == []


@pytest.mark.parametrize(("size", "warned"), [(9.0, False), (11.0, True)])
def test_rewards_may_be_smaller_than_what_a_fresh_critic_gives(size, warned):
    agent = build("td3", rewards_of(1e-6), gamma=0.9)
    logging(agent, hyper__q_max=size)
    assert bool(divergences(agent)) is warned


@pytest.mark.parametrize(("size", "warned"), [(4400.0, False), (5500.0, True)])
def test_entropy_is_a_reward_too(size, warned):
    # Two actions and a temperature of 4: 2 + 2 * 4 in each step, 500 in all.
    agent = build("sac", rewards_of(2.0), gamma=0.98, ent_coef=4.0)
    logging(agent, hyper__q_max=size)
    assert bool(divergences(agent)) is warned


def test_the_value_loss_of_on_policy_agents_counts():
    agent = build("ppo", rewards_of(2.0), gamma=0.98)
    logging(agent, train__value_loss=1e9)
    (text,) = divergences(agent)
    assert text.startswith("the square root of train/value_loss is 3.16e+04 at step 24")


def test_rewards_of_an_earlier_run_count():
    agent = build("td3", rewards_of(50.0), gamma=0.98)
    agent.learn(30)
    agent.set_env(rewards_of(0.5))
    logging(agent, n=1, hyper__q_max=20000.0)
    assert divergences(agent) == []


def test_normalised_rewards_are_what_counts():
    agent = build("td3", rewards_of(1e6), normalised=True, gamma=0.98)
    logging(agent, hyper__q_max=1e5)
    (text,) = divergences(agent)
    assert float(re.search(r"at most (\S+) with", text)[1]) <= 10


@pytest.mark.parametrize("name", AGENTS)
def test_a_healthy_run_is_not_warned_of(name):
    agent = build(name, make_envs())
    assert divergences(agent, 90) == []


def test_a_run_that_does_diverge_is_warned_of():
    agent = build("td3", rewards_of(1.0), gamma=0.9, learning_rate=10.0)
    (text,) = divergences(agent, 60)
    assert "the square root of train/critic_loss" in text


def test_observations_that_are_plain_numbers_are_let_pass():
    agent = PPO("MlpPolicy", "FrozenLake-v1", n_steps=64, batch_size=32, policy_kwargs={"net_arch": [8]})
    agent.learn(64, callback=HealthCallback())
    assert agent._episode_num or agent.ep_info_buffer  # An episode has ended, with its last observation.
