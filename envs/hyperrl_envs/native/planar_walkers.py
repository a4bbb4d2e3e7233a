"""Hopper-v5 and Walker2d-v5, after `gymnasium.envs.mujoco.hopper_v5` and `walker2d_v5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.native.locomotion import Locomotion, speed, within
from hyperrl_envs.native.task import Array, Batch, Outcome, joined

_FASTEST = 10.0  # Velocities are clipped to this in the observation, in m/s and rad/s.


@dataclass(frozen=True, kw_only=True)
class PlanarWalker(Locomotion):
    """A body in a plane that must stay upright."""

    ctrl_cost_weight: float = 1e-3
    reset_noise_scale: float = 5e-3
    frame_skip: int = 4
    healthy_reward: float = 1.0
    terminate_when_unhealthy: bool = True
    healthy_z_range: tuple[float, float]
    healthy_angle_range: tuple[float, float]

    def healthy(self, batch: Batch) -> NDArray[np.bool_]:
        """Return whether height and angle of the torso are within their ranges, shape [n]."""
        upright = within(batch["qpos"][:, 1], self.healthy_z_range)
        return upright & within(batch["qpos"][:, 2], self.healthy_angle_range)

    def observation(self, batch: Batch) -> Array:
        """Return positions and clipped velocities, see `Task.observation`."""
        return joined((self.seen_positions(batch), np.clip(batch["qvel"], -_FASTEST, _FASTEST)))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward velocity and staying upright, less the cost of control; see `Task.outcome`."""
        velocity = speed(before["qpos"][:, 0], after["qpos"][:, 0], after["dt"])
        forward = self.forward_reward_weight * velocity
        cost = self.control_cost(actions)
        healthy = self.healthy(after)
        survive = healthy * self.healthy_reward
        terms = {
            **self.reset_terms(after),
            "x_velocity": velocity,
            "reward_forward": forward,
            "reward_ctrl": -cost,
            "reward_survive": survive,
        }
        return Outcome(forward + survive - cost, ~healthy & self.terminate_when_unhealthy, terms)

    def reset_terms(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Return the position and the height above the start, see `Task.reset_terms`."""
        qpos = batch["qpos"]
        return {"x_position": qpos[:, 0], "z_distance_from_origin": qpos[:, 1] - batch["qpos0"][:, 1]}


@dataclass(frozen=True, kw_only=True)
class Hopper(PlanarWalker):
    """Hop forward on one leg without falling.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    xml_file: str = "hopper.xml"
    healthy_state_range: tuple[float, float] = (-100.0, 100.0)
    healthy_z_range: tuple[float, float] = (0.7, float("inf"))
    healthy_angle_range: tuple[float, float] = (-0.2, 0.2)

    def healthy(self, batch: Batch) -> NDArray[np.bool_]:
        """Return whether torso and all other coordinates are within their ranges, shape [n]."""
        others = within(batch["qpos"][:, 2:], self.healthy_state_range).all(axis=1)
        moving = within(batch["qvel"], self.healthy_state_range).all(axis=1)
        return super().healthy(batch) & np.asarray(others & moving)


@dataclass(frozen=True, kw_only=True)
class Walker2d(PlanarWalker):
    """Walk forward in the plane on two legs without falling.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    xml_file: str = "walker2d_v5.xml"
    healthy_z_range: tuple[float, float] = (0.8, 2.0)
    healthy_angle_range: tuple[float, float] = (-1.0, 1.0)
