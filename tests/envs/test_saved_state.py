"""A state that went through a file must do for another environment what the first one had ahead of it."""

from __future__ import annotations

import copy
import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.mujoco.swimmer_v5 import SwimmerEnv
from gymnasium.wrappers import (
    DelayObservation,
    FrameStackObservation,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    StickyAction,
    TimeAwareObservation,
)
from stable_baselines3.common.monitor import Monitor

from hyperrl.environments import make_env
from hyperrl.errors import UnsupportedEnvError
from hyperrl.run.packing import pack
from hyperrl.run.unpacking import unpack
from hyperrl_envs.saved_state import capture_plain, from_plain, restore_plain, to_plain
from hyperrl_envs.simulator_state import capture_state, restore_state

MUJOCO_TASKS = (
    "Ant-v5",
    "HalfCheetah-v5",
    "Hopper-v5",
    "Humanoid-v5",
    "HumanoidStandup-v5",
    "InvertedDoublePendulum-v5",
    "InvertedPendulum-v5",
    "Pusher-v5",
    "Reacher-v5",
    "Swimmer-v5",
    "Walker2d-v5",
)
PLAIN_TASKS = ("Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")
STEPS = 200


def through_a_file(plain):
    structure, tensors = pack(plain)
    return unpack(json.loads(json.dumps(structure)), tensors)


def play(env, steps, seed=None):
    if seed is not None:
        env.action_space.seed(seed)
        env.reset(seed=seed)
    trace = []
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        info.pop("episode", None)
        trace.append((observation, reward, terminated, truncated, info))
        if terminated or truncated:
            trace.append(env.reset())
    return trace


def assert_equal(left, right):
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for name in left:
            assert_equal(left[name], right[name])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_equal(one, other)
    elif isinstance(left, np.ndarray | np.generic):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    else:
        assert left == right


@pytest.mark.parametrize("task", [*MUJOCO_TASKS, *PLAIN_TASKS])
def test_a_new_environment_continues_bit_for_bit(task):
    env = make_env(task, {"max_episode_steps": 90})
    play(env, 17, seed=4)
    plain = through_a_file(capture_plain(env))
    expected = play(env, STEPS)
    new = make_env(task, {"max_episode_steps": 90})
    restore_plain(new, plain)
    assert_equal(play(new, STEPS), expected)
    play(new, 3, seed=9)
    restore_plain(new, plain)
    assert_equal(play(new, 30), expected[: len(play_prefix(expected, 30))])


def play_prefix(trace, steps):
    """Return the entries of a trace that its first steps made."""
    taken, entries = 0, []
    for entry in trace:
        if taken == steps and len(entry) != 2:
            break
        entries.append(entry)
        taken += len(entry) == 5
    return entries


@pytest.mark.parametrize("task", MUJOCO_TASKS)
def test_every_array_of_fixed_size_is_back_before_the_first_step(task):
    env, new = make_env(task), make_env(task)
    play(env, 9, seed=1)
    restore_plain(new, through_a_file(capture_plain(env)))
    left, right = env.unwrapped.data, new.unwrapped.data
    for name in ("qpos", "qvel", "qacc_warmstart", "xpos", "xipos", "xquat", "cvel", "cfrc_ext", "cinert"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    for name in ("qfrc_actuator", "qfrc_constraint", "actuator_force", "ten_length", "sensordata", "energy"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    assert left.time == right.time > 0
    assert left.flg_rnepost == right.flg_rnepost


def test_the_same_state_comes_out_of_the_restored_environment():
    env, new = make_env("Humanoid-v5"), make_env("Humanoid-v5")
    play(env, 25, seed=1)
    plain = capture_plain(env)
    restore_plain(new, through_a_file(plain))
    assert_equal(capture_plain(new), plain)


def test_capturing_changes_nothing_and_the_state_is_independent():
    env, watched = make_env("Hopper-v5"), make_env("Hopper-v5")
    play(env, 10, seed=2)
    play(watched, 10, seed=2)
    plain = capture_plain(watched)
    before = copy.deepcopy(plain)
    assert_equal(play(watched, 20), play(env, 20))
    assert_equal(plain, before)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: NormalizeReward(NormalizeObservation(env)),
        lambda env: FrameStackObservation(DelayObservation(env, delay=2), 3),
        lambda env: TimeAwareObservation(StickyAction(env, 0.5)),
        lambda env: RecordEpisodeStatistics(Monitor(env), stats_key="statistics"),
    ],
    ids=["normalize", "queues", "sticky", "records"],
)
def test_wrappers_with_a_memory_continue(wrap):
    def build():
        return wrap(make_env("HalfCheetah-v5", {"max_episode_steps": 20}))

    env, new = build(), build()
    play(env, 26, seed=3)
    plain = through_a_file(capture_plain(env))
    expected = play(env, 30)
    play(new, 5, seed=8)
    restore_plain(new, plain)
    trace = play(new, 30)
    for left, right in zip(trace, expected, strict=True):
        # The records hold wall-clock times.
        left[-1].pop("statistics", None), right[-1].pop("statistics", None)
        assert_equal(left, right)


def test_another_model_another_class_and_another_mujoco_are_refused_without_a_change(monkeypatch):
    env, heavier = make_env("HalfCheetah-v5"), make_env("HalfCheetah-v5")
    play(env, 3, seed=0)
    plain = capture_plain(env)
    heavier.reset(seed=1)
    before = heavier.unwrapped.data.qpos.copy()
    heavier.unwrapped.model.body_mass[1] *= 2.0
    with pytest.raises(UnsupportedEnvError, match=r"another body_mass than that of HalfCheetah-v5"):
        restore_plain(heavier, plain)
    np.testing.assert_array_equal(heavier.unwrapped.data.qpos, before)
    with pytest.raises(UnsupportedEnvError, match="same classes in the same order"):
        restore_plain(make_env("Walker2d-v5"), plain)
    other_mujoco = copy.deepcopy(plain)
    other_mujoco["simulation"]["mujoco"] = "2.9"
    for entry in other_mujoco["simulation"]["arrays"]["layout"]:
        entry[0] = entry[0].replace("cvel", "com_velocity")
    with pytest.raises(UnsupportedEnvError, match=r"captured with MuJoCo 2\.9, whose simulations hold other"):
        restore_plain(make_env("HalfCheetah-v5"), other_mujoco)
    monkeypatch.setattr("hyperrl_envs.saved_state._INTEGRATION", 1)
    with pytest.raises(UnsupportedEnvError, match="hold other arrays"):
        restore_plain(make_env("HalfCheetah-v5"), plain)


class Sharing(SwimmerEnv):
    """Has one list under two names, and appends to it under one of them."""

    def __init__(self):
        super().__init__()
        self.written = self.read = []

    def step(self, action):
        self.written.append(float(action[0]))
        observation, _, terminated, truncated, info = super().step(action)
        return observation, sum(self.read), terminated, truncated, info


def test_attributes_that_are_one_object_stay_one_object():
    env, new = Sharing(), Sharing()
    play(env, 5, seed=0)
    plain = through_a_file(capture_plain(env))
    assert plain["same"] == {"read": "written"}
    expected = play(env, 5)
    restore_plain(new, plain)
    assert new.read is new.written
    assert_equal(play(new, 5), expected)


class Snapshooter(gym.Wrapper):
    snapshot = None

    def snapshot_state(self):
        return self.snapshot

    def restore_snapshot(self, snapshot):
        self.snapshot = snapshot


@pytest.mark.parametrize(
    "snapshot", [object(), [1j], {"a": np.array(["text"])}, (np.array([None]),), {3: bytearray(b"1")}]
)
def test_a_snapshot_that_no_file_can_hold_is_refused(snapshot):
    env = Snapshooter(make_env("Pendulum-v1"))
    env.reset(seed=0)
    env.snapshot = snapshot
    state = capture_state(env)
    with pytest.raises(UnsupportedEnvError, match=r"Snapshooter\S* cannot be saved: it is of type"):
        to_plain(state)
    # In memory it is none of our business.
    restore_state(env, state)
    assert env.snapshot is snapshot


def test_a_plain_snapshot_comes_back():
    env, new = Snapshooter(make_env("Pendulum-v1")), Snapshooter(make_env("Pendulum-v1"))
    env.reset(seed=0)
    env.snapshot = {"counts": (1, 2.5, None, "x", b"y"), 4: [np.float32(0.1), {True}], "a": np.eye(2)}
    restore_plain(new, through_a_file(capture_plain(env)))
    assert_equal(new.snapshot, env.snapshot)


def test_a_simulation_with_plugins_is_refused(monkeypatch):
    env = make_env("Pendulum-v1")
    env.reset(seed=0)
    state = capture_state(env)

    class Data:
        nplugin = 1

    object.__setattr__(state, "simulation", Data())
    with pytest.raises(UnsupportedEnvError, match="with plugins cannot be saved"):
        to_plain(state)


def test_a_state_in_memory_is_equal_after_both_conversions():
    env = make_env("Reacher-v5")
    play(env, 5, seed=0)
    state = capture_state(env)
    again = from_plain(env, through_a_file(to_plain(state)))
    assert again.layers == state.layers
    assert_equal(list(again.memories), list(state.memories))
    assert_equal(dict(again.generator), dict(state.generator))
    np.testing.assert_array_equal(again.simulation.xpos, state.simulation.xpos)
