"""Hopper with contexts."""

from __future__ import annotations

from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

from hyperrl.context import ContextSpace
from hyperrl_envs.contextual.edits import EDITS, LimbLength
from hyperrl_envs.contextual.healthy import HealthyHeight
from hyperrl_envs.contextual.suites.locomotion import density, dynamics, goals, limb_length, signs
from hyperrl_envs.contextual.suites.suite import Suite

SUITE = Suite(
    env_id="hyperrl/ContextualHopper-v0",
    make_base=HopperEnv,
    params=ContextSpace(
        (
            *dynamics(armature=True),
            density(1000.0, 500.0, 1500.0, (750.0, 1250.0), log=False),
            limb_length(("thigh", "leg")),
            *signs({f"sign_{part}": (f"{part}_joint",) for part in ("thigh", "leg", "foot")}),
            *goals(3.0, (0.5, 2.0)),
        )
    ),
    default=("mass", "gravity"),
    # Thigh 0.45 m, shin 0.5 m.
    edits={**EDITS, "limb_length": LimbLength(rise=0.95)},
    healthy=HealthyHeight(position=1),
    native_id="Hopper-v5",
)
"""Contexts of Hopper-v5."""
