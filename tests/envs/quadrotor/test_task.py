"""Observations, rewards, ends and starts, beside formulas of their own."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from hyperrl.errors import ConfigError, HyperRLError, UnknownNameError
from hyperrl.exporters import interface_of
from hyperrl_envs.native import make_native
from hyperrl_envs.quadrotor.ids import QUADROTOR
from hyperrl_envs.quadrotor.trajectory import CENTRE, draw_trajectory, setpoints


def turned(vector, quaternion):
    """A vector turned by a quaternion, by Rodrigues' formula."""
    angle = 2 * math.atan2(np.linalg.norm(quaternion[1:]), quaternion[0])
    axis = quaternion[1:] / np.linalg.norm(quaternion[1:])
    return (
        vector * np.cos(angle)
        + np.cross(axis, vector) * np.sin(angle)
        + axis * (axis @ vector) * (1 - np.cos(angle))
    )


@pytest.mark.parametrize("settings", [{}, {"task": "mixed", "domain_randomisation": True}])
@pytest.mark.filterwarnings("ignore:.*Box observation space.*infinity")
def test_the_checkers_have_nothing_to_say(settings, recwarn):
    env = gym.make(QUADROTOR, **settings)
    check_env(env.unwrapped, skip_render_check=True)
    check_env_of_sb3(env, skip_render_check=True)
    assert [str(each.message) for each in recwarn if "infinity" not in str(each.message)] == []


def test_names_and_units_fit_the_spaces():
    env = gym.make(QUADROTOR).unwrapped
    size, count = env.observation_space.shape[0], env.action_space.shape[0]
    assert (size, count) == (18, 4)
    assert len(set(env.observation_names)) == len(env.observation_units) == size
    assert len(set(env.action_names)) == len(env.action_units) == count
    assert env.dt == pytest.approx(0.01)
    assert env.metadata["render_fps"] == 100


def test_conventions_reach_whoever_exports():
    env = gym.make(QUADROTOR)
    told = interface_of(env, 18, 4)
    assert told.conventions == env.unwrapped.conventions
    assert {"world frame", "body frame", "rotation", "motor order", "thrust"} <= told.conventions.keys()
    greatest = env.unwrapped.model.actuator_gainprm[0, 0] * 2
    assert f"{greatest:g} N" in told.conventions["thrust"]
    assert told.wrappers == ()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tsk": "hover"}, "'tsk', did you mean 'task'"),
        ({"width": "wide"}, "width must be a whole number"),
        ({"render_mode": "rgb"}, "unknown render_mode 'rgb', did you mean 'rgb_array'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_arguments_that_there_are_not_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(HyperRLError, match=sentence):
        gym.make(QUADROTOR, **settings)


def test_attitudes_are_those_of_the_quaternion():
    env = gym.make(QUADROTOR, task="trajectory")
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        quaternion = env.unwrapped.data.qpos[3:7]
        columns = np.stack([turned(axis, quaternion) for axis in np.eye(3)], axis=1)
        assert np.allclose(observation[6:15].reshape(3, 3), columns, atol=1e-12)
        assert np.linalg.norm(quaternion) == pytest.approx(1, abs=1e-12)


def test_observations_are_relative_to_a_smooth_setpoint():
    env = gym.make(QUADROTOR, task="trajectory")
    observation, _ = env.reset(seed=4)
    data = env.unwrapped.data
    places, speeds = [data.qpos[:3] - observation[:3]], [data.qvel[:3] - observation[3:6]]
    assert np.allclose(places[0], CENTRE)
    assert np.array_equal(CENTRE, env.unwrapped.model.qpos0[:3])
    for _ in range(60):
        observation = env.step(np.full(4, 0.18))[0]
        places.append(data.qpos[:3] - observation[:3])
        speeds.append(data.qvel[:3] - observation[3:6])
    central = (np.array(places[2:]) - np.array(places[:-2])) / 0.02
    assert np.allclose(central, speeds[1:-1], atol=5e-4)
    assert np.ptp(places, axis=0).min() > 0.02


def test_trajectories_stay_within_their_bounds():
    generator = np.random.default_rng(0)
    times = np.linspace(0, 20, 2001)
    for _ in range(20):
        numbers = draw_trajectory(generator)
        _, velocities = setpoints(np.tile(numbers, (len(times), 1)), times)
        bounds = np.array([1.08, 1.08, 0.54])
        assert (np.abs(velocities).max(axis=0) <= bounds).all()
        assert (np.abs(np.diff(velocities, axis=0)).max(axis=0) / 0.01 <= bounds * 1.88 / 1.08).all()


def test_the_reward_is_the_documented_sum():
    env = gym.make(QUADROTOR, task="trajectory")
    env.reset(seed=1)
    generator = np.random.default_rng(0)
    for _ in range(20):
        thrusts = env.unwrapped.data.act.copy()
        action = generator.uniform(-1.5, 1.5, 4)
        seen, reward, *_, info = env.step(action)
        attitude = seen[6:15].reshape(3, 3)
        parts = [
            0.55 * math.exp(-np.linalg.norm(seen[:3]) / 0.25),
            0.15 * math.exp(-np.linalg.norm(seen[3:6]) / 0.75),
            0.1 * math.exp(-np.linalg.norm(seen[15:]) / 2),
            0.1 * math.exp(-np.linalg.norm(attitude[:, 0] - [1, 0, 0]) / 0.5),
            0.1 * math.exp(-math.sqrt(np.mean((np.clip(action, -1, 1) - thrusts) ** 2)) / 0.3),
        ]
        assert reward == pytest.approx(sum(parts), abs=1e-9)
        assert 0 < reward < 1
        assert info["position_error"] == pytest.approx(np.linalg.norm(seen[:3]))


@pytest.mark.parametrize(
    ("index", "inside", "outside"),
    [
        (0, 1.49, 1.51),
        (2, -1.49, -1.51),
        (7, 4.9, 5.1),
        (9, -4.9, -5.1),
        (10, 34.8, 35.0),
        (12, -34.8, -35.0),
    ],
)
def test_an_episode_ends_beyond_the_bounds(index, inside, outside):
    for value, expected in ((inside, False), (outside, True)):
        env = gym.make(QUADROTOR, reset_noise_scale=0.0)
        env.reset(seed=0)
        data = env.unwrapped.data
        # Positions come before velocities; the setpoint is at the start's.
        if index < 7:
            data.qpos[index] += value
        else:
            data.qvel[index - 7] = value
        assert env.step(np.full(4, 0.177))[2] is expected


@pytest.mark.parametrize(("degrees", "expected"), [(89.5, False), (90.5, True)])
def test_an_episode_ends_when_it_tips_over(degrees, expected):
    env = gym.make(QUADROTOR, reset_noise_scale=0.0)
    env.reset(seed=0)
    half = math.radians(degrees) / 2
    env.unwrapped.data.qpos[3:7] = [math.cos(half), math.sin(half), 0, 0]
    assert env.step(np.full(4, 0.177))[2] is expected


def test_starts_fill_their_range_and_scale_with_the_setting():
    for scale in (1.0, 0.5):
        env = gym.make(QUADROTOR, reset_noise_scale=scale)
        starts = np.array([env.reset(seed=seed)[0] for seed in range(300)])
        tilts = np.arccos(starts[:, 14])
        reached = [np.abs(starts[:, part]).max() for part in (slice(0, 3), slice(3, 6), slice(15, 18))]
        bounds = np.array([0.5, 0.5, 1.5, 0.6]) * scale
        assert (np.array([*reached, tilts.max()]) <= bounds + 1e-12).all()
        assert (np.array([*reached, tilts.max()]) > 0.95 * bounds).all()


def test_mixed_episodes_are_of_both_kinds():
    env = gym.make(QUADROTOR, task="mixed")
    moving = 0
    for seed in range(100):
        env.reset(seed=seed)
        moving += bool(env.unwrapped.data.userdata.any())
    assert 35 < moving < 65


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        ({"task": "hovering"}, UnknownNameError, "did you mean 'hover'"),
        ({"domain_randomisation": 1}, ConfigError, "domain_randomisation must be true or false"),
        ({"reset_noise_scale": -1.0}, ConfigError, "reset_noise_scale must be a number of at least 0"),
        ({"frame_skip": 0}, ConfigError, "frame_skip"),
        ({"xml_file": "hopper.xml"}, ConfigError, "needs 4 motors"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings, kind, sentence):
    with pytest.raises(kind, match=sentence):
        gym.make(QUADROTOR, **settings)
    with pytest.raises(kind, match=sentence):
        make_native(QUADROTOR, **settings)
