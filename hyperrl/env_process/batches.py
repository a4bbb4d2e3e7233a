"""Observations of several environments as one batch, for which their spaces have to agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from hyperrl.errors import UnsupportedSpaceError, WorkerError


def stacked(observations: Sequence[Any], space: spaces.Space[Any]) -> Any:
    """Make a batch of observations.

    Args:
        observations: One of each environment, as arrays.
        space: The space of one.

    Returns:
        Arrays in the structure of the space, the environments along the first axis.
    """
    if isinstance(space, spaces.Dict):
        return {key: np.stack([observation[key] for observation in observations]) for key in space.spaces}
    if isinstance(space, spaces.Tuple):
        return tuple(np.stack(parts) for parts in zip(*observations, strict=True))
    return np.stack(observations)


def common_spaces(pairs: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Return the observation and action space that all environments share.

    Args:
        pairs: Both spaces of each environment.

    Raises:
        WorkerError: Shapes or types differ. Bounds may differ, those of the first environment count.
        UnsupportedSpaceError: Observations cannot become a batch.
    """
    _check_stackable(pairs[0][0])
    for index, pair in enumerate(pairs):
        for name, first, other in zip(("observation", "action"), pairs[0], pair, strict=True):
            if _layout(first) != _layout(other):
                raise WorkerError(
                    f"environment {index} has the {name} space {other}, where {first} is right, the one of "
                    f"environment 0"
                )
    return pairs[0]


def _check_stackable(space: spaces.Space[Any]) -> None:
    parts = [space]
    if isinstance(space, spaces.Dict):
        parts = list(space.spaces.values())
    elif isinstance(space, spaces.Tuple):
        parts = list(space.spaces)
    for part in parts:
        if part.shape is None or part.dtype is None:
            raise UnsupportedSpaceError(
                f"the observation space of environment 0 has the part {part}, where arrays, or one Dict or "
                f"Tuple of them, are right: wrap the environment in gymnasium.wrappers.FlattenObservation"
            )


def _layout(space: spaces.Space[Any]) -> Any:
    """Return what elements of a space look like in memory, to be compared with another's."""
    if isinstance(space, spaces.Dict):
        return {key: _layout(part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_layout(part) for part in space.spaces)
    return (type(space).__name__, space.shape, None if space.dtype is None else str(space.dtype))
