"""Small stacks of seeds for tests."""

import copy

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from hyperrl import CompiledSAC, CompiledTD3, HyperSAC, HyperTD3, SeedStack
from tests.sb3.toys import TINY, PointEnv

SIZES = {"learning_starts": 10, "batch_size": 16, "buffer_size": 60, "device": "cpu", "compile": False}
WIDTHS = {"net_arch": [16, 16]}
KWARGS = {
    CompiledTD3: {"policy_kwargs": WIDTHS},
    HyperTD3: {"policy_kwargs": {"net_arch": [16], "critic": TINY}},
    CompiledSAC: {"policy_kwargs": WIDTHS},
    HyperSAC: {"policy_kwargs": {"net_arch": [16], "critic": TINY}},
}


def envs(count, env=PointEnv):
    return DummyVecEnv([env for _ in range(count)])


def noise():
    return NormalActionNoise(np.zeros(2), np.full(2, 0.1))


def stack_of(cls, seeds=(3, 4), per_seed=1, env=PointEnv, **kwargs):
    kwargs = copy.deepcopy({**SIZES, **KWARGS.get(cls, {}), **kwargs})
    return SeedStack(cls, "MlpPolicy", envs(len(seeds) * per_seed, env), seeds, **kwargs)


class Each(BaseCallback):
    """Calls a function before the updates of each step."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def _on_rollout_end(self):
        self.function(self.model)

    def _on_step(self):
        return True
