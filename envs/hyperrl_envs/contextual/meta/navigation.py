"""Navigation in the plane, `hyperrl/Navigation2D-v0` and `hyperrl/SparseNavigation2D-v0`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hyperrl.context import ContextParam, ContextSpace
from hyperrl.errors import ContextError
from hyperrl_envs.contextual.dynamics.navigation import Navigation, SparseNavigation
from hyperrl_envs.contextual.dynamics.suite import wrap_system
from hyperrl_envs.contextual.dynamics.system import System
from hyperrl_envs.contextual.suites.suite import Plan, Suite


@dataclass(frozen=True)
class NavigationSuite(Suite):
    """A suite whose goals have either an angle or two coordinates."""

    def plan(self, **arguments: Any) -> Plan:
        """Work out what keyword arguments mean, see `Suite.plan`.

        Args:
            **arguments: See there.

        Raises:
            ContextError: The context has an angle and a coordinate, or one coordinate alone.
            HyperRLError: As `Suite.plan`.
        """
        plan = super().plan(**arguments)
        goal = {"angle", "goal_x", "goal_y"}.intersection(plan.space.names)
        if goal and goal not in ({"angle"}, {"goal_x", "goal_y"}):
            given = ", ".join(sorted(goal))
            raise ContextError(f"a goal is said by angle alone or by goal_x and goal_y together, got {given}")
        return plan


def _goal(name: str, default: float, axis: str) -> ContextParam:
    return ContextParam(
        name,
        -2.0,
        2.0,
        default,
        op="set",
        fields=(name,),
        train=(-1.0, 1.0),
        summary=f"place of the goal along {axis}",
    )


def _sign(axis: str) -> ContextParam:
    name = f"sign_{axis}"
    return ContextParam(
        name,
        -1.0,
        1.0,
        op="set",
        fields=(name,),
        choices=(-1.0, 1.0),
        summary=f"-1 turns movements along {axis} round",
    )


_PARAMS = ContextSpace(
    (
        ContextParam(
            "angle",
            -math.pi / 2,
            3 * math.pi / 2,
            0.0,
            op="set",
            fields=("angle",),
            train=(0.0, math.pi),
            unit="rad",
            summary="where on the unit circle the goal is, seen from the start",
        ),
        _goal("goal_x", 1.0, "x"),
        _goal("goal_y", 0.0, "y"),
        _sign("x"),
        _sign("y"),
        ContextParam(
            "swap",
            0.0,
            1.0,
            0.0,
            op="set",
            fields=("swap",),
            choices=(0.0, 1.0),
            summary="1 exchanges the axes of actions",
        ),
    )
)


def _suite(env_id: str, kind: type[System]) -> NavigationSuite:
    return NavigationSuite(
        env_id=env_id,
        make_base=kind,
        params=_PARAMS,
        default=("angle",),
        wrap=wrap_system,
        native_id=env_id,
    )


DENSE = _suite("hyperrl/Navigation2D-v0", Navigation)
"""Goals on the upper half of the unit circle, as HypeRL has them: one angle says all of a goal, without a
jump. With ``context=["goal_x", "goal_y"]`` goals lie in the square [-1, 1]^2 of PEARL's code, and with
``ranges={"goal_x": [-0.5, 0.5], "goal_y": [-0.5, 0.5]}`` in that of MAML."""

SPARSE = _suite("hyperrl/SparseNavigation2D-v0", SparseNavigation)
"""The same goals with the sparse reward, and with the 20 steps of PEARL."""
