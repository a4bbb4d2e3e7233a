"""Small agents that learn in a second."""

from __future__ import annotations

from typing import Any

import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from hyperrl import HyperPPO
from tests.sb3.toys import PointEnv

SMALL = [[4], [8], [4, 8], [8, 4], [4, 4, 8], [8, 8, 8]]


@pytest.fixture
def make_agent():
    """Builds an agent with six architectures, two of them in a rollout, and four environments."""

    def build(
        env: VecEnv | None = None, seed: int = 0, generator: str = "nested", **settings: Any
    ) -> HyperPPO:
        venv = make_vec_env(PointEnv, 4, seed) if env is None else env
        policy_kwargs = {"architectures": SMALL, "generator": generator, "net_arch": [16]}
        policy_kwargs |= settings.pop("policy_kwargs", {})
        sizes = {"n_steps": 8, "batch_size": 16, "n_epochs": 2, "n_architectures": 2, "device": "cpu"}
        return HyperPPO("MlpPolicy", venv, seed=seed, policy_kwargs=policy_kwargs, **{**sizes, **settings})

    return build
