"""Trials keep a task for several episodes, and their observations tell all that a memory needs."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.environments import make_vec_env as make_native
from hyperrl.errors import ConfigError, UnsupportedSpaceError
from hyperrl.run import env_state
from hyperrl.sb3.meta.trials import TrialEnv, TrialVecEnv, trials_of
from tests.sb3.meta.reaching import ReachEnv
from tests.sb3.toys import PointEnv

HIDDEN = partial(ReachEnv, mode="hidden", reach=0.6)


def played(venv, steps, seed=1):
    """Observations, rewards, dones and infos of so many random steps, after a reset."""
    generator = np.random.default_rng(seed)
    told = [(venv.reset(), None, None, None, None)]
    for _ in range(steps):
        actions = generator.uniform(-1, 2, (venv.num_envs, 2)).astype(np.float32)
        told.append((*venv.step(actions), actions))
    return told


def test_observations_are_those_of_a_loop_written_by_hand():
    venv = TrialVecEnv(make_vec_env(HIDDEN, 3, seed=0), 2, seed=5)
    told = played(venv, 60)
    ended, action, reward = np.zeros(3, int), np.zeros((3, 2)), np.zeros(3)
    start = begin = np.ones(3)
    for step, (obs, rewards, dones, infos, actions) in enumerate(told):
        if step:
            action, reward = actions.astype(float), rewards.astype(float)
            start, begin = np.zeros(3), dones.astype(float)
            for env in np.flatnonzero(dones):
                last = infos[env]["terminal_observation"]
                assert last["action"].tolist() == actions[env].tolist()
                assert last["reward"] == np.float32(rewards[env])
                assert (last["start"], last["episode"]) == (0, 0)
                assert not np.array_equal(last["observation"], obs["observation"][env])
                over = ended[env] == 1
                assert infos[env]["trial"] == {"episode": ended[env], "over": over}
                ended[env] += 1
                if over:
                    ended[env], action[env], reward[env], start[env] = 0, 0, 0, 1
        assert np.allclose(obs["action"], action)
        assert np.allclose(obs["reward"][:, 0], reward)
        assert obs["start"][:, 0].tolist() == start.tolist()
        assert obs["episode"][:, 0].tolist() == begin.tolist()
        assert all(venv.observation_space[key].contains(value[0]) for key, value in obs.items())
    # There were ends of both kinds, in and at the end of trials.
    assert sum(int(one[2].sum()) for one in told[1:]) > 20


@pytest.mark.parametrize("episodes", [1, 2, 3])
def test_the_task_stays_through_a_trial_and_then_changes(episodes):
    venv = TrialVecEnv(make_vec_env(HIDDEN, 2, seed=0), episodes)
    seen = [[[]], [[]]]  # Of each environment, of each trial: the tasks of its episodes.
    for _, _, dones, infos, _ in played(venv, 80)[1:]:
        for env in np.flatnonzero(dones):
            seen[env][-1].append(infos[env]["context_id"])
            if infos[env]["trial"]["over"]:
                seen[env].append([])
    tasks = []
    for trials in seen:
        for trial in trials[:-1]:
            assert len(trial) == episodes
            assert len(set(trial)) == 1
            tasks.append(trial[0])
    assert len(tasks) == len(set(tasks)) > 5


def test_tasks_are_those_of_training_and_depend_on_the_seed_alone():
    def tasks(seed):
        venv = TrialVecEnv(make_vec_env(partial(HIDDEN, split={"n_train": 3}), 2, seed=0), 1)
        venv.seed(seed)
        return [info["context_id"] for step in played(venv, 40)[1:] for info in step[3]], venv

    first, venv = tasks(4)
    space, points = venv.get_attr("context_space")[0], venv.get_attr("splits")[0].points
    assert set(first) == {space.text(point) for point in points}
    assert first == tasks(4)[0]
    assert first != tasks(5)[0]


def test_native_environments_have_the_same_trials():
    def told(native):
        kwargs = {"mode": "hidden", "max_episode_steps": 5}
        inner = make_native("hyperrl/ContextualCartPole-v0", kwargs, 2, 0, native=native)
        venv = TrialVecEnv(inner, 2, seed=3)
        venv.reset()
        steps = [venv.step(np.full((2, 1), 0.5, np.float32)) for _ in range(25)]
        tasks = [[info["context_id"] for info in infos] for *_, infos in steps]
        return [(obs["observation"], obs["start"], of) for (obs, *_), of in zip(steps, tasks, strict=True)]

    for one, other in zip(told(True), told(False), strict=True):
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])
        assert one[2] == other[2]


def test_without_contexts_a_trial_is_so_many_episodes():
    venv = TrialVecEnv(make_vec_env(PointEnv, 2, seed=0), 3)
    starts, dones = [], []
    for obs, _, done, _, _ in played(venv, 90):
        starts.append(obs["start"][0, 0])
        dones.append(done is None or done[0])
    begins = np.flatnonzero(dones)
    assert np.flatnonzero(starts).tolist() == begins[::3].tolist()


def test_a_snapshot_goes_on_in_the_middle_of_a_trial():
    venv = TrialVecEnv(make_vec_env(HIDDEN, 2, seed=0), 2, seed=0)
    played(venv, 17)
    state = env_state.capture(venv)
    assert state["reason"] is None

    def onward(env):
        generator = np.random.default_rng(3)
        return [env.step(generator.uniform(-1, 2, (2, 2)).astype(np.float32)) for _ in range(30)]

    expected = onward(venv)
    other = TrialVecEnv(make_vec_env(HIDDEN, 2, seed=9), 2, seed=8)
    other.reset()
    assert env_state.restore(other, state, 0) == ([], None)
    for one, two in zip(expected, onward(other), strict=True):
        for key, value in one[0].items():
            assert np.array_equal(value, two[0][key]), key
        assert np.array_equal(one[1], two[1])


def test_rewards_are_the_environments_own_above_a_normaliser_that_normalises_the_rest():
    inner = VecNormalize(make_vec_env(HIDDEN, 2, seed=0), gamma=0.9)
    venv = TrialVecEnv(inner, 2)
    venv.reset()
    for action in np.random.default_rng(0).uniform(-1, 2, (20, 2, 2)):
        obs, rewards, _, _ = venv.step(action)
        raw = inner.get_original_reward()
        assert np.allclose(obs["reward"][:, 0], np.where(obs["start"][:, 0] > 0, 0, raw))
        assert not np.allclose(rewards, raw)
    raw = {**obs, "observation": inner.get_original_obs()}
    assert np.allclose(venv.normalize(raw)["observation"], obs["observation"])
    assert np.array_equal(venv.normalize(raw)["reward"], obs["reward"])


def test_one_environment_gives_what_the_first_episode_of_a_trial_gives():
    env, venv = TrialEnv(PointEnv()), TrialVecEnv(make_vec_env(PointEnv, 1, seed=3))
    assert env.observation_space == venv.observation_space
    one, (other, *_) = env.reset(seed=3)[0], played(venv, 0)[0]
    for _ in range(3):
        for key, value in one.items():
            assert np.array_equal(value, other[key][0]), key
        action = np.array([0.25, -0.5], np.float32)
        one, reward, *_ = env.step(action)
        other, rewards, _, _ = venv.step(action[None])
        assert reward == pytest.approx(rewards[0])


class Odd(gym.Env):
    def __init__(self, observations, actions=None):
        self.observation_space = observations
        self.action_space = spaces.Box(-1, 1, (1,)) if actions is None else actions


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (Odd(spaces.Box(-1, 1, (2,)), spaces.Discrete(3)), "a Box, got Discrete"),
        (Odd(spaces.Discrete(4)), "vectors"),
        (Odd(spaces.Box(0, 255, (36, 36, 3), np.uint8)), "vectors"),
        (Odd(spaces.Dict({"reward": spaces.Box(-1, 1, (1,))})), "a part 'reward' already"),
    ],
)
def test_spaces_that_are_refused(env, words):
    with pytest.raises(UnsupportedSpaceError, match=words):
        TrialVecEnv(make_vec_env(lambda: env, 1))


def test_the_length_of_trials_is_decided_once():
    venv = TrialVecEnv(make_vec_env(PointEnv, 1), 2)
    venv.set_episodes(2)
    with pytest.raises(ConfigError, match="trials of 2 episodes, and 3 are asked for"):
        venv.set_episodes(3)
    with pytest.raises(ConfigError, match="from 1 to"):
        TrialVecEnv(make_vec_env(PointEnv, 1), 0)
    assert trials_of(VecNormalize(venv)) is venv
