"""Humanoid-v5, after `gymnasium.envs.mujoco.humanoid_v5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperrl_envs.native.locomotion import Locomotion, planar_terms, speed, within
from hyperrl_envs.native.task import Array, Batch, Outcome, joined, square_sum

_ROOT = 6  # Degrees of freedom of the body as a whole, which no actuator moves.


@dataclass(frozen=True, kw_only=True)
class Humanoid(Locomotion):
    """Walk forward on two legs without falling.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    positions: ClassVar[int] = 2

    xml_file: str = "humanoid.xml"
    frame_skip: int = 5
    forward_reward_weight: float = 1.25
    ctrl_cost_weight: float = 0.1
    contact_cost_weight: float = 5e-7
    contact_cost_range: tuple[float, float] = (-np.inf, 10.0)
    healthy_reward: float = 5.0
    terminate_when_unhealthy: bool = True
    healthy_z_range: tuple[float, float] = (1.0, 2.0)
    reset_noise_scale: float = 1e-2
    include_cinert_in_observation: bool = True
    include_cvel_in_observation: bool = True
    include_qfrc_actuator_in_observation: bool = True
    include_cfrc_ext_in_observation: bool = True

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return all that observation and reward read, see `Task.views`."""
        return {
            **super().views(model, data),
            "cinert": data.cinert,
            "cvel": data.cvel,
            "qfrc_actuator": data.qfrc_actuator,
            "cfrc_ext": data.cfrc_ext,
            "ctrl": data.ctrl,
            "xipos": data.xipos,
            "body_mass": model.body_mass,
            "ten_length": data.ten_length,
            "ten_velocity": data.ten_velocity,
        }

    def observation(self, batch: Batch) -> Array:
        """Return positions, velocities, inertias, actuator and contact forces, see `Task.observation`."""
        parts = [self.seen_positions(batch), batch["qvel"]]
        # The first body is the world.
        if self.include_cinert_in_observation:
            parts.append(batch["cinert"][:, 1:])
        if self.include_cvel_in_observation:
            parts.append(batch["cvel"][:, 1:])
        if self.include_qfrc_actuator_in_observation:
            parts.append(batch["qfrc_actuator"][:, _ROOT:])
        if self.include_cfrc_ext_in_observation:
            parts.append(batch["cfrc_ext"][:, 1:])
        return joined(parts)

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward velocity and staying upright, less the costs of control and contact; see `Task.outcome`."""
        start, end = _mass_centre(before), _mass_centre(after)
        x_velocity, y_velocity = (speed(start[:, axis], end[:, axis], after["dt"]) for axis in (0, 1))
        forward = self.forward_reward_weight * x_velocity
        # The controls are the actions in float64.
        control = self.control_cost(after["ctrl"])
        contact = np.clip(self.contact_cost_weight * square_sum(after["cfrc_ext"]), *self.contact_cost_range)
        healthy = within(after["qpos"][:, 2], self.healthy_z_range)
        survive = healthy * self.healthy_reward
        terms = {
            **self.reset_terms(after),
            "x_velocity": x_velocity,
            "y_velocity": y_velocity,
            "reward_survive": survive,
            "reward_forward": forward,
            "reward_ctrl": -control,
            "reward_contact": -contact,
        }
        rewards = forward + survive - (control + contact)
        return Outcome(rewards, ~healthy & self.terminate_when_unhealthy, terms)

    def reset_terms(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Return the place in the plane and the tendons, see `Task.reset_terms`."""
        tendons = {"tendon_length": batch["ten_length"], "tendon_velocity": batch["ten_velocity"]}
        return {**planar_terms(batch), **tendons}


def _mass_centre(batch: Batch) -> Array:
    """Return where the centre of mass is, shape [n, 3], in metres."""
    mass = batch["body_mass"]
    return np.asarray(np.einsum("nb,nbj->nj", mass, batch["xipos"]) / mass.sum(axis=1)[:, None])
