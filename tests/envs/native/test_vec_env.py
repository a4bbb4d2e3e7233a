"""What a user of Stable-Baselines3 expects of a vectorised environment."""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from hyperrl.environments import make_vec_env
from hyperrl.errors import HyperRLError, ShapeError
from hyperrl_envs.native import NativeMujocoVecEnv, make_native
from tests.envs.native.pairs import assert_equal_infos, random_actions


def assert_alike(native, dummy, actions):
    """Step both and compare every bit but the times; returns how many episodes ended."""
    ends = 0
    for batch in actions:
        *found, infos = native.step(batch)
        *expected, expected_infos = dummy.step(batch)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
        for info, expected_info in zip(infos, expected_infos, strict=True):
            if "episode" in expected_info:
                ends += 1
                assert info["episode"].pop("t") > 0
                expected_info["episode"].pop("t")
            assert_equal_infos(info, expected_info)
        for info, expected_info in zip(native.reset_infos, dummy.reset_infos, strict=True):
            assert_equal_infos(info, expected_info)
    return ends


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Humanoid-v5", "Reacher-v5"])
def test_steps_and_infos_are_those_of_dummy_vec_env_with_monitors(env_id):
    native = make_vec_env(env_id, {"max_episode_steps": 25}, 3, 5, native=True)
    dummy = make_vec_env(env_id, {"max_episode_steps": 25}, 3, 5)
    assert isinstance(native, NativeMujocoVecEnv)
    assert (native.observation_space, native.action_space) == (dummy.observation_space, dummy.action_space)
    assert native.metadata["render_fps"] == dummy.metadata["render_fps"]
    assert np.array_equal(native.action_space.sample(), dummy.action_space.sample())
    actions = random_actions(env_id, 90, 3)
    assert np.array_equal(native.reset(), dummy.reset())
    assert assert_alike(native, dummy, actions) >= 6
    # Without a seed the generators go on; in the middle of an episode the counters begin anew.
    assert np.array_equal(native.reset(), dummy.reset())
    assert assert_alike(native, dummy, actions[:40]) >= 3
    assert native.seed(9) == dummy.seed(9)
    native.set_options({"anything": 1})
    assert np.array_equal(native.reset(), dummy.reset())
    assert (native._seeds, native._options) == ([None] * 3, [{}] * 3)


def test_without_a_seed_episodes_differ():
    one, other = make_native("Reacher-v5", 2), make_native("Reacher-v5", 2)
    first = one.reset()
    assert not np.array_equal(first, other.reset())
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, one.reset())


def digest(model):
    parts = [value.numpy().tobytes() for value in model.policy.state_dict().values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize(
    ("algorithm", "env_id", "settings", "steps"),
    [
        (PPO, "Hopper-v5", {"n_steps": 64, "batch_size": 64, "n_epochs": 2}, 512),
        (TD3, "InvertedPendulum-v5", {"learning_starts": 40, "train_freq": 4, "buffer_size": 500}, 200),
        (SAC, "HalfCheetah-v5", {"learning_starts": 40, "train_freq": 4, "buffer_size": 500}, 120),
    ],
)
def test_learning_ends_with_the_same_weights(algorithm, env_id, settings, steps):
    weights = []
    for native in (False, True):
        venv = VecNormalize(make_vec_env(env_id, {"max_episode_steps": 30}, 4, 1, native=native))
        policy = {"net_arch": [16, 16]}
        model = algorithm("MlpPolicy", venv, seed=2, device="cpu", policy_kwargs=policy, **settings)
        model.learn(steps)
        weights.append((digest(model), [episode["r"] for episode in model.ep_info_buffer]))
    assert weights[0] == weights[1]
    assert weights[0][1]


def test_what_a_step_returns_stays_as_it_is():
    venv = make_native("InvertedPendulum-v5", 3, 0)
    venv.reset()
    actions = random_actions("InvertedPendulum-v5", 60, 3)
    results = [venv.step(batch) for batch in actions]
    again = make_native("InvertedPendulum-v5", 3, 0)
    again.reset()
    for batch, (observations, rewards, dones, infos) in zip(actions, results, strict=True):
        expected = again.step(batch)
        assert all(map(np.array_equal, (observations, rewards, dones), expected))
        for info, expected_info in zip(infos, expected[3], strict=True):
            info.get("episode", {}).pop("t", None), expected_info.get("episode", {}).pop("t", None)
            assert_equal_infos(info, expected_info)


def test_infos_can_be_kept_short():
    venv = make_native("InvertedPendulum-v5", 2, 0, step_infos=False, max_episode_steps=3)
    venv.reset()
    seen = [venv.step(batch)[3] for batch in random_actions("InvertedPendulum-v5", 3, 2)]
    assert [set(info) for info in seen[0]] == [{"TimeLimit.truncated"}] * 2
    assert set(seen[2][0]) == {"TimeLimit.truncated", "episode", "terminal_observation"}


def test_attributes_and_methods_of_the_environments():
    venv = make_native("Swimmer-v5", 3, 7, max_episode_steps=12, frame_skip=2)
    assert [spec.id for spec in venv.get_attr("spec")] == ["Swimmer-v5"] * 3
    assert venv.get_attr("spec", 0)[0].max_episode_steps == 12
    assert venv.get_attr("spec", 0)[0].kwargs == {"frame_skip": 2}
    assert venv.get_attr("render_mode", [0, 2]) == [None, None]
    assert venv.get_attr("dt", 1) == [0.02]
    assert len({id(data) for data in venv.get_attr("data")}) == 3
    assert len({id(model) for model in venv.get_attr("model")}) == 1
    assert venv.env_is_wrapped(Monitor) == [False] * 3
    assert venv.env_is_wrapped(Monitor, indices=1) == [False]
    venv.set_attr("note", "mine", indices=[1])
    assert venv.get_attr("note", 1) == ["mine"]
    assert not venv.has_attr("note")
    assert not venv.has_attr("no_such_attribute")
    with pytest.raises(AttributeError):
        venv.env_method("no_such_method")
    venv.reset()
    assert venv.get_attr("np_random_seed") == [7, 8, 9]
    assert venv.env_method("state_vector", indices=2)[0].shape == (10,)


def test_one_environment_can_be_placed_and_reset():
    venv = make_native("Swimmer-v5", 2, 7)
    start = venv.reset()
    batch = random_actions("Swimmer-v5", 1, 2)[0]
    for _ in range(5):
        venv.step(batch)
    assert np.array_equal(venv.env_method("reset", seed=8, indices=1)[0][0], start[1])
    venv.env_method("set_state", np.zeros(5), np.zeros(5), indices=0)
    # What velocity is measured from is the new place, and the return does not count the old episode.
    info = venv.step(batch)[3][0]
    assert info["x_velocity"] == info["x_position"] / venv.get_attr("dt")[0]
    with pytest.raises(ShapeError, match="set_state needs 5 positions and 5 velocities"):
        venv.env_method("set_state", np.zeros(4), np.zeros(5), indices=0)
    with pytest.raises(HyperRLError, match="cannot be stepped one by one"):
        venv.env_method("step", batch[0], indices=0)


def test_wrappers_and_evaluation_work():
    venv = make_native("InvertedPendulum-v5", 2, 0, max_episode_steps=20)
    model = PPO("MlpPolicy", VecNormalize(venv), n_steps=16, batch_size=16, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitored = VecMonitor(make_native("InvertedPendulum-v5", 2, 0, max_episode_steps=20))
        rewards, lengths = evaluate_policy(model, monitored, 3, return_episode_rewards=True)
    assert len(rewards) == 3
    assert max(lengths) <= 20
    assert evaluate_policy(model, make_native("InvertedPendulum-v5", 1, 0), 1, warn=False)[0] > 0


def test_calls_in_the_wrong_order_and_shape_are_refused():
    venv = make_native("Reacher-v5", 2, 0)
    with pytest.raises(HyperRLError, match="step was called before reset"):
        venv.step(np.zeros((2, 2)))
    venv.reset()
    with pytest.raises(HyperRLError, match="step_wait was called without"):
        venv.step_wait()
    for wrong in (np.zeros((3, 2)), np.zeros((2, 3)), np.zeros(2), 0.0):
        with pytest.raises(ShapeError, match=r"step needs actions of shape \(2, 2\)"):
            venv.step(wrong)


def test_without_a_render_mode_there_are_no_pictures():
    venv = make_native("Reacher-v5", 2, 0)
    with pytest.warns(UserWarning, match="no pictures"):
        assert venv.get_images() == [None, None]
    assert isinstance(venv.observation_space, spaces.Box)
