"""The finger of HyperZero, `hyperrl/FingerSpin-v0`."""

from __future__ import annotations

from hyperrl_envs.contextual.families.envs import FingerSpinEnv
from hyperrl_envs.contextual.families.finger import FingerSpin, set_length
from hyperrl_envs.contextual.families.suite import family, length_param, speed_param

SUITE = family(
    "hyperrl/FingerSpin-v0",
    FingerSpinEnv,
    speed_param(15.0, 1.0, FingerSpin.target, "rad/s", "target spin; the other way round where negative"),
    length_param(0.1, 0.4, 0.16, "length of the second link; the spinner goes with it"),
    set_length,
)
"""30 speeds from -15 to 15 rad/s without 0, and lengths from 0.1 to 0.4 m."""
