"""How contexts become part of observations."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hyperrl.context import ContextSpace, shown, shown_bounds, shown_size
from hyperrl.errors import UnsupportedSpaceError, unknown_name

MODES = ("visible", "hidden", "privileged")
"""`visible`: observations hold the context. `hidden`: they do not. `privileged`: they do, for critics."""

FORMS = ("dict", "flat")
"""`dict`: observation and context apart. `flat`: one array, the context last."""

UNITS = ("normalised", "raw")
"""`normalised`: the training range is [-1, 1], angles of a circle are cosine and sine. `raw`: the parameters'
own units."""


class ContextObserver:
    """Puts contexts into observations.

    Args:
        context_space: The contexts.
        observation_space: The space of the task's own observations, of shape [S].
        mode: One of `MODES`.
        append: One of `FORMS`.
        units: One of `UNITS`.

    Attributes:
        space: The space of the observations with contexts.

    Raises:
        UnknownNameError: A word is none of these.
        UnsupportedSpaceError: The task's own observations are no vectors.
    """

    def __init__(
        self,
        context_space: ContextSpace,
        observation_space: spaces.Space[Any],
        mode: str = "visible",
        append: str = "dict",
        units: str = "normalised",
    ) -> None:
        for kind, value, valid in (
            ("mode of contexts", mode, MODES),
            ("form of observations with contexts (append)", append, FORMS),
            ("units of contexts", units, UNITS),
        ):
            if value not in valid:
                raise unknown_name(kind, str(value), valid)
        if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
            raise UnsupportedSpaceError(
                f"contexts are added to observations that are vectors, not to {observation_space}"
            )
        self._context_space, self._units = context_space, units
        low, high = context_space.train_low, context_space.train_high
        half = np.where(high > low, high - low, 1.0) / 2
        is_affine = not any(param.log or param.periodic for param in context_space)
        # One as an array, too: NumPy takes twice as long for a number of Python's.
        self._affine = (low, half, np.ones(len(low))) if is_affine else None
        self._is_dict, self._is_seen = append == "dict", mode != "hidden"
        self.space = self._joined_space(observation_space)

    def code(self, contexts: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return contexts of shape [..., d] as observations show them, float32 of shape [..., c]."""
        if self._units == "raw":
            return contexts.astype(np.float32)
        if self._affine is not None:
            # What `normalise` does, to the last bit, without its checks: contexts come from the space.
            low, half, one = self._affine
            shifted = contexts - low
            shifted /= half
            shifted -= one
            return shifted.astype(np.float32)
        return shown(self._context_space, contexts)

    def join(self, observations: NDArray[Any], codes: NDArray[np.float32]) -> Any:
        """Return observations with contexts.

        Args:
            observations: The task's own, shape [..., S].
            codes: What `code` returned, shape [..., c].

        Returns:
            New float32 arrays: a dictionary of "observation" and "context", or one array of shape
            [..., S + c], or one of shape [..., S] where contexts are hidden.
        """
        own = np.array(observations, np.float32)
        if not self._is_seen:
            return own
        if self._is_dict:
            return {"observation": own, "context": codes.copy()}
        return np.concatenate([own, codes], axis=-1)

    def split(self, observations: Any) -> NDArray[np.float32]:
        """Return the task's own part of observations that `join` returned, shape [..., S]."""
        if not self._is_seen:
            return np.asarray(observations)
        if self._is_dict:
            return np.asarray(observations["observation"])
        return np.asarray(observations)[..., : -shown_size(self._context_space, self._units)]

    def _joined_space(self, own: spaces.Box) -> spaces.Space[Any]:
        low, high = own.low.astype(np.float32), own.high.astype(np.float32)
        if not self._is_seen:
            return spaces.Box(low, high, dtype=np.float32)
        least, greatest = shown_bounds(self._context_space, self._units)
        if self._is_dict:
            # In the alphabetical order that Gymnasium gives to the keys of any dictionary.
            return spaces.Dict(
                {
                    "context": spaces.Box(least, greatest, dtype=np.float32),
                    "observation": spaces.Box(low, high, dtype=np.float32),
                }
            )
        return spaces.Box(np.append(low, least), np.append(high, greatest), dtype=np.float32)
