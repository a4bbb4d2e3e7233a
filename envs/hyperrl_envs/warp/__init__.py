"""Gymnasium's MuJoCo tasks, thousands at a time on a GPU, simulated by MuJoCo Warp in float32.

    from hyperrl_envs.warp import make_warp

    venv = make_warp("HalfCheetah-v5", n_envs=4096, device="cuda", seed=0)  # a Stable-Baselines3 VecEnv
    observations = venv.reset_tensors()  # or with everything on the device
    step = venv.step_tensors(actions)

It needs the extra `warp`. What needs torch, Stable-Baselines3 or MuJoCo Warp is loaded when it is first used.
Importing this package registers `hyperrl/HumanoidNewton-v5` with Gymnasium.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hyperrl_envs.warp.ids import HUMANOID_NEWTON, SUPPORTED, supports
from hyperrl_envs.warp.registration import register_variants

if TYPE_CHECKING:
    from hyperrl_envs.warp.simulation import TensorStep as TensorStep
    from hyperrl_envs.warp.simulation import WarpSimulation as WarpSimulation
    from hyperrl_envs.warp.vec_env import WarpVecEnv as WarpVecEnv
    from hyperrl_envs.warp.vec_env import make_warp as make_warp

_HOMES = {
    "TensorStep": "hyperrl_envs.warp.simulation",
    "WarpSimulation": "hyperrl_envs.warp.simulation",
    "WarpVecEnv": "hyperrl_envs.warp.vec_env",
    "make_warp": "hyperrl_envs.warp.vec_env",
}

__all__ = [
    "HUMANOID_NEWTON",
    "SUPPORTED",
    "TensorStep",
    "WarpSimulation",
    "WarpVecEnv",
    "make_warp",
    "supports",
]

register_variants()


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hyperrl_envs.warp' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
