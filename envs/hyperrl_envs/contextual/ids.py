"""The ids of the contextual tasks; knowing them loads nothing."""

from __future__ import annotations

SUITES = {
    "hyperrl/CheetahRun-v0": ("suites.cheetah:SUITE", 1000),
    "hyperrl/ContextualAnt-v0": ("suites.ant:SUITE", 1000),
    "hyperrl/ContextualCartPole-v0": ("suites.cart_pole:SUITE", 500),
    "hyperrl/ContextualHalfCheetah-v0": ("suites.half_cheetah:SUITE", 1000),
    "hyperrl/ContextualHopper-v0": ("suites.hopper:SUITE", 1000),
    "hyperrl/ContextualODE-v0": ("suites.ode:SUITE", 200),
    "hyperrl/ContextualQuadrotor-v0": ("suites.quadrotor:SUITE", 500),
    "hyperrl/ContextualWalker2d-v0": ("suites.walker2d:SUITE", 1000),
    "hyperrl/FingerSpin-v0": ("suites.finger:SUITE", 1000),
    "hyperrl/WalkerWalk-v0": ("suites.walker:SUITE", 1000),
}
"""Tasks of generalisation: where in `hyperrl_envs.contextual` the suite is, and the steps of an episode."""

META = {
    "hyperrl/AntDir-v0": ("meta.goals:ANT_DIR", 200),
    "hyperrl/AntDirLegacy-v0": ("meta.goals:ANT_DIR_LEGACY", 200),
    "hyperrl/AntGoal-v0": ("meta.goals:ANT_GOAL", 200),
    "hyperrl/AntPos-v0": ("meta.goals:ANT_POS", 200),
    "hyperrl/AntVel-v0": ("meta.goals:ANT_VEL", 200),
    "hyperrl/HalfCheetahDir-v0": ("meta.cheetah:DIRECTION", 200),
    "hyperrl/HalfCheetahVel-v0": ("meta.cheetah:VELOCITY", 200),
    "hyperrl/HalfCheetahVelMedium-v0": ("meta.cheetah:VELOCITY_MEDIUM", 200),
    "hyperrl/HopperRandParams-v0": ("meta.rand_params:HOPPER", 200),
    "hyperrl/HumanoidDir-v0": ("meta.goals:HUMANOID_DIR", 200),
    "hyperrl/Navigation2D-v0": ("meta.navigation:DENSE", 100),
    "hyperrl/SparseNavigation2D-v0": ("meta.navigation:SPARSE", 20),
    "hyperrl/Walker2dRandParams-v0": ("meta.rand_params:WALKER2D", 200),
}
"""The same of the task distributions of meta-learning."""

CONTEXTUAL = {**SUITES, **META}
"""The same of all contextual tasks."""
