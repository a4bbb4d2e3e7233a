"""Which contextual tasks can be stepped natively; knowing it loads nothing."""

from __future__ import annotations

SUPPORTED = (
    "hyperrl/AntDir-v0",
    "hyperrl/AntDirLegacy-v0",
    "hyperrl/AntGoal-v0",
    "hyperrl/AntPos-v0",
    "hyperrl/AntVel-v0",
    "hyperrl/CheetahRun-v0",
    "hyperrl/ContextualAnt-v0",
    "hyperrl/ContextualCartPole-v0",
    "hyperrl/ContextualHalfCheetah-v0",
    "hyperrl/ContextualHopper-v0",
    "hyperrl/ContextualODE-v0",
    "hyperrl/ContextualQuadrotor-v0",
    "hyperrl/ContextualWalker2d-v0",
    "hyperrl/FingerSpin-v0",
    "hyperrl/HalfCheetahDir-v0",
    "hyperrl/HalfCheetahVel-v0",
    "hyperrl/HalfCheetahVelMedium-v0",
    "hyperrl/HopperRandParams-v0",
    "hyperrl/HumanoidDir-v0",
    "hyperrl/Navigation2D-v0",
    "hyperrl/SparseNavigation2D-v0",
    "hyperrl/Walker2dRandParams-v0",
    "hyperrl/WalkerWalk-v0",
)
"""Ids of the contextual tasks that can be stepped natively."""


def supports(env_id: str) -> bool:
    """Return whether the contextual environments of this id can be stepped natively.

    Args:
        env_id: A Gymnasium id.
    """
    return env_id in SUPPORTED
