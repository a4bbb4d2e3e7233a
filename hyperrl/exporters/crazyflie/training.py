"""What a policy of `hyperrl/Quadrotor-v0` was trained for, as a flying controller has to know it."""

from __future__ import annotations

import numpy as np

from hyperrl.errors import ExportError
from hyperrl.exporters.base import Artefact

_AXES = "xyz"
OBSERVATION_NAMES = (
    *(f"position_error_{axis}" for axis in _AXES),
    *(f"velocity_error_{axis}" for axis in _AXES),
    *(f"rotation_{row}{column}" for row in _AXES for column in _AXES),
    *(f"angular_rate_{axis}" for axis in _AXES),
)
OBSERVATION_UNITS = ("m",) * 3 + ("m/s",) * 3 + ("1",) * 9 + ("rad/s",) * 3
ACTION_NAMES = ("thrust_m1", "thrust_m2", "thrust_m3", "thrust_m4")

MOTOR_THRUST = 0.1125
"""Thrust of one motor at the action 1, in N."""
STABILISER_RATE = 1000
"""Calls of the firmware's controller in a second."""

POSITION_LIMIT = 1.5
"""Position error along an axis, in m, beyond which an episode ends."""
SPEED_LIMIT = 5.0
"""Velocity error, in m/s, beyond which an episode ends."""
RATE_LIMIT = 34.9
"""Angular rate, in rad/s, beyond which an episode ends."""

# Episodes begin within 0.5 m and 0.6 rad of the setpoint, and a trained policy hardly leaves it any farther:
# in 99 of 100 episodes of PPO with 16 neurons the largest errors along an axis stayed below 0.64 m and 2 m/s,
# that of the heading below 0.8 rad. Shown these at most, that policy flew to setpoints 1.4 m away along all
# axes and turned to any heading; shown 1.5 m and half a turn it tipped over.
POSITION_CLIP = 0.6
"""Largest position error along an axis, in m, that the policy is shown."""
VELOCITY_CLIP = 2.5
"""Largest velocity error along an axis, in m/s, that the policy is shown."""
HEADING_CLIP = 0.8
"""Largest heading error, in rad, that the policy is shown."""


def check_quadrotor(artefact: Artefact) -> None:
    """Refuse a policy that was not trained for the quadrotor.

    Args:
        artefact: What is to be exported.

    Raises:
        ExportError: Its observations, actions or control period are not those of the quadrotor.
    """
    interface, head = artefact.interface, artefact.policy.head
    if (
        interface.observation_names != OBSERVATION_NAMES
        or interface.observation_units != OBSERVATION_UNITS
        or interface.action_names != ACTION_NAMES
    ):
        raise ExportError(
            "the format crazyflie is for policies of hyperrl/Quadrotor-v0, whose "
            f"{len(OBSERVATION_NAMES)} observations and {len(ACTION_NAMES)} thrusts the firmware can give "
            f"and take: this policy has {artefact.policy.sizes[0]} observations and "
            f"{artefact.policy.sizes[-1]} actions of other names or units, export it as c99"
        )
    if interface.wrappers:
        raise ExportError(
            f"the controller of the format crazyflie does not do what the wrapper {interface.wrappers[0]} "
            "did to observations or actions in training: train without it"
        )
    if head.bound == "none" or not (np.all(head.low == -1) and np.all(head.high == 1)):
        raise ExportError(
            "the format crazyflie needs actions that are bounded to -1 and 1, as the quadrotor's"
        )
    period = interface.control_period
    calls = 0.0 if period is None else period * STABILISER_RATE
    if round(calls) < 1 or abs(calls - round(calls)) > 1e-6 * calls:
        given = "an unknown time" if period is None else f"{1000 * period:g} ms"
        raise ExportError(
            f"the firmware's loop runs every {1000 / STABILISER_RATE:g} ms, so the policy has to act every "
            f"so many whole milliseconds, and this one acts every {given}: choose another frame_skip"
        )
