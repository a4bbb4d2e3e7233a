"""Environments in worker processes behave as those in this process; their failures are in tests/faults."""

from __future__ import annotations

import functools
import math
from multiprocessing import forkserver

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import ClipReward, TimeLimit
from stable_baselines3 import TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from hyperrl.env_process import fork_server
from hyperrl.errors import (
    ConfigError,
    ShapeError,
    StateError,
    UnsupportedEnvError,
    UnsupportedSpaceError,
    WorkerError,
)
from hyperrl.sb3.workers import WorkerVecEnv
from tests.faults.broken_envs import Faulty


class TourEnv(gym.Env):
    """Random observations in a given space, episodes of five steps, and all that a VecEnv can ask for."""

    def __init__(self, observation_space, number=0):
        self.observation_space = observation_space
        self.action_space = spaces.Discrete(3)
        self.render_mode = "rgb_array"
        self.number = number
        self.mass = 1.0

    def observe(self):
        self.observation_space.seed(int(self.np_random.integers(1000)))
        return self.observation_space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {"options": options}

    def step(self, action):
        self.steps += 1
        reward = float(self.np_random.normal()) / 3.0
        return self.observe(), reward, self.steps >= 5, False, {"action": int(action)}

    def render(self):
        return np.full((2, 2, 3), self.number, np.uint8)

    def weigh(self, factor, add=0.0):
        return self.mass * factor + add


SPACES = {
    "box": spaces.Box(-1, 1, (2, 3), np.float64),
    "image": spaces.Box(0, 255, (4, 4, 1), np.uint8),
    "discrete": spaces.Discrete(7),
    "dict": spaces.Dict({"one": spaces.Box(-1, 1, (2,), np.float32), "two": spaces.MultiBinary(3)}),
    "tuple": spaces.Tuple((spaces.Box(-1, 1, (2,), np.float32), spaces.MultiDiscrete([3, 4]))),
}


def tours(space=SPACES["box"], count=2):
    return [functools.partial(TourEnv, space, number) for number in range(count)]


def make(env_id, limit):
    return TimeLimit(gym.make(env_id), limit)


def same_run(env_fns, steps):
    """Step environments in this process and in workers, and compare everything that comes back."""
    here, there = DummyVecEnv(env_fns), WorkerVecEnv(env_fns, start_method="fork")
    try:
        assert there.observation_space == here.observation_space
        assert there.action_space == here.action_space
        here.seed(3)
        there.seed(3)
        here.action_space.seed(0)
        np.testing.assert_equal(there.reset(), here.reset())
        for _ in range(steps):
            actions = np.stack([here.action_space.sample() for _ in env_fns])
            expected, result = here.step(actions), there.step(actions)
            np.testing.assert_equal(result, expected)
            assert dtypes(result) == dtypes(expected)
            np.testing.assert_equal(list(there.reset_infos), here.reset_infos)
    finally:
        here.close()
        there.close()


def dtypes(value):
    if isinstance(value, dict):
        return {key: dtypes(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [dtypes(part) for part in value]
    return getattr(value, "dtype", type(value))


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "HalfCheetah-v5"])
def test_steps_are_those_of_a_dummy_vec_env_bit_for_bit(env_id):
    same_run([functools.partial(make, env_id, 60), functools.partial(make, env_id, 35)], 130)


@pytest.mark.parametrize("kind", SPACES)
def test_every_kind_of_observation_arrives_as_in_a_dummy_vec_env(kind):
    same_run(tours(SPACES[kind]), 12)


@pytest.fixture(scope="module")
def pair():
    venv = WorkerVecEnv(tours(), start_method="fork")
    yield venv
    venv.close()


def test_it_is_a_subproc_vec_env(pair):
    assert isinstance(pair, SubprocVecEnv)
    assert pair.num_envs == 2
    assert len(pair.processes) == 2
    assert pair.render_mode == "rgb_array"


def test_seeds_and_options_count_for_one_reset(pair):
    pair.seed(7)
    pair.set_options([{"context": 1}, {"context": 2}])
    first = pair.reset()
    assert pair.reset_infos == [{"options": {"context": 1}}, {"options": {"context": 2}}]
    assert not np.array_equal(first, pair.reset())
    assert pair.reset_infos == [{"options": None}] * 2
    pair.seed(7)
    np.testing.assert_array_equal(pair.reset(), first)


def test_attributes_and_methods(pair):
    assert pair.get_attr("number") == [0, 1]
    assert pair.get_attr("number", indices=1) == [1]
    pair.set_attr("mass", 3.0, indices=[1])
    assert pair.env_method("weigh", 2.0, add=1.0) == [3.0, 7.0]
    assert pair.env_method("weigh", 2.0, indices=[1]) == [6.0]
    assert pair.has_attr("mass")
    assert not pair.has_attr("charge")


def test_images(pair):
    first, second = pair.get_images()
    assert (first == 0).all()
    assert (second == 1).all()
    assert pair.render().shape == (4, 2, 3)


def test_wrappers_are_found():
    env_fns = [lambda: Monitor(TourEnv(SPACES["box"])), lambda: TimeLimit(TourEnv(SPACES["box"]), 3)]
    venv = WorkerVecEnv(env_fns, start_method="fork")
    assert venv.env_is_wrapped(Monitor) == [True, False]
    assert venv.env_is_wrapped(gym.Wrapper) == [True, True]
    assert venv.env_is_wrapped(ClipReward) == [False, False]
    venv.close()


def test_the_wrong_number_of_actions_is_refused_before_anybody_steps(pair):
    pair.reset()
    with pytest.raises(ShapeError, match="step got 3 actions, where 2 environments need one each"):
        pair.step(np.zeros(3, int))
    assert pair.get_attr("steps") == [0, 0]


def test_environments_of_different_spaces_are_refused():
    with pytest.raises(
        WorkerError, match=r"environment 1 has the observation space Discrete\(7\), where Box"
    ):
        WorkerVecEnv([*tours(count=1), *tours(SPACES["discrete"], 1)], start_method="fork")


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict({"one": SPACES["box"], "two": SPACES["dict"]}),
        spaces.Tuple([SPACES["box"], SPACES["tuple"]]),
        spaces.Text(5),
    ],
)
def test_observations_that_make_no_batch_are_refused(space):
    with pytest.raises(UnsupportedSpaceError, match=r"has the part .* where arrays, or one Dict or Tuple of"):
        WorkerVecEnv(tours(space), start_method="fork")


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_worker_loads_only_what_its_environment_needs(method, monkeypatch):
    # Another test may have told this process's fork servers to load more; new ones start without.
    server = forkserver.ForkServer()
    monkeypatch.setattr(fork_server, "_SERVER", server)
    monkeypatch.setattr(forkserver, "_forkserver", forkserver.ForkServer())
    venv = WorkerVecEnv([Faulty()], start_method=method)
    assert [venv.env_method("loaded", name) for name in ("torch", "stable_baselines3")] == [[False], [False]]
    venv.close()
    server._stop()


def test_an_agent_learns_in_workers():
    venv = make_vec_env(
        functools.partial(make, "Pendulum-v1", 20),
        n_envs=2,
        seed=0,
        vec_env_cls=WorkerVecEnv,
        vec_env_kwargs={"start_method": "fork"},
    )
    agent = TD3("MlpPolicy", venv, learning_starts=20, batch_size=8, policy_kwargs={"net_arch": [8]}, seed=0)
    agent.learn(60)
    assert agent.num_timesteps == 60
    assert [round(info["l"]) for info in agent.ep_info_buffer] == [20, 20]
    venv.close()


# --------------------------------------------------------------------------------------------------- states


def capture(env):
    return {"steps": env.unwrapped.steps, "generator": env.np_random.bit_generator.state}


def restore(env, state):
    env.unwrapped.steps = state["steps"]
    env.np_random.bit_generator.state = state["generator"]


def refuse(env, *state):
    raise UnsupportedEnvError(f"a {type(env).__name__} has no state")


def refuse_type(env, *state):
    raise StateError("steps is a generator")


def test_states_are_captured_and_restored_in_the_workers():
    venv = WorkerVecEnv(tours(), start_method="fork", capture=capture, restore=restore)
    venv.seed(0)
    venv.reset()
    venv.step([0, 0])
    states = venv.capture_env_states()
    assert [state["steps"] for state in states] == [1, 1]
    expected = [venv.step([0, 0]) for _ in range(6)]
    venv.restore_env_states(states)
    np.testing.assert_equal([venv.step([0, 0]) for _ in range(6)], expected)
    with pytest.raises(ConfigError, match="got 1 states, where 2 environments need one each"):
        venv.restore_env_states(states[:1])
    venv.step_async([0, 0])
    with pytest.raises(WorkerError, match="capture_env_states was called while a step is under way"):
        venv.capture_env_states()
    venv.step_wait()
    venv.close()


def test_a_state_that_cannot_be_had_says_so(pair):
    with pytest.raises(UnsupportedEnvError, match=r"capture_env_states needs a WorkerVecEnv .* capture="):
        pair.capture_env_states()
    with pytest.raises(UnsupportedEnvError, match=r"restore_env_states needs a WorkerVecEnv .* restore="):
        pair.restore_env_states([{}, {}])
    venv = WorkerVecEnv(tours(), start_method="fork", capture=refuse, restore=refuse_type)
    with pytest.raises(
        UnsupportedEnvError, match=r"environment . raised .* in capture_env_states: a TourEnv has"
    ):
        venv.capture_env_states()
    with pytest.raises(
        StateError, match=r"environment . raised StateError in restore_env_states: steps is a"
    ):
        venv.restore_env_states([{}, {}])
    venv.close()


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"step_timeout": 0}, "step_timeout is 0, where a positive number of seconds is right"),
        ({"step_timeout": math.inf}, "step_timeout is inf"),
        ({"step_timeout": None}, "step_timeout is None"),
        ({"start_timeout": -1.0}, "start_timeout is -1.0"),
        ({"restarts": -1}, "restarts is -1, where a whole number from 0 on is right"),
        ({"restarts": 1.5}, "restarts is 1.5"),
        ({"env_fns": []}, "env_fns is empty"),
    ],
)
def test_a_setting_out_of_range_is_refused_before_anything_starts(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        WorkerVecEnv(**{"env_fns": tours(), **settings})
