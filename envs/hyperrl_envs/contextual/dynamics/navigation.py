"""A point that moves to a goal in the plane: the smallest task distribution of meta-learning.

The dense reward is that of MAML (Finn et al., ICML 2017), the sparse one that of PEARL (Rakelly et al., ICML
2019), the goals on the half circle those of PEARL and HypeRL (Sarafian et al., ICML 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hyperrl_envs.contextual.dynamics.system import Advance, Array, System

STEP = 0.1
"""How far a step goes along each axis at most."""

_THERE = 0.01  # So near along both axes the goal is reached.
_RADIUS = 0.2  # Of the circle around the goal in which there is a sparse reward.


class Navigation(System):
    """Move from the origin to a goal: the reward is minus the distance, the end where the goal is reached.

    The state is the place in the plane. An action moves by 0.1 times itself. It ends where both coordinates
    are nearer to the goal's than 0.01.

    Parameters are the goal, on the unit circle at an angle (rad) or anywhere at goal_x and goal_y (both or
    none of them NaN), and how actions move: sign_x and sign_y (-1 turns an axis round) after swap (1
    exchanges the axes).
    """

    nominal: ClassVar[Mapping[str, float]] = {
        "angle": 0.0,
        "goal_x": np.nan,
        "goal_y": np.nan,
        "sign_x": 1.0,
        "sign_y": 1.0,
        "swap": 0.0,
    }
    start: ClassVar[float] = 0.0

    def __init__(self) -> None:
        super().__init__(2, 2)

    @classmethod
    def advance(cls, states: Array, actions: Array, parameters: Mapping[str, Any]) -> Advance:
        """Return what a step of n systems leads to, see `System.advance`."""
        is_swapped = np.asarray(parameters["swap"]) == 1
        along_x = np.where(is_swapped, actions[:, 1], actions[:, 0]) * parameters["sign_x"]
        along_y = np.where(is_swapped, actions[:, 0], actions[:, 1]) * parameters["sign_y"]
        after = np.stack([states[:, 0] + STEP * along_x, states[:, 1] + STEP * along_y], axis=1)
        goal_x = np.where(np.isnan(parameters["goal_x"]), np.cos(parameters["angle"]), parameters["goal_x"])
        goal_y = np.where(np.isnan(parameters["goal_y"]), np.sin(parameters["angle"]), parameters["goal_y"])
        off_x, off_y = after[:, 0] - goal_x, after[:, 1] - goal_y
        distances = np.sqrt(off_x * off_x + off_y * off_y)
        there = (np.abs(off_x) < _THERE) & (np.abs(off_y) < _THERE)
        return cls.judged(after, distances, there)

    @classmethod
    def judged(cls, states: Array, distances: Array, there: Any) -> Advance:
        """Return what states lead to.

        Args:
            states: Shape [n, 2].
            distances: From the goals, shape [n].
            there: Whether goals are reached, shape [n].
        """
        return Advance(states, -distances, there)


class SparseNavigation(Navigation):
    """Find a goal that is felt only nearby: the reward is 1 minus the distance within 0.2, else 0.

    Nothing ends an episode but time: being at the goal goes on being rewarded.
    """

    @classmethod
    def judged(cls, states: Array, distances: Array, there: Any) -> Advance:
        """Return what states lead to, see `Navigation.judged`."""
        rewards = np.where(distances <= _RADIUS, 1 - distances, 0.0)
        return Advance(states, rewards, np.zeros(len(states), bool))
