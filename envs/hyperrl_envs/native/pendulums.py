"""InvertedPendulum-v5 and InvertedDoublePendulum-v5, after the modules of the same names in Gymnasium."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperrl.errors import ConfigError
from hyperrl_envs.native.task import Array, Batch, NoisyStart, Outcome, joined, squared

_LARGEST_ANGLE = 0.2  # Of the single pole, in radians.
_LOWEST_TIP = 1.0  # Of the upper pole, in metres.
_LIMIT = 10.0  # Of velocities and of the constraint force in the observation.


@dataclass(frozen=True, kw_only=True)
class InvertedPendulum(NoisyStart):
    """Balance a pole on a cart.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    xml_file: str = "inverted_pendulum.xml"
    frame_skip: int = 2
    reset_noise_scale: float = 0.01

    def observation(self, batch: Batch) -> Array:
        """Return positions and velocities, see `Task.observation`."""
        return joined((batch["qpos"], batch["qvel"]))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward every step that leaves the pole upright; see `Task.outcome`."""
        finite = np.isfinite(after["qpos"]).all(axis=1) & np.isfinite(after["qvel"]).all(axis=1)
        terminated = np.asarray(~finite | (np.abs(after["qpos"][:, 1]) > _LARGEST_ANGLE))
        rewards = (~terminated).astype(np.float64)
        return Outcome(rewards, terminated, {"reward_survive": rewards})


@dataclass(frozen=True, kw_only=True)
class InvertedDoublePendulum(NoisyStart):
    """Balance two poles on a cart, one upon the other.

    The attributes are the keyword arguments of Gymnasium's task.
    """

    normal_velocities: ClassVar[bool] = True

    xml_file: str = "inverted_double_pendulum.xml"
    frame_skip: int = 5
    healthy_reward: float = 10.0
    reset_noise_scale: float = 0.1

    def views(self, model: Any, data: Any) -> dict[str, Array]:
        """Return positions, velocities, the constraint forces and the tip's place, see `Task.views`."""
        if not model.nsite:
            raise ConfigError("the model of InvertedDoublePendulum-v5 needs a site at the tip of its poles")
        return {
            **super().views(model, data),
            "force": data.qfrc_constraint[:1],
            "tip": data.site_xpos[0],
        }

    def observation(self, batch: Batch) -> Array:
        """Return the cart's place, sines and cosines of angles, velocities and the force on the cart."""
        angles = np.ascontiguousarray(batch["qpos"][:, 1:])
        velocities = np.clip(batch["qvel"], -_LIMIT, _LIMIT)
        force = np.clip(batch["force"], -_LIMIT, _LIMIT)
        return joined((batch["qpos"][:, :1], np.sin(angles), np.cos(angles), velocities, force))

    def outcome(self, before: Batch, after: Batch, actions: NDArray[Any]) -> Outcome:
        """Reward a high tip, less penalties of distance and velocity; see `Task.outcome`."""
        x, height = after["tip"][:, 0], after["tip"][:, 2]
        terminated = np.asarray(height <= _LOWEST_TIP)
        distance = 0.01 * squared(x) + squared(height - 2)
        velocity = 1e-3 * squared(after["qvel"][:, 1]) + 5e-3 * squared(after["qvel"][:, 2])
        alive = self.healthy_reward * (~terminated).astype(np.float64)
        terms = {"reward_survive": alive, "distance_penalty": -distance, "velocity_penalty": -velocity}
        return Outcome(alive - distance - velocity, terminated, terms)
