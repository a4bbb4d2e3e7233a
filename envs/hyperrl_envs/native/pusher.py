"""Pusher-v5, after `gymnasium.envs.mujoco.pusher_v5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.native.model import named
from hyperrl_envs.native.task import Array, Batch, Outcome, Task, joined, never, norm, square_sum, weighted

_JOINTS = 7
_BODIES = ("tips_arm", "object", "goal")
_NEAREST = 0.17  # The cylinder starts further than this from the goal, in metres.


@dataclass(frozen=True, kw_only=True)
class Pusher(Task):
    """Push a cylinder to a place with an arm; episodes end by time alone.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    xml_file: str = "pusher_v5.xml"
    frame_skip: int = 5
    reward_near_weight: float = 0.5
    reward_dist_weight: float = 1
    reward_control_weight: float = 0.1

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return positions, velocities and the places of hand, cylinder and goal, see `Task.views`."""
        return {
            **super().views(model, data),
            **{name: named(data.body, "body", name).xpos for name in _BODIES},
        }

    def observation(self, batch: Batch) -> Array:
        """Return the arm's positions and velocities and the three places, see `Task.observation`."""
        arm = (batch["qpos"][:, :_JOINTS], batch["qvel"][:, :_JOINTS])
        return joined((*arm, *(batch[name] for name in _BODIES)))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward hand near cylinder and cylinder near goal, less the cost of control; see `Task.outcome`."""
        near = -norm(after["object"] - after["tips_arm"]) * self.reward_near_weight
        distance = -norm(after["object"] - after["goal"]) * self.reward_dist_weight
        control = weighted(self.reward_control_weight, -square_sum(actions))
        terms = {"reward_dist": distance, "reward_ctrl": control, "reward_near": near}
        return Outcome(distance + control + near, never(after), terms)

    def draw(self, generator: np.random.Generator, qpos0: Array, qvel0: Array) -> tuple[Array, Array]:
        """Draw the cylinder's place away from the goal, then velocities; see `Task.draw`."""
        qpos = qpos0.copy()
        while True:
            x, y = generator.uniform(low=-0.3, high=0, size=1), generator.uniform(low=-0.2, high=0.2, size=1)
            cylinder = np.concatenate([x, y])
            if np.linalg.norm(cylinder) > _NEAREST:
                break
        qpos[-4:-2] = cylinder
        qpos[-2:] = 0
        qvel = qvel0 + generator.uniform(low=-0.005, high=0.005, size=len(qvel0))
        qvel[-4:] = 0
        return qpos, qvel
