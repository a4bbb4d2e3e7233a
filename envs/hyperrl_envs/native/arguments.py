"""The keyword arguments of a native environment, checked before anything is built."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeVar

from hyperrl.errors import ConfigError, unknown_name
from hyperrl.ranges import whole
from hyperrl_envs.native.rendering import RENDER_MODES, RenderSettings
from hyperrl_envs.native.task import Task

_T = TypeVar("_T")

STEP_LIMIT = "max_episode_steps"


def split_arguments(
    env_id: str, kind: type[Task], arguments: Mapping[str, Any]
) -> tuple[Task, RenderSettings, int | None]:
    """Turn the keyword arguments of `gymnasium.make` into a task and what is around it.

    Args:
        env_id: The environment's id, for messages.
        kind: Its class of tasks.
        arguments: Those of Gymnasium's task, of its rendering, and `max_episode_steps`.

    Returns:
        The task, the settings of rendering, and the number of steps after which an episode is truncated, None
        where it was not given.

    Raises:
        UnknownNameError: There is no such argument.
        ConfigError: A value is of the wrong kind or out of range.
    """
    own, rendering = _names(kind), _names(RenderSettings)
    for name in arguments:
        if name not in {*own, *rendering, STEP_LIMIT}:
            raise unknown_name(f"keyword argument of {env_id}", name, [*own, *rendering, STEP_LIMIT])
    limit = checked_limit(arguments.get(STEP_LIMIT))
    task = _build(kind, {name: value for name, value in arguments.items() if name in own})
    settings = _build(RenderSettings, {name: value for name, value in arguments.items() if name in rendering})
    return task, settings, limit


def checked_limit(limit: Any) -> int | None:
    """Return the number of steps after which an episode is truncated, -1 for none, None where none is given.

    Raises:
        ConfigError: It is no such number.
    """
    if limit is None:
        return None
    return -1 if limit == -1 else int(whole(1).check(STEP_LIMIT, limit))


def unsupported_argument(kind: type[Task], arguments: Mapping[str, Any]) -> str | None:
    """Name the first keyword argument of `gymnasium.make` that native environments do not take, or None.

    Args:
        kind: The class of tasks.
        arguments: Keyword arguments that `gymnasium.make` takes.
    """
    known = {*_names(kind), *_names(RenderSettings), STEP_LIMIT}
    for name, value in arguments.items():
        if name not in known:
            return name
        if name == "render_mode" and value not in RENDER_MODES:
            return f"{name} = {value!r}"
    return None


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _build(kind: type[_T], arguments: Mapping[str, Any]) -> _T:
    # The types are text: the modules postpone the evaluation of annotations.
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    checks = {name: _CHECKS.get(types[name], _anything) for name in arguments}
    return kind(**{name: checks[name](name, value) for name, value in arguments.items()})


def _number(name: str, value: Any) -> Any:
    """Return a finite number as it is: NumPy computes with its own scalars otherwise than with Python's."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a finite number, got {value!r}")
    if name == "reset_noise_scale" and value < 0:
        raise ConfigError(f"{name} must be a number of at least 0, got {value!r}")
    return value


def _flag(name: str, value: Any) -> Any:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, got {value!r}")
    return value


def _bounds(name: str, value: Any) -> tuple[Any, Any]:
    right = isinstance(value, list | tuple) and len(value) == 2
    # NaN is not below anything.
    if not right or not all(isinstance(bound, Real) for bound in value) or not value[0] < value[1]:
        raise ConfigError(f"{name} must be two numbers, the lower one first, got {value!r}")
    return value[0], value[1]


def _whole(name: str, value: Any) -> int:
    return int(whole(1).check(name, value))


def _text(name: str, value: Any) -> Any:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} must be text, got {value!r}")
    return value


def _name_or_number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ConfigError(f"{name} must be a name or a number, got {value!r}")
    return value


def _anything(name: str, value: Any) -> Any:
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "float": _number,
    "bool": _flag,
    "tuple[float, float]": _bounds,
    "int": _whole,
    "str": _text,
    "int | str": _name_or_number,
}
