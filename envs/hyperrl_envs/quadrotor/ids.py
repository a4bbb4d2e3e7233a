"""The quadrotor's Gymnasium id; knowing it loads nothing."""

from __future__ import annotations

QUADROTOR = "hyperrl/Quadrotor-v0"
"""A Crazyflie 2.1 that hovers or follows a trajectory."""
