"""The tasks of poles on a cart: InvertedPendulum and InvertedDoublePendulum."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from hyperrl.errors import ConfigError
from hyperrl_envs.native.pendulums import InvertedDoublePendulum, InvertedPendulum
from hyperrl_envs.warp.judge import Batch, NoisyStartJudge, Outcome, joined

_LARGEST_ANGLE = 0.2  # Of the single pole, in radians.
_LOWEST_TIP = 1.0  # Of the upper pole, in metres.
_LIMIT = 10.0  # Of velocities and of the constraint force in the observation.


class InvertedPendulumJudge(NoisyStartJudge[InvertedPendulum]):
    """InvertedPendulum-v5."""

    def observation(self, batch: Batch) -> Tensor:
        """Return positions and velocities, see `Judge.observation`."""
        return joined((batch["qpos"], batch["qvel"]))

    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Reward every step that leaves the pole upright; see `Judge.outcome`."""
        finite = self.observation(after).isfinite().all(dim=1)
        terminated = ~finite | (after["qpos"][:, 1].abs() > _LARGEST_ANGLE)
        return Outcome((~terminated).float(), terminated)


class InvertedDoublePendulumJudge(NoisyStartJudge[InvertedDoublePendulum]):
    """InvertedDoublePendulum-v5."""

    reads: ClassVar[tuple[str, ...]] = ("qpos", "qvel", "qfrc_constraint", "site_xpos")
    settles: ClassVar[bool] = True

    def __init__(self, task: InvertedDoublePendulum, model: Any, device: torch.device) -> None:
        super().__init__(task, model, device)
        if not model.nsite:
            raise ConfigError("the model of InvertedDoublePendulum-v5 needs a site at the tip of its poles")

    def observation(self, batch: Batch) -> Tensor:
        """Return the cart's place, sines and cosines of angles, velocities and the force on the cart."""
        place, angles = batch["qpos"].split([1, len(self.qpos0) - 1], dim=1)
        limited = joined((batch["qvel"], batch["qfrc_constraint"][:, :1])).clamp(-_LIMIT, _LIMIT)
        return joined((place, angles.sin(), angles.cos(), limited))

    def outcome(self, before: Tensor, after: Batch, actions: Tensor) -> Outcome:
        """Reward a high tip, less penalties of distance and velocity; see `Judge.outcome`."""
        tip, velocities = after["site_xpos"][:, 0], after["qvel"]
        terminated = tip[:, 2] <= _LOWEST_TIP
        distance = 0.01 * tip[:, 0].square() + (tip[:, 2] - 2.0).square()
        velocity = 1e-3 * velocities[:, 1].square() + 5e-3 * velocities[:, 2].square()
        alive = float(self.task.healthy_reward) * ~terminated
        return Outcome(alive - distance - velocity, terminated)
