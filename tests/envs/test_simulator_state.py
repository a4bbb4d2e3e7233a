"""A restored environment must continue exactly as the original did."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.mujoco.swimmer_v5 import SwimmerEnv
from gymnasium.wrappers import FrameStackObservation, RecordEpisodeStatistics, RescaleAction
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from hyperrl.environments import make_env
from hyperrl.errors import HyperRLError, UnsupportedEnvError
from hyperrl_envs.simulator_state import capture_state, restore_state

TASKS = (
    "HalfCheetah-v5",
    "Hopper-v5",
    "Walker2d-v5",
    "Ant-v5",
    "Swimmer-v5",
    "Humanoid-v5",
    "InvertedPendulum-v5",
    "Reacher-v5",
    "Ant-v4",
    "Walker2d-v4",
)
LIMIT = 40


def start(env, steps, seed=0):
    env.action_space.seed(seed)
    env.reset(seed=seed)
    for _ in range(steps):
        env.step(0.3 * env.action_space.sample())


def follow(env, actions):
    trace = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        trace.append((np.array(observation), float(reward), terminated, truncated, info))
        if truncated:
            break
    return trace


def assert_equal_traces(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]
        assert set(one[4]) == set(other[4])
        for name, value in one[4].items():
            if name not in ("episode", "statistics"):
                np.testing.assert_array_equal(value, other[4][name])


@pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")
@pytest.mark.parametrize("task", TASKS)
def test_continues_bit_for_bit_in_the_same_and_in_another_instance(task):
    env = make_env(task, {"max_episode_steps": LIMIT})
    start(env, steps=12)
    state = capture_state(env)
    actions = [env.action_space.sample() for _ in range(LIMIT)]
    expected = follow(env, actions)
    assert len(expected) == LIMIT - 12
    assert expected[-1][3], "the episode must reach its time limit"

    restore_state(env, state)
    assert_equal_traces(follow(env, actions), expected)

    env.reset(seed=5)
    restore_state(env, state)
    assert_equal_traces(follow(env, actions), expected)

    never_reset = make_env(task, {"max_episode_steps": LIMIT})
    restore_state(never_reset, state)
    assert_equal_traces(follow(never_reset, actions), expected)

    elsewhere = make_env(task, {"max_episode_steps": LIMIT})
    start(elsewhere, steps=20, seed=9)
    restore_state(elsewhere, state)
    assert_equal_traces(follow(elsewhere, actions), expected)


def test_the_generator_continues_so_that_the_next_reset_is_equal():
    env, other = make_env("Reacher-v5"), make_env("Reacher-v5")
    start(env, steps=3)
    state = capture_state(env)
    expected = env.reset()[0]
    other.reset(seed=77)
    restore_state(other, state)
    np.testing.assert_array_equal(other.reset()[0], expected)
    np.testing.assert_array_equal(env.unwrapped.goal, other.unwrapped.goal)


def test_a_captured_state_is_independent_of_later_steps():
    env = make_env("Hopper-v5")
    start(env, steps=5)
    state = capture_state(env)
    before = state.simulation.qpos.copy()
    start(env, steps=9)
    np.testing.assert_array_equal(state.simulation.qpos, before)
    restore_state(env, state)
    env.step(env.action_space.sample())
    np.testing.assert_array_equal(state.simulation.qpos, before)


def test_wrappers_with_a_memory_continue():
    def build():
        env = RescaleAction(
            make_env("HalfCheetah-v5", {"max_episode_steps": 20}), np.float32(-1), np.float32(1)
        )
        return FrameStackObservation(RecordEpisodeStatistics(Monitor(env), stats_key="statistics"), 3)

    env = build()
    start(env, steps=7)
    state = capture_state(env)
    actions = [env.action_space.sample() for _ in range(20)]
    expected = follow(env, actions)
    restore_state(env, state)
    trace = follow(env, actions)
    assert_equal_traces(trace, expected)
    assert trace[-1][4]["episode"]["l"] == expected[-1][4]["episode"]["l"] == 20
    other = build()
    restore_state(other, state)
    trace = follow(other, actions)
    assert_equal_traces(trace, expected)
    for name in ("episode", "statistics"):
        assert trace[-1][4][name]["r"] == expected[-1][4][name]["r"]


class CountingSwimmer(SwimmerEnv):
    """Keeps state in plain Python attributes and one view into the simulation."""

    def __init__(self):
        super().__init__()
        self.counts = {"steps": 0, "history": []}
        self.heights = np.zeros(3)
        self.view = self.data.qpos[:2]

    def step(self, action):
        self.counts["steps"] += 1
        self.counts["history"].append(float(action[0]))
        self.heights = np.roll(self.heights, 1)
        observation, reward, terminated, truncated, info = super().step(action)
        self.heights[0] = self.view[1]
        bonus = self.heights.sum() + self.counts["steps"] + sum(self.counts["history"])
        return observation, reward + bonus, terminated, truncated, info


def test_plain_attributes_are_part_of_the_state_and_views_stay_views():
    env, other = CountingSwimmer(), CountingSwimmer()
    start(env, steps=6)
    start(other, steps=2, seed=3)
    state = capture_state(env)
    actions = [env.action_space.sample() for _ in range(10)]
    expected = follow(env, actions)
    restore_state(other, state)
    assert np.shares_memory(other.view, other.data.qpos)
    assert_equal_traces(follow(other, actions), expected)
    restore_state(other, state)
    assert other.counts["steps"] == 6
    assert len(other.counts["history"]) == 6


def test_an_environment_without_mujoco_is_refused_by_name():
    env = make_env("CartPole-v1")
    env.reset(seed=0)
    with pytest.raises(UnsupportedEnvError, match="CartPole-v1 cannot be captured: it must have a MuJoCo"):
        capture_state(env)


def test_an_unknown_wrapper_is_refused_and_one_with_the_methods_is_captured():
    class Delayed(gym.Wrapper):
        last = 0.0

        def step(self, action):
            observation, reward, *rest = self.env.step(action)
            self.last, reward = reward, self.last
            return observation, reward, *rest

    class DelayedWithState(Delayed):
        def snapshot_state(self):
            return self.last

        def restore_snapshot(self, snapshot):
            self.last = snapshot

    env = Delayed(make_env("Swimmer-v5"))
    start(env, steps=2)
    with pytest.raises(UnsupportedEnvError, match=r"wrapper .*Delayed cannot be captured"):
        capture_state(env)
    env = DelayedWithState(make_env("Swimmer-v5"))
    start(env, steps=4)
    state = capture_state(env)
    actions = [env.action_space.sample() for _ in range(5)]
    expected = follow(env, actions)
    restore_state(env, state)
    assert_equal_traces(follow(env, actions), expected)


def test_another_class_another_order_and_another_model_are_refused_without_a_change():
    env = make_env("HalfCheetah-v5")
    start(env, steps=3)
    state = capture_state(env)
    with pytest.raises(UnsupportedEnvError, match="same classes in the same order"):
        restore_state(make_env("Walker2d-v5"), state)
    with pytest.raises(UnsupportedEnvError, match="same classes in the same order"):
        restore_state(env.unwrapped, state)
    heavier = make_env("HalfCheetah-v5")
    heavier.reset(seed=1)
    heavier.unwrapped.model.body_mass[1] *= 2.0
    before = heavier.unwrapped.data.qpos.copy()
    with pytest.raises(UnsupportedEnvError, match=r"another body_mass than that of HalfCheetah-v5"):
        restore_state(heavier, state)
    np.testing.assert_array_equal(heavier.unwrapped.data.qpos, before)
    weightless = make_env("HalfCheetah-v5")
    weightless.unwrapped.model.opt.gravity[:] = 0.0
    with pytest.raises(UnsupportedEnvError, match=r"another opt\.gravity"):
        restore_state(weightless, state)


def test_a_vectorised_environment_is_refused():
    vec_env = DummyVecEnv([lambda: make_env("Swimmer-v5")])
    with pytest.raises(HyperRLError, match=r"one gymnasium\.Env, not a vectorised one"):
        capture_state(vec_env)
    vec_env.close()
