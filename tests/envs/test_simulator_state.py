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


@pytest.mark.parametrize("task", ["Pendulum-v1", "MountainCarContinuous-v0"])
def test_an_environment_of_plain_attributes_continues_bit_for_bit(task):
    env, other = make_env(task), make_env(task)
    start(env, steps=5)
    state = capture_state(env)
    actions = [env.action_space.sample() for _ in range(10)]
    expected = follow(env, actions)
    first_of_next = env.reset()[0]
    for never_reset in (True, False):
        restore_state(other, state)
        assert_equal_traces(follow(other, actions), expected)
        np.testing.assert_array_equal(other.reset()[0], first_of_next)
        assert never_reset or other.unwrapped.state is not env.unwrapped.state


class Curriculum:
    """Something that no copy of plain values replaces."""


class PlainEnv(gym.Env):
    """Draws its own noise and keeps what the test gives it."""

    def __init__(self, extra=None):
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.observation_space = gym.spaces.Dict(
            {"one": gym.spaces.Discrete(9), "two": gym.spaces.Tuple([gym.spaces.Box(0, 1, (2,))])}
        )
        self.rng = np.random.default_rng(3)
        self.extra = extra

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        reward = self.rng.normal() + self.np_random.normal()
        return self.observation_space.sample(), reward, False, False, {}


def test_generators_of_attributes_and_of_spaces_within_spaces_continue():
    env, other = PlainEnv(), PlainEnv()
    for one in (env, other):
        one.reset(seed=one is env)
        one.step(None)
    env.observation_space.seed(1)
    state = capture_state(env)
    expected = [env.step(None) for _ in range(4)]
    for _ in range(2):
        restore_state(other, state)
        for left in expected:
            right = other.step(None)
            assert left[1] == right[1]
            assert left[0]["one"] == right[0]["one"]
            np.testing.assert_array_equal(left[0]["two"][0], right[0]["two"][0])


def test_what_has_no_generator_yet_gets_none():
    env, other = PlainEnv(), PlainEnv()
    other.action_space.seed(1)
    other.reset(seed=1)
    restore_state(other, capture_state(env))
    for one in (env, other):
        assert one.action_space._np_random is None
        assert one._np_random is None
        assert one._np_random_seed is None


class OwnGenerator(PlainEnv):
    """Makes its generator in its own way."""

    @property
    def np_random(self):
        return self.rng


def test_an_environment_with_a_generator_of_its_own_making_continues():
    env, other = OwnGenerator(), OwnGenerator()
    env.rng.random(3)
    state = capture_state(env)
    drawn = env.step(None)[1]
    restore_state(other, state)
    assert other.step(None)[1] == drawn


def test_a_generator_of_another_kind_and_another_number_of_spaces_are_refused():
    env, other = PlainEnv(), PlainEnv()
    state = capture_state(env)
    other.rng = np.random.Generator(np.random.MT19937(0))
    with pytest.raises(UnsupportedEnvError, match="PCG64 generator cannot be restored to a MT19937"):
        restore_state(other, state)
    more = PlainEnv()
    more.observation_space = gym.spaces.Dict(
        {**more.observation_space.spaces, "more": gym.spaces.Discrete(2)}
    )
    with pytest.raises(UnsupportedEnvError, match="with 5 spaces and cannot be restored to one with 6"):
        restore_state(more, state)


@pytest.mark.parametrize("extra", [Curriculum(), [Curriculum()], np.array([None]), memoryview(b"")])
def test_an_environment_with_any_other_attribute_is_refused_by_its_name(extra):
    with pytest.raises(
        UnsupportedEnvError, match=r"PlainEnv cannot be captured: its attribute extra, a \w+, is"
    ):
        capture_state(PlainEnv(extra))


def test_attributes_that_share_memory_are_refused():
    env = PlainEnv(np.zeros(4))
    env.view = env.extra[1:]
    with pytest.raises(UnsupportedEnvError, match="its attributes extra and view share memory"):
        capture_state(env)


class CurriculumSwimmer(SwimmerEnv):
    def __init__(self):
        super().__init__()
        self.curriculum = Curriculum()
        self.function = len
        self.noise = np.random.default_rng(1)


def test_attributes_of_a_simulated_environment_that_are_not_captured_are_named():
    env = CurriculumSwimmer()
    start(env, steps=1)
    state = capture_state(env)
    assert state.left_out == ("curriculum (Curriculum)",)
    drawn = env.noise.random(3)
    restore_state(env, state)
    np.testing.assert_array_equal(env.noise.random(3), drawn)


def test_action_spaces_go_on_with_what_they_draw():
    env, other = make_env("Hopper-v5"), make_env("Hopper-v5")
    start(env, steps=3)
    state = capture_state(env)
    drawn = [env.action_space.sample() for _ in range(3)]
    restore_state(other, state)
    np.testing.assert_array_equal([other.action_space.sample() for _ in range(3)], drawn)


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


def test_a_space_that_is_neither_for_actions_nor_for_observations_continues():
    def build():
        env = PlainEnv()
        env.starts = gym.spaces.Box(0, 1, (3,))
        return env

    env, other = build(), build()
    env.starts.seed(3)
    state = capture_state(env)
    drawn = env.starts.sample()
    restore_state(other, state)
    np.testing.assert_array_equal(other.starts.sample(), drawn)
