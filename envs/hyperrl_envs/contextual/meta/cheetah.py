"""HalfCheetah to run in a direction or at a velocity, with the observations of MAML's code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hyperrl.context import ContextParam, ContextSpace
from hyperrl_envs.contextual.families.envs import FamilyEnv
from hyperrl_envs.contextual.suites.suite import Suite
from hyperrl_envs.native.half_cheetah import HalfCheetah
from hyperrl_envs.native.model import named
from hyperrl_envs.native.task import Array, Batch, joined

_FASTEST = 3.0  # Of the velocities that are asked for, in m/s.
_FASTEST_TRAINED = 2.5  # Where faster ones are tests.


@dataclass(frozen=True, kw_only=True)
class MetaCheetah(HalfCheetah):
    """HalfCheetah that also sees where it is: all positions but the first, velocities, and its torso's place.

    As in the codes of MAML and PEARL the place (x, y, z in metres) is that of one simulation step before.
    """

    ctrl_cost_weight: float = 0.05

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return positions, velocities and the torso's place, see `Task.views`."""
        return {**super().views(model, data), "torso": named(data.body, "body", "torso").xpos}

    def observation(self, batch: Batch) -> Array:
        """Return positions, velocities and the torso's place, see `Task.observation`."""
        return joined((self.seen_positions(batch), batch["qvel"], batch["torso"]))


class MetaCheetahEnv(FamilyEnv):
    """The cheetah, see `MetaCheetah`; the arguments are its attributes and those of pictures."""

    def __init__(self, *, camera_name: str | None = "track", **kwargs: Any) -> None:
        super().__init__(MetaCheetah, "MetaCheetah", camera_name=camera_name, **kwargs)


def direction() -> ContextParam:
    """Return the direction along x to run in, +1 or -1."""
    return ContextParam(
        "direction",
        -1.0,
        1.0,
        op="set",
        fields=("locomotion.direction",),
        level="reward",
        choices=(-1.0, 1.0),
        summary="direction along x to run in",
    )


def velocity(train: tuple[float, float] | None = None) -> ContextParam:
    """Return the velocity to run at, in m/s.

    Args:
        train: Those of training; all by default.
    """
    return ContextParam(
        "velocity",
        0.0,
        _FASTEST,
        1.5,
        op="set",
        fields=("locomotion.target_velocity",),
        level="reward",
        train=train,
        unit="m/s",
        summary="velocity to be kept",
    )


def _suite(env_id: str, param: ContextParam) -> Suite:
    return Suite(
        env_id=env_id,
        make_base=MetaCheetahEnv,
        params=ContextSpace((param,)),
        default=(param.name,),
        native_id=env_id,
    )


DIRECTION = _suite("hyperrl/HalfCheetahDir-v0", direction())
"""Two tasks, forward and backward: the reward is d v - 0.05 |a|^2."""

VELOCITY = _suite("hyperrl/HalfCheetahVel-v0", velocity())
"""Velocities from 0 to 3 m/s: the reward is -|v - v*| - 0.05 |a|^2. MAML's go to 2:
``ranges={"velocity": [0, 2]}``."""

VELOCITY_MEDIUM = _suite("hyperrl/HalfCheetahVelMedium-v0", velocity((0.0, _FASTEST_TRAINED)))
"""Trained to 2.5 m/s and tested from there to 3, in the test set "extrapolation": contexts are normalised by
the range of training, so that theirs are more than 1."""
