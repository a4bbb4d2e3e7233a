"""How the heights between which a robot counts as healthy follow its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HealthyHeight:
    """A rule for Gymnasium's `healthy_z_range`.

    Where a task ends when the torso is too low or too high, longer legs need other bounds: otherwise a good
    robot would be unhealthy at its start. The measure is the height at which the model itself begins.

    Attributes:
        position: Which of the model's positions is the height.
        is_scaled: Whether both bounds are multiplied by the height over the published one; otherwise the
            upper one moves by the difference, and the lower one, where the torso lies on the floor, stays.
    """

    position: int
    is_scaled: bool = True

    def ranges(
        self, published: tuple[float, float], heights: NDArray[np.float64], published_height: float
    ) -> NDArray[np.float64]:
        """Return the bounds for robots that begin at given heights.

        Args:
            published: The bounds of the published robot, in metres.
            heights: Where the robots begin, shape [n].
            published_height: Where the published one begins.

        Returns:
            Shape [n, 2].
        """
        low, high = published
        if self.is_scaled:
            ratio = heights / published_height
            return np.stack([low * ratio, high * ratio], axis=-1)
        return np.stack([np.full_like(heights, low), high + (heights - published_height)], axis=-1)

    def published(self, env: Any) -> tuple[float, float]:
        """Return the bounds of one of Gymnasium's environments."""
        low, high = env._healthy_z_range
        return float(low), float(high)

    def set(
        self,
        env: Any,
        published: tuple[float, float],
        qpos0: NDArray[np.float64],
        published_qpos0: NDArray[np.float64],
    ) -> None:
        """Set the bounds of one of Gymnasium's environments.

        Args:
            env: The environment.
            published: What `published` returned.
            qpos0: The start of its model now.
            published_qpos0: The start of the published model.
        """
        height = np.array([qpos0[self.position]])
        bounds = self.ranges(published, height, float(published_qpos0[self.position]))[0]
        env._healthy_z_range = (float(bounds[0]), float(bounds[1]))
