"""The tasks of bodies in space: Ant and Humanoid."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from hyperrl_envs.native.ant import Ant
from hyperrl_envs.native.humanoid import Humanoid
from hyperrl_envs.native.model import named
from hyperrl_envs.warp.judge import Batch, Outcome, joined, square_sum, within
from hyperrl_envs.warp.runners import LocomotionJudge

_ROOT = 6  # Degrees of freedom of the body as a whole, which no actuator moves.


class AntJudge(LocomotionJudge[Ant]):
    """Ant-v5."""

    reads: ClassVar[tuple[str, ...]] = ("qpos", "qvel", "xpos", "cfrc_ext")
    settles: ClassVar[bool] = True

    def __init__(self, task: Ant, model: Any, device: torch.device) -> None:
        super().__init__(task, model, device)
        self._main_body = int(named(model.body, "body", task.main_body).id)

    def observation(self, batch: Batch) -> Tensor:
        """Return positions, velocities and the clipped contact forces, see `Judge.observation`."""
        parts = [self.seen_positions(batch), batch["qvel"]]
        if self.task.include_cfrc_ext_in_observation:
            parts.append(batch["cfrc_ext"][:, 1:].clamp(*self.task.contact_force_range))
        return joined(parts)

    def anchor(self, batch: Batch) -> Tensor:
        """Return the main body's place along x, see `Judge.anchor`."""
        return batch["xpos"][:, self._main_body, :1]

    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Reward velocity and staying upright, less the costs of control and contact; see `Judge.outcome`."""
        forces = after["cfrc_ext"].clamp(*self.task.contact_force_range)
        contact = self.task.contact_cost_weight * square_sum(forces)
        low, high = self.task.healthy_z_range
        height = after["qpos"][:, 2]
        finite = joined((after["qpos"], after["qvel"])).isfinite().all(dim=1)
        healthy = finite & (height >= low) & (height <= high)
        survive = healthy * float(self.task.healthy_reward)
        rewards = self.progress(before, after, actions) + survive - contact
        return Outcome(rewards, ~healthy & self.task.terminate_when_unhealthy)


class HumanoidJudge(LocomotionJudge[Humanoid]):
    """Humanoid-v5, but for the solver."""

    reads: ClassVar[tuple[str, ...]] = (
        "qpos",
        "qvel",
        "xipos",
        "cinert",
        "cvel",
        "qfrc_actuator",
        "cfrc_ext",
    )
    settles: ClassVar[bool] = True

    def __init__(self, task: Humanoid, model: Any, device: torch.device) -> None:
        super().__init__(task, model, device)
        self._shares = torch.tensor(
            model.body_mass / model.body_mass.sum(), dtype=torch.float32, device=device
        )

    def observation(self, batch: Batch) -> Tensor:
        """Return positions, velocities, inertias, actuator and contact forces, see `Judge.observation`."""
        task = self.task
        parts = [self.seen_positions(batch), batch["qvel"]]
        # The first body is the world.
        if task.include_cinert_in_observation:
            parts.append(batch["cinert"][:, 1:])
        if task.include_cvel_in_observation:
            parts.append(batch["cvel"][:, 1:])
        if task.include_qfrc_actuator_in_observation:
            parts.append(batch["qfrc_actuator"][:, _ROOT:])
        if task.include_cfrc_ext_in_observation:
            parts.append(batch["cfrc_ext"][:, 1:])
        return joined(parts)

    def anchor(self, batch: Batch) -> Tensor:
        """Return where the centre of mass is along x, see `Judge.anchor`."""
        return (batch["xipos"][:, :, 0] @ self._shares)[:, None]

    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Reward velocity and staying upright, less the costs of control and contact; see `Judge.outcome`."""
        task = self.task
        contact = (task.contact_cost_weight * square_sum(after["cfrc_ext"])).clamp(*task.contact_cost_range)
        healthy = within(after["qpos"][:, 2], task.healthy_z_range)
        rewards = self.progress(before, after, actions) + healthy * float(task.healthy_reward) - contact
        return Outcome(rewards, ~healthy & task.terminate_when_unhealthy)
