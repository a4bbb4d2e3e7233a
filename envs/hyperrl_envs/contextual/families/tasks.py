"""What the families have in common: starts, speeds and the reward of a signed target speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from hyperrl.errors import ConfigError
from hyperrl_envs.native.task import Array, Task

ASSETS = Path(__file__).parents[1] / "assets"
"""The folder of the robots' models."""

EPISODE_STEPS = 1000
"""Steps of an episode of each family; nothing else ends it."""

_AT_MARGIN = 0.1  # Reward of standing still.


@dataclass(frozen=True, kw_only=True)
class SpeedTask(Task):
    """A robot that is to reach a speed of a sign and to keep or exceed it.

    Episodes begin at rest, with each of the joints in `drawn` at an angle drawn uniformly from its range, as
    in the DeepMind Control Suite. Bodies do not come to rest first, and poses that touch something are not
    drawn again: the same seed means the same start for robots of every length.

    Attributes:
        target: The speed in m/s or rad/s that is asked for; a negative one asks for the other direction.
        reset_noise_scale: Share of the ranges that starts are drawn from, about their middle.
    """

    drawn: ClassVar[dict[int, tuple[float, float]]]
    """Ranges in radians of the angles that are drawn, by their index among the positions."""

    target: float
    reset_noise_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a target that asks for nothing.

        Raises:
            ConfigError: The target is zero.
        """
        if self.target == 0:
            raise ConfigError("target must not be 0: its sign says which way to go")

    def draw(self, generator: np.random.Generator, qpos0: Array, qvel0: Array) -> tuple[Array, Array]:
        """Draw the joints' angles, see `Task.draw`."""
        qpos = qpos0.copy()
        low, high = np.array(list(self.drawn.values())).T
        drawn = generator.uniform(low, high)
        middle = (low + high) / 2
        qpos[list(self.drawn)] = middle + self.reset_noise_scale * (drawn - middle)
        return qpos, qvel0.copy()


def speed_reward(speeds: Array, targets: ArrayLike) -> Array:
    """Reward speeds of the target's sign: 1 from the target on, below on a line with 0.1 at rest, at least 0.

    This is HyperZero's: `tolerance` of the DeepMind Control Suite with the bounds [|target|, infinity), the
    margin |target|, the sigmoid "linear" and the value 0.1 at the margin, of the speed in the target's
    direction.

    Args:
        speeds: Shape [n], in the unit of the targets.
        targets: Shape [n] or one for all, never 0.

    Returns:
        Shape [n], in [0, 1].
    """
    targets = np.asarray(targets, np.float64)
    missing = 1 - np.sign(targets) * speeds / np.abs(targets)
    return np.asarray(np.clip(1 - (1 - _AT_MARGIN) * missing, 0, 1))


def measure_speeds(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Bring poses and the velocities of centres of mass up to date, see `Task.measure`."""
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_comVel(model, data)
    mujoco.mj_subtreeVel(model, data)
