"""Which contextual tasks can be stepped natively; knowing it loads nothing."""

from __future__ import annotations

SUPPORTED = (
    "hyperrl/CheetahRun-v0",
    "hyperrl/ContextualAnt-v0",
    "hyperrl/ContextualHalfCheetah-v0",
    "hyperrl/ContextualHopper-v0",
    "hyperrl/ContextualQuadrotor-v0",
    "hyperrl/ContextualWalker2d-v0",
    "hyperrl/FingerSpin-v0",
    "hyperrl/WalkerWalk-v0",
)
"""Ids of the contextual tasks that can be stepped natively."""


def supports(env_id: str) -> bool:
    """Return whether the contextual environments of this id can be stepped natively.

    Args:
        env_id: A Gymnasium id.
    """
    return env_id in SUPPORTED
