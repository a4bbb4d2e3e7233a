"""The evaluation of many architectures against episodes that are played one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl import HyperPPO
from hyperrl.errors import ConfigError
from hyperrl.evaluation.architectures import Tournament, policy_of
from hyperrl.evaluation.rollout import play_episodes
from hyperrl.sb3.normalising import OnRawObservations
from tests.sb3.toys import PointEnv

SPACE = [[2], [4], [2, 2], [4, 4], [4, 4, 4], [8], [8, 8], [16]]


@pytest.fixture
def agent():
    venv = VecNormalize(make_vec_env(PointEnv, 2))
    settings = {"architectures": SPACE, "generator": "nested"}
    return HyperPPO(
        "MlpPolicy", venv, n_steps=8, batch_size=8, n_architectures=2, seed=0, policy_kwargs=settings
    ).learn(64)


def tournament(agent, lines, at_once=512):
    make = lambda count: make_vec_env(PointEnv, count)  # noqa: E731
    return Tournament(agent, policy_of(agent, "it"), make, at_once, lines.append)


def one_by_one(agent, architecture, seeds):
    acting = OnRawObservations(agent, architecture=architecture)
    return [episode.episode_return for episode in play_episodes(acting, PointEnv(), seeds)]


@pytest.mark.parametrize("at_once", [512, 7, 2])
def test_returns_are_those_of_episodes_one_by_one(agent, at_once):
    found = tournament(agent, [], at_once).play([], [5, 6, 7])
    assert len(found) == len(SPACE)
    for one in found:
        expected = one_by_one(agent, list(one.architecture), [5, 6, 7])
        assert one.returns.estimate == pytest.approx(float(np.mean(expected)), rel=1e-5)
        assert (one.episodes, one.is_finalist) == (3, True)


def test_finalists_are_judged_by_fresh_episodes_alone(agent):
    lines = []
    found = tournament(agent, lines).play([1, 2, 3, 4], [8, 9], finalists=1)
    finalists = [one for one in found if one.is_finalist]
    assert 0 < len(finalists) < len(SPACE)
    for one in finalists:
        expected = one_by_one(agent, list(one.architecture), [8, 9])
        assert one.returns.estimate == pytest.approx(float(np.mean(expected)), rel=1e-5)
    # Each class of size has the best of those that it raced.
    classes = {one.budget.parameters.bit_length() for one in found}
    assert {one.budget.parameters.bit_length() for one in finalists} == classes
    assert len(finalists) == len(classes)
    assert lines[0] == "8 architectures, 1 episodes each"
    assert lines[-1] == f"{len(finalists)} finalists, 2 fresh episodes each"


def test_one_episode_says_nothing_of_the_spread(agent):
    found = tournament(agent, []).play([1], [8, 9], finalists=1)
    for one in found:
        assert math.isinf(one.returns.low) != one.is_finalist
        assert math.isinf(one.returns.high) != one.is_finalist


def test_an_agent_of_one_architecture_is_refused():
    from stable_baselines3 import PPO

    with pytest.raises(ConfigError, match="ppo has a policy of one architecture"):
        policy_of(PPO("MlpPolicy", make_vec_env(PointEnv)), "ppo")


@pytest.mark.parametrize("norm_obs", [True, False])
def test_a_normaliser_of_rewards_alone_costs_the_robot_nothing(norm_obs):
    venv = VecNormalize(make_vec_env(PointEnv, 2), norm_obs=norm_obs)
    settings = {"architectures": [[2]], "generator": "nested"}
    agent = HyperPPO("MlpPolicy", venv, n_steps=8, batch_size=8, seed=0, policy_kwargs=settings)
    (one,) = tournament(agent, []).play([], [5, 6])
    assert one.budget.normalised == norm_obs
