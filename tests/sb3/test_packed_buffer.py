import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl.run.members import Segment
from hyperrl.run.replay import ReplayLog
from hyperrl.sb3.packed_buffer import PackedReplayBuffer

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (3,), np.float64)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)


def both(size, n_envs, rows, **kwargs):
    buffers = [
        cls(size, OBSERVATIONS, ACTIONS, device="cpu", n_envs=n_envs, **kwargs)
        for cls in (PackedReplayBuffer, ReplayBuffer)
    ]
    generator = np.random.default_rng(0)
    for _ in range(rows):
        row = (
            generator.standard_normal((n_envs, 3)),
            generator.standard_normal((n_envs, 3)),
            generator.uniform(-1, 1, (n_envs, 2)).astype(np.float32),
            generator.standard_normal(n_envs),
            generator.random(n_envs) < 0.3,
            [{"TimeLimit.truncated": bool(generator.random() < 0.5)} for _ in range(n_envs)],
        )
        for buffer in buffers:
            buffer.add(*row)
    return buffers


def sampled(buffer, env=None):
    np.random.seed(7)
    return buffer.sample(64, env=env)


@pytest.mark.parametrize("handle_timeouts", [True, False])
@pytest.mark.parametrize("rows", [5, 23])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_samples_are_those_of_stable_baselines3_as_networks_see_them(n_envs, rows, handle_timeouts):
    ours, theirs = both(10 * n_envs, n_envs, rows, handle_timeout_termination=handle_timeouts)
    for name, found, expected in zip(sampled(ours)._fields, sampled(ours), sampled(theirs), strict=True):
        if expected is None:
            assert found is None
            continue
        assert found.dtype == torch.float32, name
        torch.testing.assert_close(found, expected.float(), rtol=0, atol=0, msg=name)


def test_arrays_have_their_usual_names_and_can_be_written_to():
    ours, theirs = both(10, 1, 4)
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6)
    ours.rewards[:] = 5
    assert set(sampled(ours).rewards.flatten().tolist()) == {5.0}


def test_a_normaliser_is_applied_as_usual():
    class Still(gym.Env):
        observation_space, action_space = OBSERVATIONS, ACTIONS

    env = VecNormalize(DummyVecEnv([Still]))
    env.obs_rms.mean[:], env.obs_rms.var[:] = 2.0, 9.0
    env.ret_rms.var = np.array(4.0)
    ours, theirs = both(10, 1, 8)
    for found, expected in zip(sampled(ours, env), sampled(theirs, env), strict=True):
        if expected is not None:
            torch.testing.assert_close(found.float(), expected.float(), rtol=1e-5, atol=1e-6)


def test_it_is_pickled_once_and_comes_back_with_views():
    ours, _ = both(10, 2, 4)
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.packed, ours.packed)
    again.actions[:] = 0.5
    assert (again.packed[..., 6:8] == 0.5).all()
    assert len(pickle.dumps(ours)) < ours.packed.nbytes + 5000


def test_checkpoints_hold_each_row_once():
    ours, _ = both(10, 2, 4)
    log = ReplayLog(ours)
    kept = {}

    class Store:
        def append_segment(self, arrays):
            kept.update(arrays)
            return Segment("segment", "", 0)

    log.append(Store(), 4)
    assert list(kept) == ["packed"]
    assert kept["packed"].shape == (4, 2, 11)


@pytest.mark.parametrize(
    ("observations", "actions", "taken"),
    [
        (OBSERVATIONS, ACTIONS, True),
        (spaces.Box(0, 255, (3, 36, 36), np.uint8), ACTIONS, False),
        (spaces.Box(0, 9, (3,), np.int64), ACTIONS, False),
        (spaces.Discrete(4), ACTIONS, False),
        (spaces.Dict({"a": OBSERVATIONS}), ACTIONS, False),
    ],
)
def test_which_spaces_it_takes(observations, actions, taken):
    assert PackedReplayBuffer.takes(observations, actions) is taken
