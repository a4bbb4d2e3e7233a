"""Attitudes as MuJoCo's quaternions (w, x, y, z), which turn the body's frame into the world's."""

from __future__ import annotations

import numpy as np

from hyperrl_envs.native.task import Array


def rotation_matrices(quaternions: Array) -> Array:
    """Return the rotation matrices of unit quaternions, row by row.

    Args:
        quaternions: Shape [n, 4].

    Returns:
        Shape [n, 9]; column k of a matrix is the body's axis k in the world's frame.
    """
    w, x, y, z = quaternions.T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([entry for row in rows for entry in row], axis=1)


def draw_attitude(generator: np.random.Generator, tilt: float, heading: float) -> Array:
    """Draw an attitude: a turn about the vertical, then a tilt about a horizontal axis.

    Args:
        generator: The environment's own.
        tilt: Greatest angle from upright, in radians; angles from zero to it have equal chance.
        heading: Greatest angle of the turn, in radians.

    Returns:
        A unit quaternion, shape [4].
    """
    direction = generator.uniform(-np.pi, np.pi)
    half_tilt = generator.uniform(0, tilt) / 2
    half_turn = generator.uniform(-heading, heading) / 2
    # The product of the tilt (cos, sin cos, sin sin, 0) and of the turn (cos, 0, 0, sin).
    along, across = np.sin(half_tilt) * np.cos(direction), np.sin(half_tilt) * np.sin(direction)
    turned, straight = np.sin(half_turn), np.cos(half_turn)
    return np.array(
        [
            np.cos(half_tilt) * straight,
            along * straight + across * turned,
            across * straight - along * turned,
            np.cos(half_tilt) * turned,
        ]
    )
