"""Batches of a few contexts: what is in them, how often, and after the ring has gone round."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl.errors import ConfigError, ContextError, UnknownNameError
from hyperrl.sb3.contexts.replay import ContextReplayBuffer
from tests.sb3.contexts.toys import CONTEXTS, SPACE, ContextTask

CODES = SPACE.normalise(CONTEXTS).astype(np.float32)


def filled(append="dict", steps=40, size=60, envs=2, weights=(1, 1, 1, 3), **kwargs):
    """A buffer in which the k-th step's observation has the number k, and contexts come by their weights."""
    task = ContextTask(append)
    arguments = {"n_envs": envs, "context_size": 2, "groups": 4, "device": "cpu", **kwargs}
    buffer = ContextReplayBuffer(size, task.observation_space, task.action_space, **arguments)
    generator = np.random.default_rng(0)
    for step in range(steps):
        codes = CODES[generator.choice(4, envs, p=np.array(weights) / sum(weights))]
        state = np.full((envs, 3), step, np.float32)
        observation = {"observation": state, "context": codes}
        if append == "flat":
            observation = np.concatenate([state, codes], 1)
        buffer.add(observation, observation, np.zeros((envs, 2)), state[:, 0], np.zeros(envs), [{}] * envs)
    return buffer


def parts(observations):
    if isinstance(observations, dict):
        return observations["observation"], observations["context"]
    return observations[:, :3], observations[:, 3:]


@pytest.mark.parametrize("append", ["dict", "flat"])
@pytest.mark.parametrize("steps", [5, 30, 31, 100])
@pytest.mark.parametrize("balance", ["transitions", "contexts"])
def test_groups_have_one_context_each_and_rows_that_are_there(append, steps, balance):
    buffer = filled(append, steps, balance=balance)
    np.random.seed(0)
    for _ in range(5):
        batch = buffer.sample(32)
        states, contexts = parts(batch.observations)
        assert th.equal(contexts, contexts[::8].repeat_interleave(8, 0))
        numbers = states[:, 0].numpy()
        assert numbers.max() < steps
        assert numbers.min() >= max(0, steps - 30)
        # Whole rows: the reward has the step's number too.
        assert np.array_equal(batch.rewards[:, 0].numpy(), numbers)
        assert {tuple(row) for row in contexts.tolist()} <= {tuple(row) for row in CODES.tolist()}


@pytest.mark.parametrize(("balance", "share"), [("transitions", 0.5), ("contexts", 0.25)])
def test_how_often_each_context_is_drawn(balance, share):
    buffer = filled("flat", 3000, 6000, balance=balance)
    np.random.seed(0)
    drawn = np.concatenate([parts(buffer.sample(4).observations)[1].numpy() for _ in range(1000)])
    found = (drawn == CODES[3]).all(1).mean()
    assert abs(found - share) < 0.03


def test_a_buffer_that_was_written_otherwise_draws_the_same():
    for balance in ("transitions", "contexts"):
        buffer = filled("flat", 75, balance=balance)
        restored = filled("flat", 0, balance=balance)
        restored.packed[:] = buffer.packed
        restored.pos, restored.full = buffer.pos, buffer.full
        copied = copy.deepcopy(buffer)
        for _ in range(3):
            batches = []
            state = np.random.get_state()
            for one in (buffer, restored, copied):
                np.random.set_state(state)
                batches.append(one.sample(16).observations)
            assert th.equal(batches[0], batches[1])
            assert th.equal(batches[0], batches[2])


def test_observations_are_normalised_and_contexts_are_not():
    env = VecNormalize(DummyVecEnv([ContextTask] * 2), norm_obs_keys=["observation"])
    env.reset()
    for _ in range(20):
        env.step(np.ones((2, 2)))
    buffer = filled()
    np.random.seed(0)
    raw = buffer.sample(16)
    np.random.seed(0)
    batch = buffer.sample(16, env)
    expected = env.normalize_obs({key: value.numpy() for key, value in raw.observations.items()})
    for key, value in expected.items():
        assert np.allclose(batch.observations[key].numpy(), value)
    assert th.equal(batch.observations["context"], raw.observations["context"])
    assert np.allclose(batch.rewards.numpy(), env.normalize_reward(raw.rewards.numpy()))


@pytest.mark.parametrize("append", ["dict", "flat"])
def test_a_context_that_moves_within_an_episode_is_refused(append):
    buffer = filled(append, 3)
    before, after = ({"observation": np.zeros((2, 3)), "context": CODES[rows]} for rows in ([0, 1], [0, 2]))
    if append == "flat":
        before, after = (np.concatenate(list(one.values()), 1) for one in (before, after))
    with pytest.raises(ContextError, match=r"environment 1 changed from \[1.0, .*within an episode"):
        buffer.add(before, after, np.zeros((2, 2)), np.zeros(2), np.zeros(2), [{}] * 2)
    assert buffer.size() == 3


@pytest.mark.parametrize("balance", ["transitions", "contexts"])
def test_contexts_without_transitions_are_forgotten(balance):
    buffer = filled("flat", 0, size=20, envs=1, balance=balance)
    np.random.seed(0)
    for step in range(300):
        # Two steps of each context.
        row = np.array([[step, 0, 0, step // 2, 1]], np.float32)
        buffer.add(row, row, np.zeros((1, 2)), np.zeros(1), np.zeros(1), [{}])
        assert buffer.sample(8).observations[:, 3].min() >= (step - 19) // 2
    assert len(buffer._index._queues) <= 12
    assert len(buffer._index._numbers) == 10


def test_wrong_sizes_are_refused():
    with pytest.raises(ConfigError, match="multiple of the 4 contexts of a batch, got 30"):
        filled().sample(30)
    with pytest.raises(UnknownNameError, match="did you mean 'contexts'"):
        filled(balance="context")
    with pytest.raises(ConfigError, match="only where observations have a context"):
        filled(context_size=0)
