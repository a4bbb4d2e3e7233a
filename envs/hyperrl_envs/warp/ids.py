"""Which tasks MuJoCo Warp simulates; knowing it loads nothing."""

from __future__ import annotations

from hyperrl.errors import UnsupportedEnvError, nearest_name

HUMANOID_NEWTON = "hyperrl/HumanoidNewton-v5"
"""Humanoid-v5 with MuJoCo's Newton solver in place of PGS, which MuJoCo Warp does not have."""

SUPPORTED = (
    "Ant-v5",
    "HalfCheetah-v5",
    "Hopper-v5",
    "InvertedDoublePendulum-v5",
    "InvertedPendulum-v5",
    "Pusher-v5",
    "Reacher-v5",
    "Swimmer-v5",
    "Walker2d-v5",
    HUMANOID_NEWTON,
)
"""Ids of the tasks that can be simulated with MuJoCo Warp."""


def supports(env_id: str) -> bool:
    """Return whether the environments of this id can be simulated with MuJoCo Warp.

    Args:
        env_id: A Gymnasium id.
    """
    return env_id in SUPPORTED


def check_supported(env_id: str) -> None:
    """Refuse a task that cannot be simulated with MuJoCo Warp.

    Args:
        env_id: A Gymnasium id.

    Raises:
        UnsupportedEnvError: It cannot; the sentence says what can.
    """
    if env_id in SUPPORTED:
        return
    if env_id == "Humanoid-v5":
        raise UnsupportedEnvError(
            "'Humanoid-v5' uses MuJoCo's PGS solver, which MuJoCo Warp does not have: use "
            f"{HUMANOID_NEWTON!r}, the same task with the Newton solver, whose returns are its own"
        )
    nearest = nearest_name(env_id, SUPPORTED, 0.8)
    hint = "" if nearest is None else f", did you mean {nearest!r}?"
    raise UnsupportedEnvError(
        f"{env_id!r} cannot be simulated with MuJoCo Warp{hint} (possible: {', '.join(SUPPORTED)})"
    )
