"""Contextual tasks stepped together: one simulation each, with the model of its own context.

    from hyperrl_envs.contextual.native import make_contextual

    venv = make_contextual("hyperrl/ContextualHopper-v0", n_envs=64, seed=0, context=["mass", "gravity"])

Observations, rewards, ends of episodes, random numbers and contexts are bit for bit those of the environments
that `gymnasium.make` builds. What needs Stable-Baselines3 is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hyperrl_envs.contextual.native.ids import SUPPORTED, supports

if TYPE_CHECKING:
    from hyperrl_envs.contextual.native.vec_env import ContextualVecEnv as ContextualVecEnv
    from hyperrl_envs.contextual.native.vec_env import make_contextual as make_contextual

__all__ = ["SUPPORTED", "ContextualVecEnv", "make_contextual", "supports"]


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first used (PEP 562)."""
    if name not in ("ContextualVecEnv", "make_contextual"):
        raise AttributeError(f"module 'hyperrl_envs.contextual.native' has no attribute {name!r}")
    return getattr(importlib.import_module("hyperrl_envs.contextual.native.vec_env"), name)
