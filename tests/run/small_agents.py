"""Tiny agents of any class, and the environments that they train in for some steps."""

from __future__ import annotations

import functools

import numpy as np
from stable_baselines3 import A2C, PPO, SAC, TD3
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from hyperrl.environments import make_env
from hyperrl_agents.hyper_sac import HyperSAC
from hyperrl_agents.hyper_td3 import HyperTD3
from tests.sb3.toys import TINY

LENGTH = 24
STEPS, BOUNDARY, MIDDLE = 72, 48, 40
AGENTS = (HyperTD3, HyperSAC, TD3, SAC, PPO)
TASKS = ("Pendulum-v1", "HalfCheetah-v5", "Hopper-v5")
OFF_POLICY = {"learning_starts": 20, "batch_size": 16, "buffer_size": 400, "train_freq": 2}


def several(make, count):
    return DummyVecEnv([lambda: Monitor(make())] * count)


def task_env(task, count=1):
    return several(lambda: make_env(task, {"max_episode_steps": LENGTH}), count)


def build(cls, make_vec_env, seed, policy="MlpPolicy", **kwargs):
    """Build a tiny agent of any class."""
    arguments = {"policy_kwargs": {"net_arch": [16]}, "device": "cpu"}
    if issubclass(cls, HyperTD3 | HyperSAC):
        arguments["policy_kwargs"] = {"net_arch": [16], "critic": TINY}
    if issubclass(cls, PPO | A2C):
        arguments["n_steps"] = 8
        if cls is PPO:
            arguments |= {"batch_size": 16, "n_epochs": 2}
    else:
        arguments |= OFF_POLICY
        if issubclass(cls, TD3):
            arguments["action_noise"] = normal_noise(make_vec_env)
    return cls(policy, make_vec_env(), seed=seed, **{**arguments, **kwargs})


@functools.cache
def _actions(make_vec_env):
    return int(np.prod(make_vec_env().action_space.shape))


def normal_noise(make_vec_env):
    size = _actions(make_vec_env)
    return NormalActionNoise(np.zeros(size), 0.1 * np.ones(size))


PENDULUM = functools.partial(task_env, "Pendulum-v1")
ONE, FOUR = functools.partial(PENDULUM, 1), functools.partial(PENDULUM, 4)


def ou_noise():
    return OrnsteinUhlenbeckActionNoise(np.zeros(1), 0.3 * np.ones(1), initial_noise=np.full(1, 0.2))


HINDSIGHT = {
    "policy": "MultiInputPolicy",
    "replay_buffer_class": HerReplayBuffer,
    "replay_buffer_kwargs": {"n_sampled_goal": 2},
}
SHORT = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
