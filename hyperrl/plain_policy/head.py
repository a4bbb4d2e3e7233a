"""From the output of the last layer to an action."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperrl.errors import BoundsError, ShapeError, unknown_name
from hyperrl.plain_policy.arrays import frozen

Squash = Literal["none", "tanh", "scaled_tanh"]
Bound = Literal["none", "clip", "unscale"]


@dataclass(frozen=True, eq=False)
class ActionHead:
    """What happens behind the last layer, in this order: ``mean_clip``, ``squash``, ``bound``.

    ``squash`` is ``none``, ``tanh`` (tanh(x)) or ``scaled_tanh`` (s tanh(x / s)); ``bound`` is ``none``,
    ``clip`` (to the interval from low to high) or ``unscale`` (from [-1, 1] to that interval,
    ``low + 0.5 (x + 1) (high - low)``). Each combination is what ``predict(deterministic=True)`` of one of
    Stable-Baselines3's algorithms does: PPO and A2C clip, or unscale what a tanh has squashed; SAC, TD3 and
    DDPG unscale what a tanh has squashed.

    Attributes:
        low: The action space's lower bounds ``[out]``, float32; minus infinity for none.
        high: Its upper bounds ``[out]``.
        squash: See above.
        bound: See above.
        scale: s of ``scaled_tanh``.
        mean_clip: The largest absolute value that goes into ``squash``; infinity for no limit.

    Raises:
        UnknownNameError: If there is no such squash or bound.
        ShapeError: If the bounds have different sizes.
        BoundsError: If a lower bound lies above its upper bound, ``unscale`` has an infinite one, or a scale
            or limit is not above zero.
        NonFiniteError: If a bound is NaN.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    squash: Squash = "none"
    bound: Bound = "clip"
    scale: float = 1.0
    mean_clip: float = math.inf

    def __post_init__(self) -> None:
        for kind, name, valid in (
            ("squash", self.squash, get_args(Squash)),
            ("bound", self.bound, get_args(Bound)),
        ):
            if name not in valid:
                raise unknown_name(kind, name, valid)
        low = frozen("the lower bounds of actions", self.low, np.float32, 1, finite=False)
        high = frozen("the upper bounds of actions", self.high, np.float32, 1, finite=False)
        if low.shape != high.shape:
            raise ShapeError(f"actions need as many lower as upper bounds, got {low.size} and {high.size}")
        if (low > high).any():
            raise BoundsError("the lower bounds of actions must not lie above the upper bounds")
        if self.bound == "unscale" and not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise BoundsError("actions can only be scaled to bounds that are finite")
        if not (math.isfinite(self.scale) and self.scale > 0 and self.mean_clip > 0):
            raise BoundsError(
                "the scale of a squash and the limit of its input must be above 0, "
                f"got {self.scale!r} and {self.mean_clip!r}"
            )
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @classmethod
    def unbounded(cls, size: int) -> ActionHead:
        """Return the head that gives the last layer's output as it is.

        Args:
            size: Size of an action.
        """
        return cls(np.full(size, -np.inf, np.float32), np.full(size, np.inf, np.float32), "none", "none")

    @property
    def size(self) -> int:
        """Size of an action."""
        return int(self.low.size)

    @property
    def half_range(self) -> NDArray[np.float64]:
        """Half of each action's range, ``[out]``; 1 where it has no bounds, or only one value."""
        half = (self.high.astype(np.float64) - self.low.astype(np.float64)) / 2
        usable = np.isfinite(half) & (half > 0) & (self.bound != "none")
        return np.where(usable, half, 1.0)

    def __call__(self, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return actions in the precision of the input.

        Args:
            x: Outputs of the last layer ``[..., out]``.
        """
        kind = x.dtype.type
        if math.isfinite(self.mean_clip):
            x = np.clip(x, kind(-self.mean_clip), kind(self.mean_clip))
        if self.squash == "tanh":
            x = np.tanh(x)
        elif self.squash == "scaled_tanh":
            x = kind(self.scale) * np.tanh(x / kind(self.scale))
        if self.bound == "none":
            return x
        low, high = self.low.astype(x.dtype), self.high.astype(x.dtype)
        if self.bound == "clip":
            return np.asarray(np.clip(x, low, high))
        return np.asarray(low + kind(0.5) * (x + kind(1)) * (high - low))


def bounded(low: ArrayLike, high: ArrayLike, squash: Squash = "none", bound: Bound = "clip") -> ActionHead:
    """Return a head from bounds of any array type.

    Args:
        low: Lower bounds ``[out]``.
        high: Upper bounds ``[out]``.
        squash: As in `ActionHead`.
        bound: As in `ActionHead`.
    """
    return ActionHead(np.asarray(low, np.float32), np.asarray(high, np.float32), squash, bound)
