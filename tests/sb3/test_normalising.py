"""Normalised observations: an agent that acts for raw ones."""

from __future__ import annotations

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl.run.env_state import capture, restore_statistics
from hyperrl.sb3.normalising import OnRawObservations, normalised
from tests.sb3.toys import PointEnv


def trained(settings=True):
    venv = normalised(make_vec_env(PointEnv, 2), settings, 0.9)
    return PPO("MlpPolicy", venv, n_steps=8, batch_size=8, seed=0, device="cpu").learn(32)


def test_settings_are_those_of_vec_normalize():
    venv = normalised(make_vec_env(PointEnv, 2), {"norm_reward": False, "clip_obs": 3.0}, 0.9)
    assert isinstance(venv, VecNormalize)
    assert (venv.norm_obs, venv.norm_reward, venv.clip_obs, venv.gamma) == (True, False, 3.0, 0.9)
    plain = make_vec_env(PointEnv, 2)
    assert normalised(plain, False) is plain


def test_raw_observations_are_normalised_as_in_training():
    agent = trained()
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    statistics = agent.get_vec_normalize_env().obs_rms
    expected = np.clip((rows - statistics.mean) / np.sqrt(statistics.var + 1e-8), -10, 10)
    ours, _ = OnRawObservations(agent).predict(rows, deterministic=True)
    theirs, _ = agent.predict(expected.astype(np.float32), deterministic=True)
    assert np.allclose(ours, theirs, atol=1e-6)


def test_without_a_normaliser_nothing_changes():
    agent = trained(False)
    rows = np.zeros((2, 3), np.float32)
    ours, _ = OnRawObservations(agent).predict(rows, deterministic=True)
    assert np.array_equal(ours, agent.predict(rows, deterministic=True)[0])


def test_statistics_are_put_back_into_another_number_of_environments():
    agent = trained()
    state = capture(agent.env)
    other = VecNormalize(make_vec_env(PointEnv, 1))
    restore_statistics(other, state)
    ours = agent.get_vec_normalize_env()
    assert np.array_equal(other.obs_rms.mean, ours.obs_rms.mean)
    assert np.array_equal(other.obs_rms.var, ours.obs_rms.var)
    assert not other.training
    before = other.obs_rms.mean.copy()
    other.reset()
    other.step(np.zeros((1, 2), np.float32))
    assert np.array_equal(other.obs_rms.mean, before)
