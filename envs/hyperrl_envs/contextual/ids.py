"""The ids of the contextual tasks; knowing them loads nothing."""

from __future__ import annotations

CONTEXTUAL = {
    "hyperrl/CheetahRun-v0": ("cheetah", 1000),
    "hyperrl/ContextualAnt-v0": ("ant", 1000),
    "hyperrl/ContextualCartPole-v0": ("cart_pole", 500),
    "hyperrl/ContextualHalfCheetah-v0": ("half_cheetah", 1000),
    "hyperrl/ContextualHopper-v0": ("hopper", 1000),
    "hyperrl/ContextualODE-v0": ("ode", 200),
    "hyperrl/ContextualQuadrotor-v0": ("quadrotor", 500),
    "hyperrl/ContextualWalker2d-v0": ("walker2d", 1000),
    "hyperrl/FingerSpin-v0": ("finger", 1000),
    "hyperrl/WalkerWalk-v0": ("walker", 1000),
}
"""The module in `hyperrl_envs.contextual.suites` with the suite of each id, and the steps of an episode."""
