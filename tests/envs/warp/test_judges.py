"""Observation, reward, termination and distribution of starts are Gymnasium's, for every keyword argument."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from hyperrl.environments import make_env
from hyperrl_envs.warp import SUPPORTED
from hyperrl_envs.warp.draws import Draws
from hyperrl_envs.warp.tasks import read_setting
from tests.envs.warp.cases import OTHER_SETTINGS, random_action, relative_error

CPU = torch.device("cpu")
# Ant ends rarely, but where its range of heights is narrow.
ENDLESS = {"Ant-v5", "HalfCheetah-v5", "Pusher-v5", "Reacher-v5", "Swimmer-v5"}
CASES = [(env_id, settings) for env_id in SUPPORTED for settings in [{}, *OTHER_SETTINGS[env_id]]]


def batch_of(env, judge):
    """What MuJoCo computed, as a batch of one environment in float32."""
    arrays = {name: np.asarray(getattr(env.data, name), np.float32) for name in judge.reads}
    return {name: torch.from_numpy(array.copy())[None] for name, array in arrays.items()}


@pytest.mark.parametrize(("env_id", "settings"), CASES)
def test_formulas_are_those_of_gymnasium(env_id, settings):
    env = make_env(env_id, settings).unwrapped
    judge = read_setting(env_id, settings).build_judge(CPU)
    generator = np.random.default_rng(1)
    observation, _ = env.reset(seed=4)
    ends = 0
    for _ in range(80):
        batch = batch_of(env, judge)
        found = judge.observation(batch)
        assert found.dtype == torch.float32
        assert relative_error(found[0], observation) < 1e-6
        before = judge.anchor(batch)
        action = random_action(env, generator)
        observation, reward, terminated, *_ = env.step(action)
        outcome = judge.outcome(before, batch_of(env, judge), torch.from_numpy(action)[None])
        assert (outcome.rewards.dtype, outcome.terminated.dtype) == (torch.float32, torch.bool)
        # Places are metres in float32, and velocities their differences over one step.
        assert relative_error(outcome.rewards, reward) < 1e-4
        assert bool(outcome.terminated) == terminated
        ends += terminated
        if terminated:
            observation, _ = env.reset()
    assert ends or env_id in ENDLESS or not settings.get("terminate_when_unhealthy", True)


@pytest.mark.parametrize("env_id", SUPPORTED)
def test_every_keyword_argument_is_among_the_cases(env_id):
    kind = type(read_setting(env_id, {}).task)
    tried = {name for settings in OTHER_SETTINGS[env_id] for name in settings}
    assert tried | {"xml_file"} == {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("env_id", SUPPORTED)
def test_starts_are_distributed_as_gymnasium_draws_them(env_id):
    count = 3000
    setting = read_setting(env_id, {})
    judge = setting.build_judge(CPU)
    draws = Draws(count, CPU)
    draws.seed(range(count))
    found = torch.cat(judge.start(draws.uniforms(judge.draws)), dim=1).numpy()
    generator = np.random.default_rng(0)
    start = setting.model.qpos0, np.zeros(setting.model.nv)
    expected = np.array([np.concatenate(setting.task.draw(generator, *start)) for _ in range(count)])
    assert found.shape == expected.shape
    for own, other in zip(found.T, expected.T, strict=True):
        assert kolmogorov_smirnov(own, other) < 2.3 * np.sqrt(2 / count)


def kolmogorov_smirnov(one, other):
    """The largest distance between two empirical distribution functions."""
    both = np.sort(np.concatenate([one, other]))
    below = [np.searchsorted(np.sort(each), both, side="right") / len(each) for each in (one, other)]
    return np.abs(below[0] - below[1]).max()


def test_pusher_and_reacher_begin_where_they_may():
    draws = Draws(5000, CPU)
    draws.seed(range(5000))
    pusher = read_setting("Pusher-v5", {}).build_judge(CPU)
    places = pusher.start(draws.uniforms(pusher.draws))[0][:, -4:-2]
    assert float(places.norm(dim=1).min()) > 0.17
    assert bool(((places[:, 0] <= 0) & (places[:, 0] > -0.3) & (places[:, 1].abs() <= 0.2)).all())
    reacher = read_setting("Reacher-v5", {}).build_judge(CPU)
    goals = reacher.start(draws.uniforms(reacher.draws))[0][:, -2:]
    assert float(goals.norm(dim=1).max()) < 0.2


def test_numbers_of_numpy_do_not_make_formulas_float64():
    setting = read_setting(
        "HalfCheetah-v5", {"forward_reward_weight": np.float64(2), "frame_skip": np.int64(2)}
    )
    assert type(setting.task.forward_reward_weight) is float
    assert type(setting.task.frame_skip) is int
