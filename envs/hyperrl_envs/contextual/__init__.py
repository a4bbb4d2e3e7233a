"""Tasks with contexts: a robot's mass, friction, limbs or goal change from episode to episode.

The names below are loaded when first used: which tasks there are can be known without MuJoCo.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperrl_envs.contextual.base import ContextualEnv as ContextualEnv
    from hyperrl_envs.contextual.edits import LimbLength as LimbLength
    from hyperrl_envs.contextual.healthy import HealthyHeight as HealthyHeight
    from hyperrl_envs.contextual.model_writer import ModelWriter as ModelWriter
    from hyperrl_envs.contextual.mujoco import ContextualMujoco as ContextualMujoco
    from hyperrl_envs.contextual.observing import ContextObserver as ContextObserver
    from hyperrl_envs.contextual.rewards import ContextReward as ContextReward
    from hyperrl_envs.contextual.rewards import Reward as Reward
    from hyperrl_envs.contextual.source import ContextSource as ContextSource
    from hyperrl_envs.contextual.suites import Suite as Suite
    from hyperrl_envs.contextual.suites import suite_of as suite_of

_MODULES = {
    "ContextObserver": "observing",
    "ContextReward": "rewards",
    "ContextSource": "source",
    "ContextualEnv": "base",
    "ContextualMujoco": "mujoco",
    "HealthyHeight": "healthy",
    "LimbLength": "edits",
    "ModelWriter": "model_writer",
    "Reward": "rewards",
    "Suite": "suites",
    "suite_of": "suites",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Load a public name from its module when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
