"""Trained models of every supported algorithm, a few hundred steps each."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from hyperrl import HyperSAC, HyperTD3

ENV = "Pendulum-v1"
SMALL = {"device": "cpu", "seed": 0}


def _env():
    return gym.make(ENV)


def _normalised(clip):
    return VecNormalize(DummyVecEnv([_env]), clip_obs=clip)


def _ppo_normalised():
    return PPO(
        "MlpPolicy", _normalised(0.8), n_steps=128, policy_kwargs={"net_arch": [16, 12]}, **SMALL
    ).learn(384)


def _ppo_squashed():
    kwargs = {"squash_output": True, "net_arch": [16]}
    return PPO("MlpPolicy", _env(), use_sde=True, n_steps=128, policy_kwargs=kwargs, **SMALL).learn(256)


def _off_policy(algorithm, env, **more):
    model = algorithm(
        "MlpPolicy",
        env,
        learning_starts=100,
        batch_size=32,
        policy_kwargs={"net_arch": [24, 16]},
        **more,
        **SMALL,
    )
    return model.learn(250)


MAKERS = {
    "ppo, normalised": _ppo_normalised,
    "ppo, squashed": _ppo_squashed,
    "sac": lambda: _off_policy(SAC, _env()),
    "td3": lambda: _off_policy(TD3, _env()),
    "hyper-td3": lambda: _off_policy(HyperTD3, _env(), compile=False),
    "hyper-sac, normalised": lambda: _off_policy(HyperSAC, _normalised(1.2), compile=False),
}


@functools.cache
def _trained(name):
    return MAKERS[name]()


@pytest.fixture(scope="session")
def trained():
    """Return a function from a name in `MAKERS` to a trained model, which nobody changes."""
    return _trained


@pytest.fixture(scope="session")
def observations():
    """Observations of the pendulum, and far beyond them."""
    draw = np.random.default_rng(5)
    angle = draw.uniform(-np.pi, np.pi, 200)
    rows = np.stack([np.cos(angle), np.sin(angle), draw.uniform(-8, 8, 200)], axis=1)
    return np.concatenate([rows, rows * 20, np.zeros((1, 3))]).astype(np.float32)
