"""What a user of Gymnasium expects of a vectorised environment."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from hyperrl.environments import make_env
from hyperrl.errors import ConfigError
from hyperrl_envs.native import NativeMujocoVectorEnv
from tests.envs.native.pairs import random_actions


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_equal(found[name], value)
        elif value.dtype == object:
            assert all(map(np.array_equal, found[name], value)), name
        else:
            assert np.array_equal(found[name], value), (name, found[name], value)


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Pusher-v5", "Humanoid-v5"])
def test_steps_and_infos_are_those_of_sync_vector_env(env_id):
    settings = {"max_episode_steps": 25}
    expected = SyncVectorEnv([lambda: make_env(env_id, settings)] * 3, autoreset_mode="SameStep")
    native = NativeMujocoVectorEnv(env_id, 3, **settings)
    assert native.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert native.observation_space == expected.observation_space
    assert native.action_space == expected.action_space
    for seed in (5, [3, None, 9], None):
        found, other = native.reset(seed=seed), expected.reset(seed=seed)
        assert np.array_equal(found[0], other[0])
        assert_equal(found[1], other[1])
        for batch in random_actions(env_id, 30, 3):
            *found, infos = native.step(batch)
            *other, expected_infos = expected.step(batch)
            assert all(map(np.array_equal, found, other))
            assert_equal(infos, expected_infos)
    assert native.get_attr("np_random_seed") == expected.get_attr("np_random_seed")


def test_gymnasiums_wrappers_work():
    env = RecordEpisodeStatistics(NativeMujocoVectorEnv("InvertedPendulum-v5", 2, max_episode_steps=3))
    env.reset(seed=0)
    for batch in random_actions("InvertedPendulum-v5", 3, 2):
        *_, infos = env.step(batch)
    assert infos["episode"]["l"].tolist() == [3, 3]
    assert env.unwrapped.render() is None
    env.close()


def test_wrong_seeds_and_masks_are_refused():
    env = NativeMujocoVectorEnv("Reacher-v5", 2)
    with pytest.raises(ConfigError, match="there are 3 seeds for 2 environments"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(ConfigError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
