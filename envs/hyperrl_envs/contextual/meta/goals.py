"""Ant and Humanoid with the tasks of meta-learning, `hyperrl/AntDir-v0` and its kin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from hyperrl.context import ContextParam, ContextSpace
from hyperrl_envs.contextual.meta.rewards import DISC, GOAL_REWARDS, HEADING, SPEED
from hyperrl_envs.contextual.meta.walkers import (
    MetaAntEnv,
    MetaAntGoalEnv,
    MetaAntPosEnv,
    MetaHumanoidEnv,
)
from hyperrl_envs.contextual.rewards import Reward
from hyperrl_envs.contextual.suites.suite import Suite


def _param(name: str, low: float, high: float, default: float, summary: str, **more: Any) -> ContextParam:
    return ContextParam(name, low, high, default, op="set", level="reward", summary=summary, **more)


def _angle(field: str, summary: str) -> ContextParam:
    return _param("angle", 0.0, 2 * math.pi, 0.0, summary, fields=(field,), unit="rad", periodic=True)


def _headings() -> tuple[ContextParam, ...]:
    return (
        _angle("heading.angle", "direction to go in, from the x axis; shown as cosine and sine"),
        _param(
            "direction",
            -1.0,
            1.0,
            1.0,
            "forward or backward along x",
            fields=("heading.direction",),
            choices=(-1.0, 1.0),
        ),
    )


def _suite(
    env_id: str,
    make_base: Callable[..., Any],
    params: tuple[ContextParam, ...],
    rewards: Mapping[str, Reward],
    default: tuple[str, ...] = (),
) -> Suite:
    space = ContextSpace(params)
    return Suite(
        env_id=env_id,
        make_base=make_base,
        params=space,
        default=default or space.names,
        rewards=rewards,
        native_id=env_id,
    )


ANT_DIR = _suite("hyperrl/AntDir-v0", MetaAntEnv, _headings(), HEADING, ("angle",))
"""All directions of the plane, as in PEARL: the reward is v (cos, sin) + 0.05 - 0.005 |a|^2 - contact costs.
With ``context=["direction"]`` the two tasks forward and backward, which are 180 degrees apart. With both in
the context every task has two names: backward along an angle is forward along the opposite one, so that what
is held out under one name may be trained under the other."""

ANT_DIR_LEGACY = _suite(
    "hyperrl/AntDirLegacy-v0",
    MetaAntEnv,
    (
        _param(
            "radians",
            -1.0,
            1.0,
            1.0,
            "direction to go in, from the x axis",
            fields=("heading.angle",),
            choices=(-1.0, 1.0),
            unit="rad",
        ),
    ),
    HEADING,
)
"""The two tasks of the codes of HypeRL and of Beck et al., which take +1 and -1 for angles in radians: 57
degrees to the left and to the right of forward, so that running straight on serves both."""

ANT_VEL = _suite(
    "hyperrl/AntVel-v0",
    MetaAntEnv,
    (_param("velocity", 0.0, 3.0, 1.5, "velocity to be kept along x", fields=("speed.target",), unit="m/s"),),
    SPEED,
)
"""Velocities from 0 to 3 m/s: the reward is 1 - |v - v*| + 0.05 - 0.005 |a|^2 - contact costs."""

ANT_POS = _suite(
    "hyperrl/AntPos-v0",
    MetaAntPosEnv,
    tuple(
        _param(
            f"goal_{axis}",
            -DISC,
            DISC,
            0.0,
            f"place to go to along {axis}",
            fields=(f"square.{axis}",),
            unit="m",
        )
        for axis in "xy"
    ),
    GOAL_REWARDS,
)
"""Places in the square [-3, 3]^2, as in MAML: the reward is 4 - L1 + 0.05 - 0.005 |a|^2 - contact costs. Both
coordinates are the context: the bearing alone would leave out how far to go."""

ANT_GOAL = _suite(
    "hyperrl/AntGoal-v0",
    MetaAntGoalEnv,
    (
        _angle("disc.angle", "bearing of the goal; shown as cosine and sine"),
        _param(
            "area",
            0.0,
            1.0,
            1.0,
            "(distance / 3 m)^2: drawn evenly, goals fill the disc evenly",
            fields=("disc.area",),
        ),
    ),
    GOAL_REWARDS,
)
"""Places in a disc of 3 m, as in PEARL: the reward is -L1 + 0.05 - 0.005 |a|^2 - contact costs. In a grid of
tasks ("tasks", "combinations") all those of area 0 are one place: give ``ranges={"area": [0.05, 1]}``."""

HUMANOID_DIR = _suite("hyperrl/HumanoidDir-v0", MetaHumanoidEnv, _headings(), HEADING, ("angle",))
"""All directions of the plane: 1.25 v (cos, sin) of the centre of mass + 5 - 0.1 |a|^2 - contact costs. The
observation is Humanoid-v5's."""
