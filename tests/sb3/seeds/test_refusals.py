"""What cannot be stacked, and what a stack refuses."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import TD3
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import VecNormalize

from hyperrl import CompiledPPO, CompiledSAC, CompiledTD3, SeedStack
from hyperrl.errors import ConfigError, NonFiniteError, ShapeError
from tests.sb3.seeds.stacks import envs, stack_of
from tests.sb3.toys import PointEnv


class Dictionary(PointEnv):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict({"a": self.observation_space})


def refuse(match, *args, error=ConfigError, **kwargs):
    with pytest.raises(error, match=match):
        stack_of(*args, **kwargs)


def test_what_cannot_be_stacked_is_refused_by_name():
    refuse("PPO cannot be trained with several seeds", CompiledPPO)
    refuse("TD3 cannot be trained with several seeds at once: HyperTD3", TD3)
    refuse("different numbers", CompiledTD3, seeds=(1, 1))
    refuse("seed must be", CompiledTD3, seeds=(-1, 1))
    refuse("vectors of floating-point numbers", CompiledTD3, env=Dictionary)
    refuse(
        "NormalActionNoise around zero", CompiledTD3, action_noise=NormalActionNoise(np.ones(2), np.ones(2))
    )
    ornstein = OrnsteinUhlenbeckActionNoise(np.zeros(2), np.ones(2))
    refuse("NormalActionNoise around zero", CompiledTD3, action_noise=ornstein)
    refuse("train_freq in steps", CompiledTD3, train_freq=(1, "episode"), seeds=(1,))
    refuse("replay buffer of another kind", CompiledTD3, n_steps=3)
    refuse("state-dependent exploration", CompiledSAC, use_sde=True)
    refuse(
        "one group of parameters|torch.optim.Adam",
        CompiledTD3,
        policy_kwargs={"optimizer_class": torch.optim.SGD},
    )
    with pytest.raises(ConfigError, match="same number of environments, got 3 together"):
        SeedStack(CompiledTD3, "MlpPolicy", envs(3), (0, 1))
    for env in (PointEnv(), "Pendulum-v1"):
        with pytest.raises(ConfigError, match="need a vectorised environment"):
            SeedStack(CompiledTD3, "MlpPolicy", env, (0, 1))
    with pytest.raises(ConfigError, match="seeds must be different numbers, such as"):
        SeedStack(CompiledTD3, "MlpPolicy", envs(2), 2)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="finds no GPU"):
            SeedStack(CompiledTD3, "MlpPolicy", envs(2), (0, 1), device="cuda")
    with pytest.raises(ConfigError, match="VecNormalize"):
        SeedStack(CompiledTD3, "MlpPolicy", VecNormalize(envs(2)), (0, 1))


def test_a_stack_says_how_it_is_saved_and_what_it_acts_on():
    stack = stack_of(CompiledTD3)
    with pytest.raises(ConfigError, match=r"stack\.agents\[0\]\.save"):
        stack.save("stack.zip")
    with pytest.raises(ShapeError, match=r"\[2 N, 3\], got \(3, 3\)"):
        stack.predict(np.zeros((3, 3)))
    with pytest.raises(ShapeError, match=r"\[2 N, 3\], got \(2, 5\)"):
        stack.predict(np.zeros((2, 5)))
    with pytest.raises(ShapeError, match="must be numbers"):
        stack.predict({"a": 1})
    with pytest.raises(ConfigError, match="part of a stack of seeds"):
        stack.agents[0].learn(10)
    with pytest.raises(NonFiniteError):
        stack.predict(np.full((2, 3), np.nan))
