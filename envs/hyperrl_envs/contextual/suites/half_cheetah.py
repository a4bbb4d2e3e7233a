"""HalfCheetah with contexts."""

from __future__ import annotations

from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv

from hyperrl.context import ContextSpace
from hyperrl_envs.contextual.edits import EDITS, LimbLength
from hyperrl_envs.contextual.suites.locomotion import density, dynamics, goals, limb_length, signs
from hyperrl_envs.contextual.suites.suite import Suite

_JOINTS = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")

SUITE = Suite(
    env_id="hyperrl/ContextualHalfCheetah-v0",
    make_base=HalfCheetahEnv,
    params=ContextSpace(
        (
            *dynamics(),
            density(1000.0, 500.0, 1500.0, (750.0, 1250.0), log=False),
            limb_length(("bthigh", "bshin", "fthigh", "fshin")),
            *signs(
                {
                    "sign_back": _JOINTS[:3],
                    "sign_front": _JOINTS[3:],
                    **{f"sign_{joint}": (joint,) for joint in _JOINTS},
                }
            ),
            *goals(4.0, (0.5, 3.0)),
        )
    ),
    default=("mass", "gravity"),
    # The hind leg reaches lowest: its foot hangs 0.39 m below the hip.
    edits={**EDITS, "limb_length": LimbLength(rise=0.39)},
    native_id="HalfCheetah-v5",
)
"""Contexts of HalfCheetah-v5. Densities are relative: its file scales the mass of the robot to 14 kg, which a
density of 1000 kg/m^3 stands for."""
