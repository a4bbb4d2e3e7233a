"""Checks of how worker processes shall be run, before any is started."""

from __future__ import annotations

import math
import multiprocessing
import numbers
from collections.abc import Sequence
from typing import Any

from hyperrl.errors import ConfigError, unknown_name


def chosen_start_method(name: str | None) -> str:
    """Return the start method of worker processes.

    Args:
        name: What was asked for; None takes "forkserver", or "spawn" where there is none.

    Raises:
        UnknownNameError: There is no such method here.
    """
    methods = multiprocessing.get_all_start_methods()
    if name is None:
        return "forkserver" if "forkserver" in methods else "spawn"
    if name not in methods:
        raise unknown_name("start method", name, methods)
    return name


def check_settings(env_fns: Sequence[Any], step_timeout: Any, start_timeout: Any, restarts: Any) -> None:
    """Refuse settings that are out of their range, see `hyperrl.sb3.workers.WorkerVecEnv`.

    Args:
        env_fns: Functions that make environments.
        step_timeout: Seconds, more than 0.
        start_timeout: Seconds, more than 0.
        restarts: A count from 0 on.

    Raises:
        ConfigError: One of them is.
    """
    if not env_fns:
        raise ConfigError("env_fns is empty, where at least one function that makes an environment is right")
    for name, value in (("step_timeout", step_timeout), ("start_timeout", start_timeout)):
        if not isinstance(value, numbers.Real) or not math.isfinite(value) or value <= 0:
            raise ConfigError(f"{name} is {value!r}, where a positive number of seconds is right")
    if not isinstance(restarts, int) or restarts < 0:
        raise ConfigError(f"restarts is {restarts!r}, where a whole number from 0 on is right")
