"""HyperPEARL learns to find out where to go."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

from hyperrl.sb3.meta.adaptation import Transition
from tests.agents.hyper_pearl.building import LENGTH, build, env, oracle

SETTINGS = {
    "initial_steps": 10 * LENGTH,
    "tasks_per_iteration": 20,
    "prior_steps": 2 * LENGTH,
    "extra_steps": LENGTH,
    "gradient_steps": 100,
    "batch_size": 32,
    "meta_batch_size": 8,
    "context_batch_size": 24,
    "buffer_size": 100_000,
    "learning_rate": 2e-3,
    "critic_learning_rate": 2e-3,
    "encoder_learning_rate": 2e-3,
    "gamma": 0.7,
    "tau": 0.02,
    "reward_scale": 50.0,
    "kl_weight": 0.01,
    "policy_kwargs": {
        "primary": [64],
        "blocks": 1,
        "net_arch": [32],
        "encoder_arch": [64, 64],
        "latent": 2,
    },
}


def goals():
    """Goals that nobody trained on."""
    return np.random.default_rng(3).uniform(-1, 1, (40, 2))


def blind():
    """What is earned at best by whoever never knows the goal: to stay in the middle of all."""
    return -LENGTH * float(np.square(goals()).sum(1).mean())


def returns(agent, goals, episodes, mode="hidden"):
    """Mean returns of episodes that are evaluated after 0, 1, 2, ... episodes of data in new tasks."""
    venv = make_vec_env(env(20, mode), n_envs=len(goals), seed=1)
    for lane, goal in enumerate(goals):
        venv.env_method("set_fixed_context", goal, indices=[lane])
    adaptation, found, playing = agent.adaptation(goals), [], np.ones(len(goals), bool)

    def play(explore):
        adaptation.begin_episode()
        seen, total = venv.reset(), np.zeros(len(goals))
        for _ in range(LENGTH):
            actions = adaptation.act(seen, explore=explore)
            after, rewards, over, infos = venv.step(actions)
            last = np.stack([info["terminal_observation"] for info in infos]) if over.all() else after
            ended = np.zeros(len(goals), bool)
            adaptation.observe(Transition(seen, actions, rewards, last, ended, playing))
            seen, total = after, total + rewards
        return float(total.mean())

    for _ in range(episodes + 1):
        known = adaptation.snapshot()
        found.append(play(explore=False))
        adaptation.restore(known)
        play(explore=True)
        adaptation.end_episode()
    return found


def test_a_generated_policy_that_is_told_new_goals_walks_there():
    agent = oracle(n_envs=10, n_train=20, **SETTINGS).learn(1900)
    assert returns(agent, goals(), 0, "visible")[0] > 0.5 * blind()


@pytest.mark.slow
def test_a_few_episodes_tell_where_to_go():
    agent = build(10, n_train=20, **SETTINGS).learn(5880)
    zero_shot, *_, adapted = returns(agent, goals(), 3)
    assert zero_shot < 0.95 * blind()
    assert adapted > 0.9 * blind()
