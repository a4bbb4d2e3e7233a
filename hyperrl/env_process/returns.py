"""Checks of what an environment returns, before it can become part of a batch."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

_STEP = "(observation, reward, terminated, truncated, info)"
_RESET = "(observation, info)"


class MalformedReturnError(Exception):
    """An environment returned something that its interface does not allow.

    Args:
        problem: What was returned, for example "4 values".
        right: What would have been right.
    """

    def __init__(self, problem: str, right: str) -> None:
        super().__init__(problem, right)
        self.problem = problem
        self.right = right


def checked_reset(returned: Any, space: spaces.Space[Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Check what `reset` returned.

    Args:
        returned: The value.
        space: The environment's observation space.

    Returns:
        The observation as it was, the observation as arrays of the space's type, and the info.

    Raises:
        MalformedReturnError: It is not what `reset` returns.
    """
    observation, info = _values(returned, 2, _RESET)
    return observation, _conform(observation, space, "the observation"), _info(info)


def checked_step(
    returned: Any, space: spaces.Space[Any]
) -> tuple[Any, Any, float, bool, bool, dict[str, Any]]:
    """Check what `step` returned.

    Args:
        returned: The value.
        space: The environment's observation space.

    Returns:
        The observation as it was, the observation as arrays of the space's type, the reward, whether the
        episode was terminated and truncated, and the info.

    Raises:
        MalformedReturnError: It is not what `step` returns.
    """
    observation, reward, terminated, truncated, info = _values(returned, 5, _STEP)
    arrays = _conform(observation, space, "the observation")
    if not _is_number(reward):
        raise MalformedReturnError(f"the reward {_shown(reward)}", "one number")
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        if not isinstance(flag, bool | np.bool_):
            raise MalformedReturnError(f"{name} as {_shown(flag)}", "True or False")
    return observation, arrays, reward, terminated, truncated, _info(info)


def _values(returned: Any, count: int, right: str) -> tuple[Any, ...]:
    if not isinstance(returned, tuple):
        raise MalformedReturnError(_shown(returned), f"the tuple {right}")
    if len(returned) != count:
        raise MalformedReturnError(f"{len(returned)} values", f"{count} values, {right}")
    return returned


def _info(info: Any) -> dict[str, Any]:
    if not isinstance(info, dict):
        raise MalformedReturnError(f"the info {_shown(info)}", "a dict")
    return info


def _conform(observation: Any, space: spaces.Space[Any], name: str) -> Any:
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, Mapping) or not space.spaces.keys() <= observation.keys():
            keys = ", ".join(map(repr, space.spaces))
            raise MalformedReturnError(f"{name} {_shown(observation)}", f"a dict with the keys {keys}")
        return {
            key: _conform(observation[key], part, f"{name}[{key!r}]") for key, part in space.spaces.items()
        }
    if isinstance(space, spaces.Tuple):
        if not isinstance(observation, tuple | list) or len(observation) != len(space.spaces):
            right = f"a tuple of {len(space.spaces)}"
            raise MalformedReturnError(f"{name} {_shown(observation)}", right)
        parts = zip(observation, space.spaces, strict=True)
        return tuple(_conform(value, part, f"{name}[{place}]") for place, (value, part) in enumerate(parts))
    if space.shape is None or space.dtype is None:
        return observation
    return _array(observation, space.shape, np.dtype(space.dtype), name)


def _array(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> Any:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise MalformedReturnError(f"{name} {_shown(value)}", f"an array of shape {shape}") from error
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise MalformedReturnError(f"{name} of dtype {array.dtype}", f"its space's dtype {dtype}")
    if array.shape != shape:
        raise MalformedReturnError(f"{name} of shape {array.shape}", f"its space's shape {shape}")
    return array.astype(dtype, copy=False)


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.shape == () and value.dtype.kind in "fiub"
    return isinstance(value, numbers.Real | np.bool_)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    kind = type(value).__name__
    return f"{text} ({kind})" if len(text) <= 40 else f"an object of type {kind}"
