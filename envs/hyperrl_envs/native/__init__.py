"""Gymnasium's MuJoCo tasks, stepped together in one process without a Python environment around each.

    from hyperrl_envs.native import make_native, supports

    venv = make_native("HalfCheetah-v5", n_envs=8, seed=0)  # a Stable-Baselines3 VecEnv

Observations, rewards, ends of episodes and random numbers are bit for bit those of Gymnasium's tasks. What
needs Stable-Baselines3 is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hyperrl_envs.native.ids import SUPPORTED, supports

if TYPE_CHECKING:
    from hyperrl_envs.native.vec_env import NativeMujocoVecEnv as NativeMujocoVecEnv
    from hyperrl_envs.native.vec_env import make_native as make_native
    from hyperrl_envs.native.vector_env import NativeMujocoVectorEnv as NativeMujocoVectorEnv

_HOMES = {
    "NativeMujocoVecEnv": "hyperrl_envs.native.vec_env",
    "NativeMujocoVectorEnv": "hyperrl_envs.native.vector_env",
    "make_native": "hyperrl_envs.native.vec_env",
}

__all__ = ["SUPPORTED", "NativeMujocoVecEnv", "NativeMujocoVectorEnv", "make_native", "supports"]


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hyperrl_envs.native' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
