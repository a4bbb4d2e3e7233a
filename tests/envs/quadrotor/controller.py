"""A controller made by hand from the published numbers alone: the truth on signs and the order of motors."""

from __future__ import annotations

import numpy as np

MASS = 0.027  # Take-off weight of the data sheet.
GRAVITY = 9.81
INERTIA = np.array([16.571710e-6, 16.655602e-6, 29.261652e-6])  # Förster 2015.
ARM = 0.046 / np.sqrt(2)  # ARM_LENGTH of the firmware, along x and y.
TORQUE = 0.005964552  # THRUST2TORQUE
THRUST = 0.1125  # THRUST_MAX
TIME_CONSTANT = -0.002 / np.log(0.9695404)  # Förster's pole at 500 Hz.

# Signs of the torques about x, y and z in M1 to M4, as in the firmware's powerDistributionForceTorque.
ROLL, PITCH, YAW = np.array([-1, -1, 1, 1]), np.array([-1, 1, 1, -1]), np.array([-1, 1, -1, 1])


def forces(thrust, torque):
    """Thrusts of M1 to M4 that together give a thrust and a torque, as the firmware distributes them."""
    x, y, z = torque
    return 0.25 * (thrust + ROLL * x / ARM + PITCH * y / ARM + YAW * z / TORQUE)


def control(observation):
    """Actions of a geometric controller, which turns the thrust to the force that is wanted."""
    error, velocity = observation[:3], observation[3:6]
    attitude, rate = observation[6:15].reshape(3, 3), observation[15:]
    force = MASS * (-4.0 * error - 3.5 * velocity + np.array([0, 0, GRAVITY]))
    up = force / np.linalg.norm(force)
    left = np.cross(up, [1, 0, 0])
    left /= np.linalg.norm(left)
    wanted = np.stack([np.cross(left, up), left, up], axis=1)
    twist = (wanted.T @ attitude - attitude.T @ wanted) / 2
    tilt = np.array([twist[2, 1], twist[0, 2], twist[1, 0]])
    torque = INERTIA * (-np.array([60, 60, 20]) * tilt - np.array([12, 12, 8]) * rate)
    return np.clip(forces(force @ attitude[:, 2], torque) / THRUST, 0, 1).astype(np.float32) * 2 - 1
