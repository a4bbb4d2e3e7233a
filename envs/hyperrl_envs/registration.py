"""Making all environments of this package known to Gymnasium."""

from __future__ import annotations

from hyperrl_envs.contextual.registration import register_contextual
from hyperrl_envs.quadrotor.registration import register_quadrotor
from hyperrl_envs.warp.registration import register_variants


def register() -> None:
    """Make the environments known to `gymnasium.make`; doing it again changes nothing."""
    register_quadrotor()
    register_variants()
    register_contextual()
