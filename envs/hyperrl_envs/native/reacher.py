"""Reacher-v5, after `gymnasium.envs.mujoco.reacher_v5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.native.model import named
from hyperrl_envs.native.task import Array, Batch, Outcome, Task, joined, never, norm, square_sum, weighted

_JOINTS = 2
_RADIUS = 0.2  # Of the disc in which the target lies, in metres.


@dataclass(frozen=True, kw_only=True)
class Reacher(Task):
    """Move the tip of an arm to a place in the plane; episodes end by time alone.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    xml_file: str = "reacher.xml"
    frame_skip: int = 2
    reward_dist_weight: float = 1
    reward_control_weight: float = 1

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return positions, velocities and the places of tip and target, see `Task.views`."""
        places = {name: named(data.body, "body", name).xpos for name in ("fingertip", "target")}
        return {**super().views(model, data), **places}

    def observation(self, batch: Batch) -> Array:
        """Return the arm's angles as cosines and sines, the target, velocities and the way to go."""
        angles = np.ascontiguousarray(batch["qpos"][:, :_JOINTS])
        way = (batch["fingertip"] - batch["target"])[:, :2]
        target = batch["qpos"][:, _JOINTS:]
        return joined((np.cos(angles), np.sin(angles), target, batch["qvel"][:, :_JOINTS], way))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward closeness, less the cost of control; see `Task.outcome`."""
        distance = -norm(after["fingertip"] - after["target"]) * self.reward_dist_weight
        control = weighted(self.reward_control_weight, -square_sum(actions))
        terms = {"reward_dist": distance, "reward_ctrl": control}
        return Outcome(distance + control, never(after), terms)

    def draw(self, generator: np.random.Generator, qpos0: Array, qvel0: Array) -> tuple[Array, Array]:
        """Draw the arm's positions, a target within the disc, then velocities; see `Task.draw`."""
        qpos = generator.uniform(low=-0.1, high=0.1, size=len(qpos0)) + qpos0
        while True:
            goal = generator.uniform(low=-_RADIUS, high=_RADIUS, size=2)
            if np.linalg.norm(goal) < _RADIUS:
                break
        qpos[-2:] = goal
        qvel = qvel0 + generator.uniform(low=-0.005, high=0.005, size=len(qvel0))
        qvel[-2:] = 0
        return qpos, qvel
