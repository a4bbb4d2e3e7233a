"""Which tasks can be stepped natively; knowing it loads neither MuJoCo nor Gymnasium's environments."""

from __future__ import annotations

from hyperrl_envs.quadrotor.ids import QUADROTOR

SUPPORTED = (
    "Ant-v5",
    "HalfCheetah-v5",
    "Hopper-v5",
    "Humanoid-v5",
    "InvertedDoublePendulum-v5",
    "InvertedPendulum-v5",
    "Pusher-v5",
    "Reacher-v5",
    "Swimmer-v5",
    "Walker2d-v5",
    QUADROTOR,
)
"""Ids of the tasks that can be stepped natively."""


def supports(env_id: str) -> bool:
    """Return whether the environments of this id can be stepped natively.

    Args:
        env_id: A Gymnasium id.
    """
    return env_id in SUPPORTED
