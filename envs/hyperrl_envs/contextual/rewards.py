"""Rewards that contexts choose, as functions of stacked arrays.

A reward replaces what Gymnasium's task gives by what the context asks for. The functions are written row by
row: environment i of a batch has the bits that it has alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl.context import ContextSpace
from hyperrl.errors import ContextError, unknown_name

__all__ = ["REWARDS", "ContextReward", "Reward", "locomotion"]

Array = NDArray[np.float64]
Terms = Mapping[str, NDArray[Any]]
RewardFunction = Callable[[Terms, Array, Array, NDArray[Any], Array], Array]
"""Takes the terms of the task by name (shape [n] each), its rewards [n], the values of the arguments [n, k],
the actions [n, nu] and the seconds of a step [n]; returns rewards [n]."""


@dataclass(frozen=True)
class Reward:
    """A reward function and what it needs.

    Attributes:
        function: The function.
        arguments: Its arguments in the order of their columns, each with the value that leaves the task's own
            reward as it is; NaN where an argument that is absent has no value.
        terms: Names of what it reads of the task's `info`.
    """

    function: RewardFunction
    arguments: Mapping[str, float]
    terms: tuple[str, ...] = ()


def locomotion(terms: Terms, rewards: Array, values: Array, actions: NDArray[Any], dt: Array) -> Array:
    """Reward a direction, a velocity and thrift; whatever else the task rewards stays.

    With the velocity v along x, the direction d (+1 or -1), the control cost c of the task and its weight w,
    the reward for moving forward, which is v, becomes

    - d v, without a target velocity (HalfCheetahDir of Finn et al. 2017, MAML);
    - -abs(d v - v*), with the target v* (HalfCheetahVel of the same);

    and the control cost becomes w c. The task's own c is Gymnasium's: MAML's cheetah has half of it, which is
    ``ctrl_cost_weight=0.05``.

    Args:
        terms: "x_velocity" in m/s, "reward_forward" and "reward_ctrl", shape [n] each.
        rewards: Those of the task, shape [n].
        values: Target velocity in m/s or NaN, direction, and factor of the control cost, shape [n, 3].
        actions: Not used.
        dt: Not used.
    """
    target, direction, weight = values.T
    forward = terms["reward_forward"].astype(np.float64)
    off = -np.abs(direction * terms["x_velocity"] - target)
    wanted = np.where(np.isnan(target), direction * forward, off)
    # Differences that are nought where the context asks for nothing else: then the reward keeps its bits.
    return np.asarray(rewards + (wanted - forward) + (weight - 1.0) * terms["reward_ctrl"], np.float64)


REWARDS: dict[str, Reward] = {
    "locomotion": Reward(
        locomotion,
        {"target_velocity": np.nan, "direction": 1.0, "control_cost": 1.0},
        ("x_velocity", "reward_forward", "reward_ctrl"),
    )
}
"""Rewards by name. A parameter of level "reward" names one and an argument of it: "locomotion.direction"."""


class ContextReward:
    """The rewards that the parameters of a space choose.

    Args:
        space: The contexts; only parameters of level "reward" play a part.
        rewards: The rewards by name.

    Attributes:
        terms: Names of what is read of the task's `info`.
        is_needed: Whether any parameter is of this level.

    Raises:
        ContextError: A parameter does not name one reward and one argument, two name the same, or they name
            different rewards.
        UnknownNameError: There is no such reward or argument.
    """

    def __init__(self, space: ContextSpace, rewards: Mapping[str, Reward] = REWARDS) -> None:
        found = [
            (*_parsed(param.name, param.fields, rewards), column)
            for column, param in enumerate(space)
            if param.level == "reward"
        ]
        self.is_needed = bool(found)
        self._space = space
        names = sorted({name for name, _, _ in found})
        if len(names) > 1:
            raise ContextError(f"a context chooses one reward, this one chooses {' and '.join(names)}")
        if len({argument for _, argument, _ in found}) < len(found):
            raise ContextError("two parameters of the context choose the same argument of the reward")
        self._reward = rewards[names[0]] if names else Reward(_unchanged, {})
        self.terms = self._reward.terms
        arguments = tuple(self._reward.arguments)
        self._base = np.array(tuple(self._reward.arguments.values()))
        self._places = np.array([arguments.index(argument) for _, argument, _ in found], np.int64)
        self._columns = np.array([column for _, _, column in found], np.int64)

    @property
    def default_is_published(self) -> bool:
        """Whether the default context has the reward of the published task."""
        return bool(np.array_equal(self._space.default[self._columns], self._base[self._places]))

    def values(self, contexts: Array) -> Array:
        """Return the arguments that contexts of shape [n, d] choose, shape [n, k]."""
        chosen = np.repeat(self._base[None], len(contexts), axis=0)
        chosen[:, self._places] = contexts[:, self._columns]
        return chosen

    def judge(self, terms: Terms, rewards: Array, values: Array, actions: NDArray[Any], dt: Array) -> Array:
        """Return the rewards that contexts choose.

        Args:
            terms: What the task's `info` holds, by name: shape [n] each.
            rewards: Those of the task, float64 of shape [n].
            values: What `values` returned, shape [n, k].
            actions: Shape [n, nu].
            dt: Seconds of one step, shape [n].

        Returns:
            Float64 of shape [n].

        Raises:
            ContextError: The task has no such term.
        """
        for name in self.terms:
            if name not in terms:
                raise ContextError(f"the reward of this context needs {name}, which the task does not tell")
        return self._reward.function(terms, rewards, values, actions, dt)


def _unchanged(terms: Terms, rewards: Array, values: Array, actions: NDArray[Any], dt: Array) -> Array:
    return rewards


def _parsed(parameter: str, fields: tuple[str, ...], rewards: Mapping[str, Reward]) -> tuple[str, str]:
    name, dot, argument = fields[0].partition(".") if len(fields) == 1 else ("", "", "")
    if not dot:
        raise ContextError(
            f"the context {parameter} must name one reward and its argument, like locomotion.direction"
        )
    if name not in rewards:
        raise unknown_name(f"reward for the context {parameter}", name, rewards)
    if argument not in rewards[name].arguments:
        raise unknown_name(f"argument of the reward {name}", argument, rewards[name].arguments)
    return name, argument
