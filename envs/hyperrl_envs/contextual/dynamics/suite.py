"""Contexts of systems without a simulator."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextParam, ContextSpace
from hyperrl_envs.contextual.base import ContextualEnv
from hyperrl_envs.contextual.dynamics.system import System
from hyperrl_envs.contextual.suites.suite import Plan, Suite


class ContextualSystem(ContextualEnv):
    """A system whose parameters the context sets; see `ContextualEnv` and `System`."""

    def _apply(self, context: NDArray[np.float64]) -> None:
        base: Any = self.env.unwrapped
        # All of them: nothing stays from a context with other parameters.
        base.parameters = {
            **base.nominal,
            **dict(zip(self.context_space.names, context.tolist(), strict=True)),
        }


def wrap_system(env: gym.Env[Any, Any], plan: Plan, suite: Suite) -> ContextualEnv:
    """Return a system with the contexts of a plan; see `Suite.wrap`."""
    return ContextualSystem(env, plan.space, plan.splits, **plan.settings)


def system_suite(
    env_id: str, kind: type[System], params: tuple[ContextParam, ...], default: tuple[str, ...]
) -> Suite:
    """Return the suite of a system.

    Args:
        env_id: Its id.
        kind: The system's class.
        params: All parameters that a context can have; their names are those of the system's own.
        default: Names of those that it has unless others are asked for.
    """
    return Suite(
        env_id=env_id,
        make_base=kind,
        params=ContextSpace(params),
        default=default,
        wrap=wrap_system,
        native_id=env_id,
    )
