"""Where the setpoint is: at rest, or on a smooth curve of sines that is drawn for each episode.

Along each axis the setpoint moves as the sum of two sines from the middle of the flight space,
``centre + sum_k amplitude_k (sin(frequency_k time + phase_k) - sin(phase_k))``, a Lissajous figure of random
shape. The numbers lie in `mujoco.MjData.userdata` as [axis, sine, (amplitude, frequency, phase)], so that a
copy of the simulation has its trajectory.
"""

from __future__ import annotations

import numpy as np

from hyperrl_envs.native.task import Array

CENTRE = np.array([0.0, 0.0, 2.0])
"""The middle of the flight space, where setpoints begin, in metres; that of hovering rests there."""

SHAPE = (3, 2, 3)
"""Axes, sines of each, and amplitude (m), frequency (rad/s) and phase (rad) of a sine."""

SIZE = 18
"""Numbers of a trajectory."""

_AMPLITUDES = np.array([[0.1, 0.5], [0.05, 0.2]])  # Bounds of the slow and of the fast sine, in metres.
_FREQUENCIES = np.array([[0.5, 1.2], [1.2, 2.4]])  # Their bounds in rad/s: periods from 2.6 to 12.6 seconds.
_UPRIGHT_SHARE = 0.5  # Amplitudes along z, relative to those along x and y.


def draw_trajectory(generator: np.random.Generator) -> Array:
    """Draw a trajectory: at most 1.08 m/s and 1.88 m/s² along x and along y, half of it along z.

    Args:
        generator: The environment's own.

    Returns:
        The numbers, shape [18].
    """
    sines = np.empty(SHAPE)
    sines[..., 0] = generator.uniform(_AMPLITUDES[:, 0], _AMPLITUDES[:, 1], size=SHAPE[:2])
    sines[2, :, 0] *= _UPRIGHT_SHARE
    sines[..., 1] = generator.uniform(_FREQUENCIES[:, 0], _FREQUENCIES[:, 1], size=SHAPE[:2])
    sines[..., 2] = generator.uniform(-np.pi, np.pi, size=SHAPE[:2])
    return sines.ravel()


def setpoints(numbers: Array, times: Array) -> tuple[Array, Array]:
    """Return where setpoints are and how they move.

    Args:
        numbers: Of trajectories, shape [n, 18]; zeros rest at the centre.
        times: Seconds since the episodes began, shape [n].

    Returns:
        Positions in metres and velocities in m/s, shapes [n, 3], in the world's frame.
    """
    # Contiguous, each: how NumPy computes sines may depend on the stride.
    amplitudes, frequencies, phases = np.moveaxis(numbers.reshape(-1, *SHAPE), -1, 0).copy()
    angles = frequencies * times[:, None, None] + phases
    places = amplitudes * (np.sin(angles) - np.sin(phases))
    speeds = amplitudes * frequencies * np.cos(angles)
    return CENTRE + (places[..., 0] + places[..., 1]), speeds[..., 0] + speeds[..., 1]
