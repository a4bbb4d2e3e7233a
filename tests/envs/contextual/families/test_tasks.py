"""Observations, rewards and starts of HyperZero's families, beside formulas of their own."""

from __future__ import annotations

import math

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from hyperrl.environments import make_env
from hyperrl.errors import BoundsError, ConfigError, HyperRLError
from hyperrl_envs.contextual.families.tasks import speed_reward
from hyperrl_envs.contextual.suites.suite import suite_of

SIZES = {
    "hyperrl/CheetahRun-v0": (17, 6, 40, 41),
    "hyperrl/WalkerWalk-v0": (24, 6, 40, 41),
    "hyperrl/FingerSpin-v0": (9, 2, 30, 31),
}


def tolerance(value, bound, margin, sigmoid):
    """The Control Suite's `tolerance` with the bounds [bound, infinity) and the value 0.1 at the margin."""
    if value >= bound:
        return 1.0
    distance = (bound - value) / margin
    if sigmoid == "linear":
        scaled = distance * (1 - 0.1)
        return 1 - scaled if abs(scaled) < 1 else 0.0
    return math.exp(-0.5 * (distance * math.sqrt(-2 * math.log(0.1))) ** 2)


def speed_rewarded(speed, target):
    return tolerance(math.copysign(1, target) * speed, abs(target), abs(target), "linear")


@pytest.mark.parametrize(
    ("speed", "target", "reward"),
    [
        (0, 5, 0.1),
        (0, -0.5, 0.1),
        (5, 5, 1),
        (7, 5, 1),
        (2.5, 5, 0.55),
        (-2.5, -5, 0.55),
        (-10, -5, 1),
        (-5 / 9, 5, 0),
        (-3, 5, 0),
        (3, -5, 0),
    ],
)
def test_speeds_are_rewarded_by_hand(speed, target, reward):
    assert speed_reward(np.array([speed], float), target)[0] == pytest.approx(reward, abs=1e-12)


@given(st.floats(-50, 50), st.floats(0.25, 15), st.sampled_from([-1.0, 1.0]))
def test_speeds_are_rewarded_as_the_control_suite_does(speed, size, sign):
    target = size * sign
    found = speed_reward(np.array([speed, 0.0]), np.array([target, 1.0]))
    assert found == pytest.approx([speed_rewarded(speed, target), 0.1], abs=1e-12)


@pytest.mark.parametrize("env_id", SIZES)
def test_sizes_grids_and_checks(env_id):
    size, actions, speeds, lengths = SIZES[env_id]
    env = make_env(env_id)
    assert env.observation_space["observation"].shape == (size,)
    assert env.action_space == gym.spaces.Box(-1, 1, (actions,), np.float32)
    assert env.spec.max_episode_steps == 1000
    check_env(env.unwrapped, skip_render_check=True)
    for names, count in ((["speed"], speeds), (["length"], lengths), (["speed", "length"], speeds * lengths)):
        splits = suite_of(env_id).plan(context=names).splits
        assert len(splits.contexts("tasks")) == int(0.15 * count)
        assert len(splits.contexts("train")) + len(splits.contexts("tasks")) == count


@pytest.mark.parametrize("env_id", SIZES)
def test_no_task_asks_for_no_speed(env_id):
    suite = suite_of(env_id)
    assert 0 not in suite.params["speed"].choices
    with pytest.raises(BoundsError, match="speed must be one of"):
        make_env(env_id).reset(options={"context": {"speed": 0.0}})
    with pytest.raises(ConfigError, match="target must not be 0"):
        make_env(env_id, {"target": 0.0, "context": ["length"]})
    with pytest.raises(HyperRLError, match=r"did you mean 'target'"):
        make_env(env_id, {"targt": 1.0})


def centre_of_mass(model, data):
    return (model.body_mass @ data.xipos) / model.body_mass.sum()


@pytest.mark.parametrize("env_id", ["hyperrl/CheetahRun-v0", "hyperrl/WalkerWalk-v0"])
def test_the_speed_is_that_of_the_centre_of_mass_now(env_id):
    base = make_env(env_id).unwrapped
    base.reset(seed=0)
    generator = np.random.default_rng(0)
    for _ in range(30):
        info = base.step(generator.uniform(-1, 1, 6))[4]
    # By moving all positions a little along the velocities that they have at the end of the step.
    data, places, step = mujoco.MjData(base.model), [], 1e-6
    for sign in (-1, 1):
        data.qpos[:] = base.data.qpos + sign * step * base.data.qvel
        mujoco.mj_kinematics(base.model, data)
        places.append(centre_of_mass(base.model, data)[0])
    assert info["speed"] == pytest.approx((places[1] - places[0]) / (2 * step), abs=1e-7)
    assert abs(info["speed"]) > 1e-3


def test_the_cheetahs_observation():
    base = make_env("hyperrl/CheetahRun-v0").unwrapped
    base.reset(seed=1)
    observation = base.step(np.full(6, 0.5))[0]
    assert np.array_equal(observation, [*base.data.qpos[1:], *base.data.qvel])


def turned(angles):
    """The x axes of links that are turned about -y, as x and z parts."""
    return [part for angle in angles for part in (math.cos(angle), math.sin(angle))]


def test_the_walkers_observation_and_reward():
    base = make_env("hyperrl/WalkerWalk-v0").unwrapped
    generator = np.random.default_rng(0)
    base.reset(seed=2)
    for _ in range(40):
        observation, reward, *_, info = base.step(generator.uniform(-1, 1, 6))
        height, _, pitch, *joints = base.data.qpos
        # The torso turns about +y, all other joints about -y, each link on top of the one before.
        legs = [np.cumsum([-pitch, *leg])[1:] for leg in (joints[:3], joints[3:])]
        attitudes = [-pitch, *legs[0], *legs[1]]
        # In the rows of a matrix the x axis along x comes first, then the z axis along x.
        expected = [part for x, z in np.reshape(turned(attitudes), (-1, 2)) for part in (x, -z)]
        assert observation[:14] == pytest.approx(expected, abs=1e-12)
        assert observation[14] == pytest.approx(1.3 + height, abs=1e-12)
        assert np.array_equal(observation[15:], base.data.qvel)
        tall = tolerance(1.3 + height, 1.2, 0.6, "gaussian")
        stand = (3 * tall + (1 + math.cos(pitch)) / 2) / 4
        move = speed_rewarded(info["speed"], 1.0)
        assert reward == pytest.approx(stand * (5 * move + 1) / 6, abs=1e-12)
        assert info["stand"] == pytest.approx(stand, abs=1e-12)


def test_a_walker_that_stands_still_gets_a_quarter():
    base = make_env("hyperrl/WalkerWalk-v0", {"context": ["length"]}).unwrapped
    base.set_state(np.zeros(9), np.zeros(9))
    batch = base._batch()
    terms = base.task.outcome(batch, batch, np.zeros((1, 6)))
    assert terms.rewards[0] == pytest.approx((5 * 0.1 + 1) / 6)


def test_the_fingers_observation_and_touch():
    base = make_env("hyperrl/FingerSpin-v0").unwrapped
    base.reset(seed=0)
    touched = False
    for step in range(300):
        # To and fro, across the spinner.
        observation, reward, *_, info = base.step(np.array([math.sin(step / 15), 0.3]))
        qpos, qvel = base.data.qpos, base.data.qvel
        end = [-0.13 * math.sin(qpos[2]), 0.13 * math.cos(qpos[2])]
        assert observation[:7] == pytest.approx([*qpos[:2], *end, *qvel], abs=1e-12)
        assert observation[7:] == pytest.approx(np.log1p(base.data.sensordata), abs=1e-12)
        assert reward == pytest.approx(speed_rewarded(qvel[2], 15.0), abs=1e-12)
        assert info["speed"] == qvel[2]
        touched |= observation[7:].max() > 0.5
    assert touched


@pytest.mark.parametrize("env_id", SIZES)
def test_a_context_rewards_what_a_task_with_this_target_does(env_id):
    target = -suite_of(env_id).params["speed"].high / 5
    plain = make_env(
        env_id, {"context": ["length"], "target": target, "mode": "hidden", "sampler": "default"}
    )
    asked = make_env(env_id, {"context": ["speed"], "fixed": {"speed": target}, "mode": "hidden"})
    generator = np.random.default_rng(0)
    for env in (plain, asked):
        env.reset(seed=3)
    rewards = []
    for _ in range(100):
        action = generator.uniform(-1, 1, plain.action_space.shape).astype(np.float32)
        (left, reward, *_), (right, judged, *_) = plain.step(action), asked.step(action)
        assert np.array_equal(left, right)
        assert reward == judged
        rewards.append(reward)
    assert len(set(rewards)) > 20


@pytest.mark.parametrize("env_id", SIZES)
def test_episodes_last_1000_steps_and_standing_is_worth_a_tenth(env_id):
    env = make_env(env_id, {"context": ["speed"]})
    env.reset(seed=0)
    rewards = []
    for step in range(1000):
        _, reward, terminated, truncated, _ = env.step(np.zeros(env.action_space.shape))
        rewards.append(reward)
        assert not terminated
        assert truncated == (step == 999)
    if env_id != "hyperrl/WalkerWalk-v0":  # That one falls.
        assert rewards[-1] == pytest.approx(0.1, abs=2e-3)
        assert sum(rewards) == pytest.approx(100, abs=5)


@pytest.mark.parametrize("env_id", SIZES)
def test_starts_fill_the_ranges_and_do_not_depend_on_the_context(env_id):
    env = make_env(env_id, {"context": ["speed", "length"]})
    task = env.unwrapped.task
    starts = []
    for seed in range(60):
        env.reset(seed=seed)
        starts.append(env.unwrapped.data.qpos.copy())
    drawn = np.array(starts)[:, list(task.drawn)]
    low, high = np.array(list(task.drawn.values())).T
    assert ((low <= drawn) & (drawn <= high)).all()
    assert (drawn.min(axis=0) < low + 0.1 * (high - low)).all()
    assert (drawn.max(axis=0) > high - 0.1 * (high - low)).all()
    own = suite_of(env_id).params["length"]
    for length in (own.low, own.high):
        env.reset(seed=7, options={"context": {"speed": 1.0, "length": length}})
        assert np.array_equal(env.unwrapped.data.qpos, starts[7])
        assert np.array_equal(env.unwrapped.data.qvel, np.zeros(env.unwrapped.model.nv))
