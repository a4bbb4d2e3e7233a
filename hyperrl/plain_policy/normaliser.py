"""The observation normaliser of a plain policy, with its clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import BoundsError, ShapeError
from hyperrl.plain_policy.arrays import frozen


@dataclass(frozen=True, eq=False)
class ObservationNormaliser:
    """``clip((x - mean) / sqrt(variance + epsilon), -clip, clip)``, as Stable-Baselines3's ``VecNormalize``.

    Attributes:
        mean: ``[in]``, float64.
        variance: ``[in]``, float64, not negative.
        epsilon: What is added to the variance, under the root.
        clip: The largest absolute value that comes out; infinity for no clip.

    Raises:
        ShapeError: If mean and variance have different sizes.
        NonFiniteError: If a statistic is NaN or infinite.
        BoundsError: If a variance or epsilon is negative, both are zero, or the clip is not above zero.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    epsilon: float = 1e-8
    clip: float = 10.0

    def __post_init__(self) -> None:
        mean = frozen("the normaliser's mean", self.mean, np.float64, 1)
        variance = frozen("the normaliser's variance", self.variance, np.float64, 1)
        if mean.shape != variance.shape:
            raise ShapeError(
                "the normaliser's mean and variance must have the same size, "
                f"got {mean.size} and {variance.size}"
            )
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0) or (variance + self.epsilon <= 0).any():
            raise BoundsError(
                "the normaliser's variance and epsilon must be at least 0, and their sum above 0, got an "
                f"epsilon of {self.epsilon!r} and a smallest variance of {variance.min():g}"
            )
        if not self.clip > 0:
            raise BoundsError(f"the normaliser's clip must be above 0, got {self.clip!r}")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "variance", variance)
        object.__setattr__(self, "epsilon", float(self.epsilon))
        object.__setattr__(self, "clip", float(self.clip))

    @property
    def size(self) -> int:
        """Size of an observation."""
        return int(self.mean.size)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """``sqrt(variance + epsilon)``, ``[in]``."""
        return np.asarray(np.sqrt(self.variance + self.epsilon))

    def __call__(self, observations: ArrayLike) -> NDArray[np.float64]:
        """Normalise and clip, in float64.

        Args:
            observations: ``[..., in]``.
        """
        return np.clip(self.unclipped(observations), -self.clip, self.clip)

    def unclipped(self, observations: ArrayLike) -> NDArray[np.float64]:
        """Normalise without the clip, in float64.

        Args:
            observations: ``[..., in]``.
        """
        result: NDArray[Any] = (np.asarray(observations, np.float64) - self.mean) / self.deviation
        return result

    def clips(self, observations: ArrayLike) -> NDArray[np.bool_]:
        """Say which values the clip changes.

        Args:
            observations: ``[..., in]``.

        Returns:
            Truth values of the same shape.
        """
        return np.asarray(np.abs(self.unclipped(observations)) > self.clip)
