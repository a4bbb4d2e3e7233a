"""Adaptation is what the memory of trials does, task by task."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.errors import ConfigError
from hyperrl.sb3.meta.adaptation import Adaptation, Adaptive, Transition
from hyperrl.sb3.meta.tasks import assign
from tests.agents.recurrent_hyper.small import HIDDEN, build, moved

TASKS = np.array([[0.6, 0.2], [-0.5, 0.9], [0.1, -0.4]])


def agent_of(normalised):
    env = make_vec_env(HIDDEN, 3, 0)
    agent = build(VecNormalize(env) if normalised else env)
    agent.learn(2 * 16 * 3)
    moved(agent.policy, 0.1)
    return agent


def adapted(agent, venv, episodes):
    """Play episodes with an adaptation; what it was shown and what it did, step by step."""
    adaptation, told = agent.adaptation(TASKS), []
    assign(venv, TASKS)
    for _ in range(episodes):
        adaptation.begin_episode()
        observations, playing, first = venv.reset(), np.ones(3, bool), True
        while playing.any():
            actions = adaptation.act(observations, explore=True)
            after, rewards, dones, _ = venv.step(actions)
            step = Transition(observations.copy(), actions, rewards, after, dones, playing.copy())
            told.append((step, first))
            adaptation.observe(step)
            observations, playing, first = after, playing & ~dones, False
        adaptation.end_episode()
    return adaptation, told


@pytest.mark.parametrize("normalised", [False, True])
def test_an_adaptation_acts_as_predict_does_for_each_task_alone(normalised):
    agent = agent_of(normalised)
    normaliser = agent.get_vec_normalize_env()
    adaptation, told = adapted(agent, make_vec_env(HIDDEN, 3, 7), 3)
    assert isinstance(agent, Adaptive)
    assert isinstance(adaptation, Adaptation)
    for task in range(3):
        state, action, reward, start = None, np.zeros(2), 0.0, True
        for step, first in told:
            if not step.playing[task]:
                continue
            own = step.observations[task]
            observation = {
                "observation": own if normaliser is None else normaliser.normalize_obs(own[None])[0],
                "action": np.float32(action),
                "reward": np.float32([reward]),
                "episode": np.float32([first]),
                "start": np.float32([start]),
            }
            expected, state = agent.predict(observation, state, deterministic=True)
            assert np.allclose(step.actions[task], expected, atol=1e-5)
            action, reward, start = step.actions[task], step.rewards[task], False
    lengths = sum(step.playing for step, _ in told)
    assert len(set(lengths.tolist())) > 1


def test_what_one_task_remembers_is_nobody_elses_and_a_snapshot_brings_it_back():
    agent = agent_of(False)
    venv = make_vec_env(HIDDEN, 3, 7)
    adaptation, _ = adapted(agent, venv, 1)
    before = adaptation.snapshot()
    observations = venv.reset()
    expected = adaptation.act(observations, explore=False)
    only = np.array([True, False, False])
    nothing = np.zeros(3)
    step = Transition(observations, expected, nothing - 3, observations, nothing.astype(bool), only)
    adaptation.observe(step)
    changed = adaptation.act(observations, explore=False)
    assert not np.allclose(changed[0], expected[0])
    assert np.array_equal(changed[1:], expected[1:])
    adaptation.restore(before)
    assert np.array_equal(adaptation.act(observations, explore=False), expected)


@pytest.mark.parametrize("normalised", [False, True])
def test_a_specialised_policy_is_the_actor_of_the_present_latent(normalised):
    agent = agent_of(normalised)
    adaptation, _ = adapted(agent, make_vec_env(HIDDEN, 3, 7), 1)
    states = np.random.default_rng(0).uniform(-1, 1, (9, 2)).astype(np.float32)
    normaliser = agent.get_vec_normalize_env()
    seen = states if normaliser is None else normaliser.normalize_obs(states)
    actions = []
    for task in range(3):
        hidden = th.from_numpy(adaptation.snapshot().hidden[task])
        with th.no_grad():
            latent = agent.policy.latent(hidden).expand(9, -1)
            means, _ = agent.policy.networks(th.from_numpy(np.float32(seen)), latent)
        actions.append(adaptation.specialise(task)(states))
        assert np.allclose(actions[-1], np.clip(means.numpy(), -1, 2), atol=1e-5)
    assert not np.allclose(actions[0], actions[1])


def test_at_least_one_task():
    with pytest.raises(ConfigError, match="the number of tasks"):
        build().adaptation(np.zeros((0, 2)))
