"""A resumed training equals the straight one in all settings that Stable-Baselines3 has."""

from __future__ import annotations

import functools

import pytest
import torch
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize
from torch import nn

from hyperrl.environments import make_env
from hyperrl_agents.hyper_sac import HyperSAC
from hyperrl_agents.hyper_td3 import HyperTD3
from tests.run.resuming import assert_resumes
from tests.run.small_agents import (
    FOUR,
    HINDSIGHT,
    ONE,
    SHORT,
    build,
    ou_noise,
    several,
    task_env,
)
from tests.sb3.toys import TINY_PAPER, DictEnv


def normalised():
    return VecNormalize(task_env("Pendulum-v1", 2), gamma=0.9)


def goals():
    return several(lambda: BitFlippingEnv(n_bits=3, continuous=True, max_steps=9), 2)


def flipping():
    return several(lambda: make_env("CartPole-v1"), 2)


def falling(progress):
    return 5e-4 * (1 + progress)


class Batched(FlattenExtractor):
    """Has running statistics, which are part of the weights."""

    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.norm = nn.BatchNorm1d(self.features_dim)
        self.drop = nn.Dropout(0.3)

    def forward(self, observations):
        return self.drop(self.norm(super().forward(observations)))


BATCHED = {"net_arch": [16], "features_extractor_class": Batched}
PAPER = {"policy_kwargs": {"net_arch": [16], "critic": {**TINY_PAPER, "learning_rate": 5e-4}}}
SDE = {"use_sde": True, "sde_sample_freq": 5}

VARIANTS = {
    "td3 normalised": (HyperTD3, normalised, {}),
    "sac normalised": (SAC, normalised, {}),
    "ppo normalised": (PPO, normalised, {}),
    "td3 n-step": (HyperTD3, FOUR, {"n_steps": 3}),
    "sac n-step, ring overwritten": (HyperSAC, ONE, {"n_steps": 3, "buffer_size": 17}),
    "td3 ou noise": (TD3, ONE, {"action_noise": ou_noise}),
    "td3 ou noise, several": (HyperTD3, FOUR, {"action_noise": ou_noise}),
    "sac sde": (SAC, ONE, SDE),
    "hyper-sac sde, several": (HyperSAC, FOUR, {"use_sde": True, "use_sde_at_warmup": True}),
    "ppo sde": (PPO, FOUR, SDE),
    "a2c": (A2C, ONE, {}),
    "a2c sde": (A2C, FOUR, {"use_sde": True}),
    "ddpg": (DDPG, ONE, {}),
    "dqn": (DQN, flipping, {"target_update_interval": 7, "exploration_fraction": 0.9}),
    "ppo discrete": (PPO, flipping, {}),
    "sac hindsight": (SAC, goals, HINDSIGHT),
    "hyper-td3 hindsight": (HyperTD3, goals, {**HINDSIGHT, "buffer_size": 50}),
    "td3 parts": (HyperTD3, lambda: several(DictEnv, 2), {"policy": "MultiInputPolicy"}),
    "ppo parts": (PPO, lambda: several(DictEnv, 2), {"policy": "MultiInputPolicy"}),
    "td3 episodes": (HyperTD3, ONE, {"train_freq": (1, "episode"), "gradient_steps": -1}),
    "sac many updates": (HyperSAC, FOUR, {"train_freq": 5, "gradient_steps": -1}),
    "td3 one array": (TD3, ONE, {**SHORT, "buffer_size": 30}),
    "td3 critic's own rate": (HyperTD3, ONE, {**PAPER, "learning_rate": falling}),
    "sac fixed temperature": (SAC, ONE, {"ent_coef": 0.1}),
    "sac falling rate": (SAC, ONE, {"learning_rate": falling, "target_update_interval": 3}),
    "td3 batch norm": (TD3, ONE, {"policy_kwargs": BATCHED}),
    "sac batch norm": (SAC, ONE, {"policy_kwargs": BATCHED}),
    "ppo frames": (PPO, lambda: VecFrameStack(task_env("Pendulum-v1", 2), 3), {}),
    "td3 frames normalised": (TD3, lambda: VecNormalize(VecFrameStack(task_env("Pendulum-v1", 2), 2)), {}),
    "td3 sgd": (TD3, ONE, {"policy_kwargs": {"net_arch": [16], "optimizer_class": torch.optim.SGD}}),
}


def variant(cls, make_vec_env, seed, kwargs):
    made = {name: value() if value is ou_noise else value for name, value in kwargs.items()}
    return build(cls, make_vec_env, seed, **made)


# The other half, for every day, has each algorithm and each kind of noise, of environments and of data.
SLOW = {
    *("sac normalised", "ppo normalised", "td3 n-step", "td3 ou noise", "hyper-sac sde, several", "ppo sde"),
    *("a2c", "ppo discrete", "hyper-td3 hindsight", "td3 parts", "sac many updates", "sac falling rate"),
    *("sac batch norm", "ppo frames", "td3 sgd"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in VARIANTS]
)
def test_resumed_equals_straight_in_other_settings(name):
    cls, make_vec_env, kwargs = VARIANTS[name]
    count = make_vec_env().num_envs
    builder = functools.partial(variant, cls, make_vec_env, kwargs=kwargs)
    assert_resumes(builder, 72 * count, 40 * count)


def test_optimisers_keep_the_kind_of_their_tensors_and_the_rate_of_their_groups():
    cls, make_vec_env, kwargs = VARIANTS["td3 critic's own rate"]
    builder = functools.partial(variant, cls, make_vec_env, kwargs=kwargs)
    agent = assert_resumes(builder, 60, 40)
    optimizer = agent.critic.optimizer
    group = optimizer.param_groups[0]
    assert group["fused"] is True
    assert type(group).__name__ == "ScaledGroup"
    assert group["lr"] == pytest.approx(falling(agent._current_progress_remaining) / 2)
    steps = {entry["step"] for entry in optimizer.state.values()}
    assert all(step.dtype == torch.float32 and step.device.type == "cpu" for step in steps)
