"""HalfCheetah-v5, after `gymnasium.envs.mujoco.half_cheetah_v5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from hyperrl_envs.native.locomotion import Locomotion, speed
from hyperrl_envs.native.task import Array, Batch, Outcome, joined, never


@dataclass(frozen=True, kw_only=True)
class HalfCheetah(Locomotion):
    """Run forward in the plane on two legs; episodes end by time alone.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    normal_velocities: ClassVar[bool] = True

    xml_file: str = "half_cheetah.xml"
    frame_skip: int = 5
    ctrl_cost_weight: float = 0.1
    reset_noise_scale: float = 0.1

    def observation(self, batch: Batch) -> Array:
        """Return positions and velocities, see `Task.observation`."""
        return joined((self.seen_positions(batch), batch["qvel"]))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward velocity, less the cost of control; see `Task.outcome`."""
        velocity = speed(before["qpos"][:, 0], after["qpos"][:, 0], after["dt"])
        forward = self.forward_reward_weight * velocity
        cost = self.control_cost(actions)
        terms = {
            "x_position": after["qpos"][:, 0],
            "x_velocity": velocity,
            "reward_forward": forward,
            "reward_ctrl": -cost,
        }
        return Outcome(forward - cost, never(after), terms)

    def reset_terms(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Return the position, see `Task.reset_terms`."""
        return {"x_position": batch["qpos"][:, 0]}
