"""The suites of HyperZero's families: grids of signed speeds and of lengths, of which some are tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextParam, ContextSpace
from hyperrl_envs.contextual.families.tasks import speed_reward
from hyperrl_envs.contextual.recompiling import Edit
from hyperrl_envs.contextual.rewards import Array, Reward, Terms
from hyperrl_envs.contextual.suites.suite import Plan, Suite


@dataclass(frozen=True)
class FamilySuite(Suite):
    """A suite whose tasks lie on a grid; unless told otherwise 15 % of them are tests, as in HyperZero.

    Attributes:
        lengths: How many lengths the published grid has, 0.01 m apart; speeds have their own steps.
    """

    lengths: int = 41

    def plan(self, *, split: str = "tasks", grid: int | None = None, **arguments: Any) -> Plan:
        """Work out what keyword arguments mean, see `Suite.plan`.

        Args:
            split: See there; by default single tasks of the grid.
            grid: See there; by default the published number of lengths.
            **arguments: The others, see there.
        """
        return super().plan(split=split, grid=self.lengths if grid is None else grid, **arguments)


def family(
    env_id: str,
    make_base: Callable[..., gym.Env[Any, Any]],
    speed: ContextParam,
    length: ContextParam,
    set_length: Edit,
    reward: Reward | None = None,
) -> FamilySuite:
    """Return the suite of one family.

    Args:
        env_id: Its id.
        make_base: Builds the robot's environment.
        speed: The parameter of the target speed.
        length: The parameter of the length.
        set_length: What a length changes in the robot's specification.
        reward: How a speed is rewarded; by default with `speed_reward` alone.
    """
    return FamilySuite(
        env_id=env_id,
        make_base=make_base,
        params=ContextSpace((speed, length)),
        default=(speed.name,),
        edits={"length": set_length},
        lengths=round((length.high - length.low) / 0.01) + 1,
        rewards={"speed": reward or Reward(_speed, {"target": speed.default}, ("speed",))},
        native_id=env_id,
    )


def speed_param(greatest: float, step: float, default: float, unit: str, summary: str) -> ContextParam:
    """Return the parameter of a signed target speed: a grid without 0, which would say no direction.

    Args:
        greatest: Of the speeds, in both directions.
        step: Between two of them.
        default: The published target.
        unit: The unit.
        summary: What it is.
    """
    steps = round(greatest / step)
    choices = tuple(step * index for index in range(-steps, steps + 1) if index)
    return ContextParam(
        "speed",
        -greatest,
        greatest,
        default,
        op="set",
        fields=("speed.target",),
        level="reward",
        choices=choices,
        unit=unit,
        summary=summary,
    )


def length_param(low: float, high: float, default: float, summary: str) -> ContextParam:
    """Return the parameter of a length in metres.

    Args:
        low: The least.
        high: The greatest.
        default: The published one.
        summary: What it is.
    """
    return ContextParam(
        "length",
        low,
        high,
        default,
        op="set",
        fields=("length",),
        level="recompile",
        unit="m",
        summary=summary,
    )


def _speed(terms: Terms, rewards: Array, values: Array, actions: NDArray[Any], dt: Array) -> Array:
    """Reward the speed that is asked for, see `speed_reward`."""
    return speed_reward(np.asarray(terms["speed"], np.float64), values[:, 0])
