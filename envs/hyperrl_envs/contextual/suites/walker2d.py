"""Walker2d with contexts."""

from __future__ import annotations

from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

from hyperrl.context import ContextSpace
from hyperrl_envs.contextual.edits import EDITS, LimbLength
from hyperrl_envs.contextual.healthy import HealthyHeight
from hyperrl_envs.contextual.suites.locomotion import density, dynamics, goals, limb_length, signs
from hyperrl_envs.contextual.suites.suite import Suite

_RIGHT = ("thigh_joint", "leg_joint", "foot_joint")
_LEFT = ("thigh_left_joint", "leg_left_joint", "foot_left_joint")

SUITE = Suite(
    env_id="hyperrl/ContextualWalker2d-v0",
    make_base=Walker2dEnv,
    params=ContextSpace(
        (
            *dynamics(),
            density(1000.0, 500.0, 1500.0, (750.0, 1250.0), log=False),
            limb_length(("thigh", "leg", "thigh_left", "leg_left")),
            *signs(
                {
                    "sign_right": _RIGHT,
                    "sign_left": _LEFT,
                    **{f"sign_{joint.removesuffix('_joint')}": (joint,) for joint in (*_RIGHT, *_LEFT)},
                }
            ),
            *goals(3.0, (0.5, 2.0)),
        )
    ),
    default=("mass", "gravity"),
    # Thigh 0.45 m, shin 0.5 m.
    edits={**EDITS, "limb_length": LimbLength(rise=0.95)},
    healthy=HealthyHeight(position=1),
    native_id="Walker2d-v5",
)
"""Contexts of Walker2d-v5."""
