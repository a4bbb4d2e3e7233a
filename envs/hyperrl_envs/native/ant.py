"""Ant-v5, after `gymnasium.envs.mujoco.ant_v5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.native.locomotion import Locomotion, planar_terms, speed
from hyperrl_envs.native.model import named
from hyperrl_envs.native.task import Array, Batch, Outcome, joined, square_sum


@dataclass(frozen=True, kw_only=True)
class Ant(Locomotion):
    """Run forward on four legs.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    normal_velocities: ClassVar[bool] = True
    positions: ClassVar[int] = 2

    xml_file: str = "ant.xml"
    frame_skip: int = 5
    ctrl_cost_weight: float = 0.5
    contact_cost_weight: float = 5e-4
    healthy_reward: float = 1.0
    main_body: int | str = 1
    terminate_when_unhealthy: bool = True
    healthy_z_range: tuple[float, float] = (0.2, 1.0)
    contact_force_range: tuple[float, float] = (-1.0, 1.0)
    reset_noise_scale: float = 0.1
    include_cfrc_ext_in_observation: bool = True

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return positions, velocities, the main body's place and the contact forces, see `Task.views`."""
        place = named(data.body, "body", self.main_body).xpos[:2]
        return {**super().views(model, data), "place": place, "cfrc_ext": data.cfrc_ext}

    def observation(self, batch: Batch) -> Array:
        """Return positions, velocities and the clipped contact forces, see `Task.observation`."""
        parts = [self.seen_positions(batch), batch["qvel"]]
        if self.include_cfrc_ext_in_observation:
            parts.append(np.clip(batch["cfrc_ext"][:, 1:], *self.contact_force_range))
        return joined(parts)

    def healthy(self, batch: Batch) -> NDArray[np.bool_]:
        """Return whether the height is within its range and all is finite, shape [n]."""
        low, high = self.healthy_z_range
        height = batch["qpos"][:, 2]
        finite = np.isfinite(batch["qpos"]).all(axis=1) & np.isfinite(batch["qvel"]).all(axis=1)
        return np.asarray(finite & (low <= height) & (height <= high))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward velocity and staying upright, less the costs of control and contact; see `Task.outcome`."""
        x_velocity, y_velocity = (
            speed(before["place"][:, axis], after["place"][:, axis], after["dt"]) for axis in (0, 1)
        )
        forward = x_velocity * self.forward_reward_weight
        control = self.control_cost(actions)
        contact = self.contact_cost_weight * square_sum(np.clip(after["cfrc_ext"], *self.contact_force_range))
        healthy = self.healthy(after)
        survive = healthy * self.healthy_reward
        terms = {
            **planar_terms(after),
            "x_velocity": x_velocity,
            "y_velocity": y_velocity,
            "reward_forward": forward,
            "reward_ctrl": -control,
            "reward_contact": -contact,
            "reward_survive": survive,
        }
        rewards = forward + survive - (control + contact)
        return Outcome(rewards, ~healthy & self.terminate_when_unhealthy, terms)

    def reset_terms(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Return the place in the plane, see `Task.reset_terms`."""
        return planar_terms(batch)
