"""Swimmer-v5, after `gymnasium.envs.mujoco.swimmer_v5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from hyperrl_envs.native.locomotion import Locomotion, planar_terms, speed
from hyperrl_envs.native.task import Array, Batch, Outcome, joined, never


@dataclass(frozen=True, kw_only=True)
class Swimmer(Locomotion):
    """Swim forward with three links; episodes end by time alone.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    positions: ClassVar[int] = 2

    xml_file: str = "swimmer.xml"
    frame_skip: int = 4
    ctrl_cost_weight: float = 1e-4
    reset_noise_scale: float = 0.1

    def observation(self, batch: Batch) -> Array:
        """Return positions and velocities, see `Task.observation`."""
        return joined((self.seen_positions(batch), batch["qvel"]))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward velocity, less the cost of control; see `Task.outcome`."""
        x_velocity, y_velocity = (
            speed(before["qpos"][:, axis], after["qpos"][:, axis], after["dt"]) for axis in (0, 1)
        )
        forward = self.forward_reward_weight * x_velocity
        cost = self.control_cost(actions)
        terms = {
            **planar_terms(after),
            "x_velocity": x_velocity,
            "y_velocity": y_velocity,
            "reward_forward": forward,
            "reward_ctrl": -cost,
        }
        return Outcome(forward - cost, never(after), terms)

    def reset_terms(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Return the place in the plane, see `Task.reset_terms`."""
        return planar_terms(batch)
