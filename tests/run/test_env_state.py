"""A vectorised environment that was put back must go on as the first one did, or say why it cannot."""

from __future__ import annotations

import json
import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecCheckNan,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from hyperrl.environments import make_env
from hyperrl.errors import CheckpointError, StateError, UnsupportedEnvError
from hyperrl.run import env_state
from hyperrl.sb3.workers import WorkerVecEnv
from hyperrl_envs.saved_state import capture_plain, restore_plain
from tests.run.doubles import through_a_file
from tests.sb3.toys import DictEnv, ImageEnv, PointEnv

SEED = 77


class Opaque(PointEnv):
    """Keeps something that no copy of plain values replaces."""

    def __init__(self):
        super().__init__()
        self.opaque = object()


class Unknown(VecEnvWrapper):
    """A wrapper that the library does not know, with a memory."""

    steps = 0

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        self.steps += 1
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, rewards + self.steps, dones, infos


class WithMethods(Unknown):
    def snapshot_state(self):
        return self.steps

    def restore_snapshot(self, snapshot):
        self.steps = snapshot


def several(make, count=3):
    return DummyVecEnv([lambda: Monitor(make())] * count)


def pendulums(count=2):
    return several(lambda: make_env("Pendulum-v1", {"max_episode_steps": 13}), count)


WRAPPED = {
    "bare": pendulums,
    "normalised": lambda: VecNormalize(pendulums(), gamma=0.9),
    "rewards only": lambda: VecNormalize(pendulums(), norm_obs=False),
    "normalised parts": lambda: VecNormalize(several(DictEnv), norm_obs_keys=["rest"]),
    "stacked": lambda: VecFrameStack(pendulums(), 3),
    "stacked parts": lambda: VecFrameStack(several(DictEnv), 2),
    "images": lambda: VecTransposeImage(VecFrameStack(several(ImageEnv), 2)),
    "one part": lambda: VecExtractDictObs(several(DictEnv), "rest"),
    "many": lambda: VecCheckNan(VecNormalize(VecFrameStack(VecMonitor(several(PointEnv)), 2))),
    "own methods": lambda: WithMethods(VecNormalize(pendulums())),
}


def play(vec_env, steps, seed=None):
    if seed is not None:
        vec_env.seed(seed)
        vec_env.reset()
        vec_env.action_space.seed(seed)
    trace = []
    for _ in range(steps):
        actions = np.array([vec_env.action_space.sample() for _ in range(vec_env.num_envs)])
        observations, rewards, dones, infos = vec_env.step(actions)
        for info in infos:
            if "episode" in info:
                info["episode"].pop("t")
        # A stack is one array that the next step fills again.
        trace.append(json.dumps([values(observations), rewards.tolist(), dones.tolist(), values(infos)]))
    return trace


def values(part):
    if isinstance(part, dict):
        return {str(name): values(inner) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return [values(inner) for inner in part]
    return part.tolist() if isinstance(part, np.ndarray | np.generic) else part


@pytest.mark.filterwarnings("ignore:The environment is already wrapped with a `Monitor`")
@pytest.mark.parametrize("kind", WRAPPED)
def test_a_new_vectorised_environment_continues_bit_for_bit(kind):
    env, new = WRAPPED[kind](), WRAPPED[kind]()
    play(env, 18, seed=1)
    state = through_a_file(env_state.capture(env))
    assert state["reason"] is None
    expected = play(env, 30)
    play(new, 4, seed=5)
    for _ in range(2):
        assert env_state.restore(new, state, SEED) == ([], None)
        assert play(new, 30) == expected


def test_a_state_taken_before_anything_was_reset_keeps_the_seeds_of_the_reset():
    env, new = pendulums(), pendulums()
    env.seed(3)
    env.set_options([{}, {"x_init": 0.1}])
    for inner in env.envs:
        inner.action_space.seed(0)
    env_state.restore(new, through_a_file(env_state.capture(env)), SEED)
    np.testing.assert_array_equal(new.reset(), env.reset())


def test_what_normalisation_shares_with_others_stays_shared():
    env, new = WRAPPED["normalised"](), WRAPPED["normalised"]()
    play(env, 5, seed=1)
    statistics = new.obs_rms
    env_state.restore(new, env_state.capture(env), SEED)
    assert new.obs_rms is statistics
    assert statistics.mean is not env.obs_rms.mean


def test_statistics_of_other_parts_of_observations_are_refused():
    env, other = (VecNormalize(DummyVecEnv([DictEnv]), norm_obs_keys=keys) for keys in (None, ["rest"]))
    with pytest.raises(CheckpointError, match="but these environments normalise rest: the run is of an"):
        env_state.restore_statistics(other, env_state.capture(env))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: VecNormalize(several(Opaque)), "its attribute opaque, a object, is not made of numbers"),
        (lambda: Unknown(VecNormalize(several(PointEnv))), r"the wrapper \S+Unknown cannot be captured"),
        (lambda: VecNormalize(Unknown(several(PointEnv))), r"the wrapper \S+Unknown cannot be captured"),
    ],
)
def test_where_environments_cannot_be_captured_new_episodes_begin_and_statistics_stay(make, reason):
    env, new, third = make(), make(), make()
    play(env, 14, seed=1)
    state = through_a_file(env_state.capture(env))
    statistics = [vec.obs_rms.count for vec in env_state._layers(env) if isinstance(vec, VecNormalize)]
    for one in (new, third):
        play(one, 3, seed=one is new)
    (sentence,), observations = env_state.restore(new, state, SEED)
    assert sentence.startswith("all environments begin a new episode, since the state of")
    assert re.search(reason, sentence)
    # Three first observations more than there were.
    assert [vec.obs_rms.count for vec in env_state._layers(new) if isinstance(vec, VecNormalize)] == [
        count + 3 for count in statistics
    ]
    _, again = env_state.restore(third, state, SEED)
    np.testing.assert_array_equal(observations, again)
    _, other_seed = env_state.restore(third, state, SEED + 1)
    assert (other_seed != again).any()


class Elsewhere(DummyVecEnv):
    """Answers as an environment in other processes does."""

    refusal = None

    def capture_env_states(self):
        if self.refusal is not None:
            raise self.refusal
        return [capture_plain(env) for env in self.envs]

    def restore_env_states(self, states):
        if self.refusal is not None:
            raise self.refusal
        for env, state in zip(self.envs, states, strict=True):
            restore_plain(env, state)


@pytest.mark.parametrize("refusal", [UnsupportedEnvError("nobody knows"), StateError("nobody knows")])
def test_environments_elsewhere_are_asked_for_their_states(refusal):
    env, new = VecNormalize(Elsewhere([PointEnv] * 2)), VecNormalize(Elsewhere([PointEnv] * 2))
    play(env, 8, seed=1)
    state = through_a_file(env_state.capture(env))
    env.venv.refusal = refusal
    refused = env_state.capture(env)
    env.venv.refusal = None
    assert refused["reason"] == "nobody knows"
    expected = play(env, 20)
    play(new, 2, seed=3)
    assert env_state.restore(new, state, SEED) == ([], None)
    assert play(new, 20) == expected
    new.venv.refusal = refusal
    with pytest.raises(CheckpointError, match="the environments do not fit the checkpoint: nobody knows"):
        env_state.restore(new, state, SEED)


def test_environments_in_processes_continue():
    # A local function travels to the processes by value, without this module.
    make = [lambda: gym.make("Pendulum-v1", max_episode_steps=11)] * 2
    env = VecNormalize(WorkerVecEnv(make, capture=capture_plain, restore=restore_plain))
    try:
        play(env, 7, seed=2)
        state = through_a_file(env_state.capture(env))
        expected = play(env, 15)
        play(env, 2, seed=4)
        assert env_state.restore(env, state, SEED) == ([], None)
        assert play(env, 15) == expected
    finally:
        env.close()


def test_a_vectorised_environment_that_cannot_be_asked_is_said():
    class Silent(DummyVecEnv):
        pass

    env = Silent([PointEnv])
    env.reset()
    assert (
        "Silent cannot be captured: it has no method capture_env_states" in env_state.capture(env)["reason"]
    )
    assert not hasattr(SubprocVecEnv, "capture_env_states")


def test_another_build_is_refused():
    env = WRAPPED["normalised"]()
    play(env, 3, seed=1)
    state = env_state.capture(env)
    with pytest.raises(
        CheckpointError, match=r"2 environments in \S+VecNormalize > \S+DummyVecEnv and cannot"
    ):
        env_state.restore(pendulums(), state, SEED)
    with pytest.raises(CheckpointError, match=r"cannot continue with 3 in"):
        env_state.restore(VecNormalize(pendulums(3)), state, SEED)
    with pytest.raises(CheckpointError, match="do not fit the checkpoint: the state was captured from"):
        env_state.restore(VecNormalize(several(PointEnv, 2)), state, SEED)
    box = spaces.Box(-1, 1, (3,), np.float32)
    more = VecNormalize(pendulums())
    more.venv.envs[0].unwrapped.observation_space = spaces.Tuple([box])
    with pytest.raises(CheckpointError, match="do not fit the checkpoint"):
        env_state.restore(more, state, SEED)


def test_attributes_of_simulations_that_are_left_out_are_said_once():
    def make():
        vec_env = several(lambda: make_env("Swimmer-v5"), 2)
        for env in vec_env.envs:
            env.unwrapped.curriculum = object()
        return vec_env

    env, new = make(), make()
    play(env, 3, seed=0)
    (sentence,), observations = env_state.restore(new, through_a_file(env_state.capture(env)), SEED)
    assert "attribute curriculum (object) is not part of the checkpoint" in sentence
    assert observations is None
