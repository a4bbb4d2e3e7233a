"""Ant with contexts."""

from __future__ import annotations

import math

from gymnasium.envs.mujoco.ant_v5 import AntEnv

from hyperrl.context import ContextSpace
from hyperrl_envs.contextual.edits import EDITS, LimbLength
from hyperrl_envs.contextual.healthy import HealthyHeight
from hyperrl_envs.contextual.suites.locomotion import density, dynamics, goals, limb_length, signs
from hyperrl_envs.contextual.suites.suite import Suite

# Each leg by the geoms of its three segments: the last body has no name.
_LEGS = (
    ("aux_1_geom", "left_leg_geom", "left_ankle_geom"),
    ("aux_2_geom", "right_leg_geom", "right_ankle_geom"),
    ("aux_3_geom", "back_leg_geom", "third_ankle_geom"),
    ("aux_4_geom", "rightback_leg_geom", "fourth_ankle_geom"),
)

SUITE = Suite(
    env_id="hyperrl/ContextualAnt-v0",
    make_base=AntEnv,
    params=ContextSpace(
        (
            *dynamics(armature=True),
            density(5.0, 0.5, 100.0, (5.0, 75.0), log=True),
            limb_length([segment for leg in _LEGS for segment in leg]),
            *signs({f"sign_leg_{leg}": (f"hip_{leg}", f"ankle_{leg}") for leg in range(1, 5)}),
            *goals(3.0, (0.5, 2.0)),
        )
    ),
    default=("motor_strength", "gravity"),
    # The last segments, 0.4 sqrt(2) m long, hang at least 30 degrees downwards.
    edits={**EDITS, "limb_length": LimbLength(rise=0.4 * math.sqrt(2) * math.sin(math.radians(30)))},
    healthy=HealthyHeight(position=2, is_scaled=False),
    native_id="Ant-v5",
)
"""Contexts of Ant-v5. With an armature of 1 at every joint its mass of 0.9 kg matters little; the densities
are those of the Decision Adapter (Beukman et al., NeurIPS 2023), trained from 5 to 75 kg/m^3."""
