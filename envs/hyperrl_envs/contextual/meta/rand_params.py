"""Walker2d and Hopper whose bodies differ part by part, `hyperrl/Walker2dRandParams-v0` and Hopper's.

Every mass, moment of inertia and joint damping has a factor of its own, as in the "rand params" tasks of
ProMP, PEARL and Beck et al.: 1.5^u, and 1.3^u for dampings, with u drawn evenly from [-3, 3]. Factors are of
the published values, whatever came before.

Two factors of the published codes are one here, since in MuJoCo only one of them would have an effect. The
robots move in a plane, so that of three moments of inertia the one across it counts. And contacts have the
larger friction of floor and foot, so that all geoms have one factor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

from hyperrl.context import ContextParam, ContextSpace
from hyperrl_envs.contextual.suites.suite import Suite

_GREATEST = 1.5**3
_GREATEST_OF_DAMPING = 1.3**3


def _factor(
    name: str, fields: Sequence[str], select: Sequence[str], summary: str, greatest: float = _GREATEST
) -> ContextParam:
    return ContextParam(
        name,
        1 / greatest,
        greatest,
        fields=tuple(fields),
        select=tuple(select),
        level="setconst" if fields[0].startswith("body") else "data",
        log=True,
        summary=summary,
    )


def _suite(
    env_id: str,
    native_id: str,
    make_base: Callable[..., Any],
    bodies: Sequence[str],
    joints: Sequence[str],
) -> Suite:
    params = [
        *(_factor(f"mass_{name}", ["body_mass"], [name], f"factor of the mass of {name}") for name in bodies),
        *(
            _factor(f"inertia_{name}", ["body_inertia"], [name], f"factor of the inertia of {name}")
            for name in bodies
        ),
        *(
            _factor(
                f"damping_{name.removesuffix('_joint')}",
                ["dof_damping"],
                [name],
                f"factor of the damping of {name}",
                _GREATEST_OF_DAMPING,
            )
            for name in joints
        ),
        _factor("friction", ["geom_friction"], [], "factor of the friction of robot and floor"),
    ]
    space = ContextSpace(tuple(params))
    return Suite(env_id=env_id, make_base=make_base, params=space, default=space.names, native_id=native_id)


_LEG = ("thigh", "leg", "foot")
_LEFT = tuple(f"{name}_left" for name in _LEG)

WALKER2D = _suite(
    "hyperrl/Walker2dRandParams-v0",
    "Walker2d-v5",
    Walker2dEnv,
    ("torso", *_LEG, *_LEFT),
    tuple(f"{name}_joint" for name in (*_LEG, *_LEFT)),
)
"""21 factors; all else is Walker2d-v5."""

HOPPER = _suite(
    "hyperrl/HopperRandParams-v0",
    "Hopper-v5",
    HopperEnv,
    ("torso", *_LEG),
    tuple(f"{name}_joint" for name in _LEG),
)
"""12 factors; all else is Hopper-v5."""
