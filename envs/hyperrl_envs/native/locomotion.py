"""What the tasks have in common that are rewarded for moving forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.native.task import Array, Batch, NoisyStart, norm, square_sum, weighted


@dataclass(frozen=True, kw_only=True)
class Locomotion(NoisyStart):
    """A task with a reward for velocity and a cost of control.

    Attributes:
        positions: How many of the first positions say where the body is in the world.
        forward_reward_weight: Weight of the velocity along x, in 1 / (m/s).
        ctrl_cost_weight: Weight of the sum of squared actions.
        exclude_current_positions_from_observation: Whether the first `positions` are left out.
    """

    positions: ClassVar[int] = 1

    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float
    exclude_current_positions_from_observation: bool = True

    def seen_positions(self, batch: Batch) -> Array:
        """Return the positions that are part of the observation, shape [n, at most nq]."""
        first = self.positions if self.exclude_current_positions_from_observation else 0
        return batch["qpos"][:, first:]

    def control_cost(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Return the cost of [n, nu] actions, shape [n], in the actions' precision."""
        return weighted(self.ctrl_cost_weight, square_sum(actions))


def speed(before: Array, after: Array, dt: Array) -> Array:
    """Return the velocity from positions of shape [n] in metres and `dt` in seconds."""
    return (after - before) / dt


def planar_terms(batch: Batch) -> dict[str, NDArray[Any]]:
    """Return where bodies are in the horizontal plane, from the first two positions."""
    place = batch["qpos"][:, :2]
    return {"x_position": place[:, 0], "y_position": place[:, 1], "distance_from_origin": norm(place)}


def within(values: Array, bounds: tuple[float, float]) -> NDArray[np.bool_]:
    """Return whether values lie strictly between two bounds; NaN does not."""
    low, high = bounds
    return np.asarray((low < values) & (values < high))
