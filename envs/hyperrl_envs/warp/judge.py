"""What a task is to a batch of simulations on a device: observation, reward, end, start, as torch formulas.

The settings are those of the native tasks, whose keyword arguments and checks are shared; the formulas are
theirs and Gymnasium's, in float32. Nothing here waits for the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from hyperrl_envs.native.task import NoisyStart, Task
from hyperrl_envs.warp.draws import normals

Batch = Mapping[str, Tensor]
TaskT = TypeVar("TaskT", bound=Task)
NoisyT = TypeVar("NoisyT", bound=NoisyStart)


class Outcome(NamedTuple):
    """What one step of n environments leads to.

    Attributes:
        rewards: Float32 of shape [n].
        terminated: Booleans of shape [n].
    """

    rewards: Tensor
    terminated: Tensor


class Judge(ABC, Generic[TaskT]):
    """The formulas of one task.

    A batch holds, by name and with one row for each environment, what the last step left in the simulation:
    arrays of MuJoCo's names, as views.

    Args:
        task: The settings.
        model: The `mujoco.MjModel`.
        device: Where the formulas are computed.

    Attributes:
        reads: The arrays of the simulation that the formulas read.
        settles: Whether what a new episode begins with has to be computed by a forward pass.
        draws: How many uniform numbers the start of an episode needs.
        dt: Seconds of one step.
    """

    reads: ClassVar[tuple[str, ...]] = ("qpos", "qvel")
    settles: ClassVar[bool] = False

    def __init__(self, task: TaskT, model: Any, device: torch.device) -> None:
        self.task = task
        self.dt = float(model.opt.timestep * task.frame_skip)
        self.qpos0 = torch.tensor(model.qpos0, dtype=torch.float64, device=device)
        self.qvel0 = torch.zeros(model.nv, dtype=torch.float64, device=device)
        self.draws = int(model.nq + model.nv)

    @abstractmethod
    def observation(self, batch: Batch) -> Tensor:
        """Return the observations as a new float32 tensor of shape [n, observation size]."""

    @abstractmethod
    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Judge one step.

        Args:
            before: What `anchor` returned before the step.
            after: The batch after it.
            actions: The actions as they were given, float32 of shape [n, nu].
        """

    @abstractmethod
    def start(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return the start of an episode of each environment.

        Args:
            uniforms: Uniform numbers in [0, 1), float64 of shape [n, `draws`].

        Returns:
            Positions of shape [n, nq] and velocities of shape [n, nv], float64.
        """

    def anchor(self, batch: Batch) -> Tensor:
        """Return what velocities are measured from, shape [n, k]; nothing (k = 0) by default."""
        return batch["qpos"][:, :0]


class NoisyStartJudge(Judge[NoisyT]):
    """A task whose episodes begin near the model's own start."""

    def start(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Add noise to the model's own start, see `Judge.start`."""
        scale = float(self.task.reset_noise_scale)
        of_positions, of_velocities = uniforms.split([len(self.qpos0), len(self.qvel0)], dim=1)
        normal = self.task.normal_velocities
        velocity_noise = normals(of_velocities) if normal else 2.0 * of_velocities - 1.0
        return self.qpos0 + scale * (2.0 * of_positions - 1.0), self.qvel0 + scale * velocity_noise


def never(batch: Batch) -> Tensor:
    """Return that no environment has terminated, shape [n]."""
    qpos = batch["qpos"]
    return torch.zeros(len(qpos), dtype=torch.bool, device=qpos.device)


def norm(rows: Tensor) -> Tensor:
    """Return the Euclidean norm of each row of [n, k]."""
    return rows.square().sum(dim=1).sqrt()


def square_sum(rows: Tensor) -> Tensor:
    """Return the sum of squares of each row of [n, ...]."""
    return rows.square().flatten(1).sum(dim=1)


def within(values: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return whether values lie strictly between two bounds; NaN does not."""
    return (values > bounds[0]) & (values < bounds[1])


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return tensors of shape [n, ...] side by side, as a new one of shape [n, size]."""
    return torch.cat([part.flatten(1) for part in parts], dim=1)
