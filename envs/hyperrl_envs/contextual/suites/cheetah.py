"""The cheetah of HyperZero, `hyperrl/CheetahRun-v0`."""

from __future__ import annotations

from hyperrl_envs.contextual.families.cheetah import CheetahRun, set_length
from hyperrl_envs.contextual.families.envs import CheetahRunEnv
from hyperrl_envs.contextual.families.suite import family, length_param, speed_param

SUITE = family(
    "hyperrl/CheetahRun-v0",
    CheetahRunEnv,
    speed_param(10.0, 0.5, CheetahRun.target, "m/s", "target speed; backwards where negative"),
    length_param(0.3, 0.7, 0.5, "half the length of the torso; the total mass stays 14 kg"),
    set_length,
)
"""40 speeds from -10 to 10 m/s without 0, and lengths from 0.3 to 0.7 m."""
