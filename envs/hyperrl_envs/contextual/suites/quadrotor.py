"""The quadrotor with contexts, `hyperrl/ContextualQuadrotor-v0`.

The numbers of a Crazyflie 2.1 are those of `hyperrl_envs.quadrotor`. Mass and inertia are factors of the
robot without its payload. With several numbers at their ends at once the motors may be too weak to carry it:
the greatest thrust is 1.7 times the published weight.
"""

from __future__ import annotations

from hyperrl.context import ContextParam, ContextSpace
from hyperrl_envs.contextual.loaded_quadrotor import LoadedQuadrotorEnv
from hyperrl_envs.contextual.suites.suite import Suite

_BODY = ("quadrotor",)
_THRUST = ("actuator_gainprm[0]", "actuator_biasprm[0]")

SUITE = Suite(
    env_id="hyperrl/ContextualQuadrotor-v0",
    make_base=LoadedQuadrotorEnv,
    params=ContextSpace(
        (
            ContextParam(
                "mass",
                0.8,
                1.3,
                fields=("body_mass",),
                select=_BODY,
                level="setconst",
                train=(0.9, 1.15),
                summary="factor of the mass",
            ),
            ContextParam(
                "inertia",
                0.6,
                1.6,
                fields=("body_inertia",),
                select=_BODY,
                level="setconst",
                train=(0.8, 1.3),
                summary="factor of the moments of inertia",
            ),
            ContextParam(
                "motor_strength",
                0.75,
                1.25,
                fields=_THRUST,
                train=(0.85, 1.15),
                summary="factor of the thrust of all motors",
            ),
            ContextParam(
                "motor_lag",
                0.5,
                1.6,
                fields=("actuator_dynprm[0]",),
                train=(0.7, 1.3),
                summary="factor of the motors' time constant",
            ),
            ContextParam(
                "payload",
                0.0,
                0.01,
                0.0,
                op="add",
                fields=("body_mass",),
                select=("payload",),
                level="setconst",
                train=(0.0, 0.006),
                unit="kg",
                summary="point mass that hangs 3 cm below the centre",
            ),
        )
    ),
    default=("mass", "motor_strength"),
    native_id="hyperrl/ContextualQuadrotor-v0",
)
"""Contexts of the quadrotor. Positions and velocities are those of the robot's own centre, also where a
payload moves the centre of mass."""
