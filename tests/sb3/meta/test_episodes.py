"""Whole episodes of chosen tasks, against environments that are stepped one by one."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

import hyperrl_envs  # noqa: F401
from hyperrl.errors import ContextError, ShapeError, UnsupportedEnvError
from hyperrl.sb3.meta.episodes import EpisodeCollector
from hyperrl.sb3.meta.tasks import Tasks, assign, shares
from hyperrl_envs.contextual.native import make_contextual

ENV = "hyperrl/ContextualHopper-v0"
KWARGS = {"context": ["mass", "gravity"]}


def policy(features, jobs):
    return np.stack([np.sin(3 * features[:, 1]), np.cos(features[:, 2]), 1.5 * np.ones(len(features))], 1)


def alone(contexts, seed):
    """Play episodes one after the other in one environment of Gymnasium."""
    env = gym.make(ENV, **KWARGS)
    for index, context in enumerate(contexts):
        observation, _ = env.reset(seed=seed if index == 0 else None, options={"context": context})
        rows = []
        while True:
            features = np.concatenate([observation["observation"], observation["context"]]).astype(np.float32)
            action = policy(features[None], None)[0].astype(np.float32)
            clipped = np.clip(action, -1, 1).astype(np.float32)
            observation, reward, terminated, truncated, _ = env.step(clipped)
            rows.append((features, action, reward, terminated))
            if terminated or truncated:
                yield rows, np.concatenate([observation["observation"], observation["context"]])
                break


@pytest.mark.parametrize("native", [True, False])
def test_episodes_are_those_of_environments_alone(native):
    contexts = np.array([[1.0, 1.0], [0.8, 1.1], [1.2, 0.9], [0.9, 1.2], [1.1, 0.8]])
    if native:
        env = make_contextual(ENV, 2, 5, **KWARGS)
    else:
        env = make_vec_env(lambda: gym.make(ENV, **KWARGS), n_envs=2, seed=5)
    steps = []
    episodes = EpisodeCollector(env).play(contexts, policy, lambda told: steps.append(told) is None)
    assert np.array_equal(episodes.contexts, contexts)
    assert len(set(episodes.lengths)) > 1
    for lane in (0, 1):
        # Each lane's generator goes on from episode to episode.
        for job, (rows, last) in zip(range(lane, 5, 2), alone(contexts[lane::2], 5 + lane), strict=True):
            length = len(rows)
            assert episodes.lengths[job] == length
            features = np.stack([row[0] for row in rows])
            assert np.array_equal(episodes.features[job, :length], features)
            assert np.array_equal(episodes.next_features[job, : length - 1], features[1:])
            assert np.allclose(episodes.next_features[job, length - 1], last, atol=1e-6)
            assert np.array_equal(episodes.actions[job, :length], np.stack([row[1] for row in rows]))
            assert np.allclose(episodes.rewards[job, :length], [row[2] for row in rows], atol=1e-6)
            assert episodes.terminated[job].sum() == episodes.terminated[job, length - 1] == rows[-1][3]
            assert episodes.mask[job].sum() == length == np.argmin(np.append(episodes.mask[job], False))
            assert not episodes.rewards[job, length:].any()
    assert len(steps) >= episodes.lengths[::2].sum()


def test_a_callback_ends_it():
    env = make_contextual(ENV, 2, 0, **KWARGS)
    assert EpisodeCollector(env).play(np.ones((2, 2)), policy, lambda told: False) is None


def test_shares_deal_jobs_to_lanes():
    assert shares(5, 2).tolist() == [[0, 1], [2, 3], [4, -1]]


def test_tasks_are_drawn_by_a_generator_of_their_own():
    env = make_contextual(ENV, 2, 0, **KWARGS, n_train=4)
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first, second = Tasks.of_env(env, "X", 3), Tasks.of_env(env, "X", 3)
    drawn = first.draw(50)
    assert np.array_equal(drawn, second.draw(50))
    assert np.array_equal(np.unique(drawn, axis=0), np.unique(first.pool, axis=0))
    assert np.array_equal(np.random.get_state()[1], before)
    trained = {row.tobytes() for row in first.pool}
    assert not trained & {row.tobytes() for row in first.splits.contexts("interpolation")}


def test_what_cannot_be_tasks_is_refused():
    plain = make_vec_env("Pendulum-v1", n_envs=1)
    with pytest.raises(UnsupportedEnvError, match="X learns from many tasks"):
        Tasks.of_env(plain, "X")
    with pytest.raises(ContextError, match="one task only"):
        Tasks.of_env(make_contextual(ENV, 1, 0, **KWARGS, n_train=1), "X")
    env = make_contextual(ENV, 2, 0, **KWARGS)
    with pytest.raises(ShapeError, match="2 environments need as many tasks, got 3"):
        assign(env, np.ones((3, 2)))
    with pytest.raises(ContextError, match="no task to play"):
        EpisodeCollector(env).play(np.ones((0, 2)), policy)
