"""Small agents, and features of trials."""

from __future__ import annotations

from functools import partial

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

from hyperrl import RecurrentHyper
from tests.sb3.meta.reaching import ReachEnv

SMALL = {"hidden_size": 6, "state_features": 8, "latent_features": 4, "latent_dim": 3, "net_arch": [8]}
HIDDEN = partial(ReachEnv, mode="hidden", reach=0.6)


class SignEnv(gym.Env):
    """Six steps in which the reward is the action or its negative; nothing but the reward says which."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.sign, self.steps = self.np_random.choice([-1.0, 1.0]), 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), float(self.sign * action[0]), False, self.steps >= 6, {}


def build(env=None, n_envs=4, seed=0, policy_kwargs=None, **settings):
    """An agent in a few small environments."""
    venv = env if env is not None else make_vec_env(HIDDEN, n_envs, seed)
    sizes = {"n_steps": 16, "n_epochs": 2, "gamma": 0.9, "seed": seed, "device": "cpu", **settings}
    return RecurrentHyper("MlpPolicy", venv, policy_kwargs={**SMALL, **(policy_kwargs or {})}, **sizes)


def moved(policy, scale=0.3):
    """Give all parameters other values, as training would: heads start at zero."""
    with th.no_grad():
        for parameter in policy.parameters():
            parameter += scale * th.randn_like(parameter)
    return policy


def features_of(policy, steps, count, starts=0.2):
    """Random features ``[T, E, F]`` in which trials and episodes begin here and there."""
    size = max(place.stop for place in policy.columns.places.values())
    features = th.randn(steps, count, size, dtype=policy.log_std.dtype)
    begins = (th.rand(steps, count) < starts).to(features)
    features[..., policy.columns.places["start"].start] = begins
    features[..., policy.columns.places["episode"].start] = begins
    return features
