"""The tasks of arms: Reacher and Pusher."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from hyperrl_envs.native.model import named
from hyperrl_envs.native.pusher import Pusher
from hyperrl_envs.native.reacher import Reacher
from hyperrl_envs.warp.judge import Batch, Judge, Outcome, TaskT, joined, never, norm, square_sum

_REACHER_JOINTS = 2
_RADIUS = 0.2  # Of the disc in which Reacher's target lies, in metres.
_PUSHER_JOINTS = 7
_NEAREST = 0.17  # Pusher's cylinder starts further than this from the goal, in metres.
_SLOWEST = 0.005  # Velocities at the start, in rad/s.
# Each candidate for the cylinder's place is too near with a probability of 0.38, all of them with 1e-27.
_CANDIDATES = 64


class ArmJudge(Judge[TaskT]):
    """A task that reads the places of bodies.

    Attributes:
        bodies: Their names.
    """

    reads: ClassVar[tuple[str, ...]] = ("qpos", "qvel", "xpos")
    settles: ClassVar[bool] = True
    bodies: ClassVar[tuple[str, ...]]

    def __init__(self, task: TaskT, model: Any, device: torch.device) -> None:
        super().__init__(task, model, device)
        self._numbers = [int(named(model.body, "body", name).id) for name in self.bodies]

    def places(self, batch: Batch) -> list[Tensor]:
        """Return where the bodies are, shape [n, 3] each, in metres."""
        return [batch["xpos"][:, number] for number in self._numbers]


class ReacherJudge(ArmJudge[Reacher]):
    """Reacher-v5."""

    bodies: ClassVar[tuple[str, ...]] = ("fingertip", "target")

    def observation(self, batch: Batch) -> Tensor:
        """Return the arm's angles as cosines and sines, the target, velocities and the way to go."""
        angles, target = batch["qpos"].split([_REACHER_JOINTS, len(self.qpos0) - _REACHER_JOINTS], dim=1)
        tip, goal = self.places(batch)
        velocities = batch["qvel"][:, :_REACHER_JOINTS]
        return joined((angles.cos(), angles.sin(), target, velocities, (tip - goal)[:, :2]))

    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Reward closeness, less the cost of control; see `Judge.outcome`."""
        tip, goal = self.places(after)
        distance = self.task.reward_dist_weight * norm(tip - goal)
        return Outcome(-distance - self.task.reward_control_weight * square_sum(actions), never(after))

    def start(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return the arm near its own start and a target anywhere in the disc; see `Judge.start`."""
        count = len(self.qpos0)
        qpos = self.qpos0 + 0.1 * (2.0 * uniforms[:, :count] - 1.0)
        # The last two numbers of the positions become a place that is uniform in the disc.
        radius = _RADIUS * uniforms[:, count - 2].sqrt()
        angle = 2.0 * math.pi * uniforms[:, count - 1]
        qpos[:, -2], qpos[:, -1] = radius * angle.cos(), radius * angle.sin()
        qvel = self.qvel0 + _SLOWEST * (2.0 * uniforms[:, count:] - 1.0)
        qvel[:, -2:] = 0.0
        return qpos, qvel


class PusherJudge(ArmJudge[Pusher]):
    """Pusher-v5."""

    bodies: ClassVar[tuple[str, ...]] = ("tips_arm", "object", "goal")

    def __init__(self, task: Pusher, model: Any, device: torch.device) -> None:
        super().__init__(task, model, device)
        self.draws = int(model.nv) + 2 * _CANDIDATES

    def observation(self, batch: Batch) -> Tensor:
        """Return the arm's positions and velocities and the three places, see `Judge.observation`."""
        arm = (batch["qpos"][:, :_PUSHER_JOINTS], batch["qvel"][:, :_PUSHER_JOINTS])
        return joined((*arm, *self.places(batch)))

    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Reward hand near cylinder and cylinder near goal, less the cost of control; see `Judge.outcome`."""
        hand, cylinder, goal = self.places(after)
        near = self.task.reward_near_weight * norm(cylinder - hand)
        distance = self.task.reward_dist_weight * norm(cylinder - goal)
        control = self.task.reward_control_weight * square_sum(actions)
        return Outcome(-(distance + control + near), never(after))

    def start(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return the arm's own start and a cylinder away from the goal; see `Judge.start`."""
        of_velocities, of_places = uniforms.split([len(self.qvel0), 2 * _CANDIDATES], dim=1)
        x, y = -0.3 * of_places[:, ::2], 0.4 * of_places[:, 1::2] - 0.2
        far = x.square() + y.square() > _NEAREST**2
        # As many tries as it takes, all at once: the first candidate that is far enough away.
        first = far.to(torch.uint8).argmax(dim=1, keepdim=True)
        qpos = self.qpos0.repeat(len(uniforms), 1)
        qpos[:, -4:-2] = torch.cat([x.gather(1, first), y.gather(1, first)], dim=1)
        qpos[:, -2:] = 0.0
        qvel = self.qvel0 + _SLOWEST * (2.0 * of_velocities - 1.0)
        qvel[:, -4:] = 0.0
        return qpos, qvel
