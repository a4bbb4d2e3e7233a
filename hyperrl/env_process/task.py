"""What a worker process is told to do when it starts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import gymnasium as gym

from hyperrl.errors import WorkerError


@dataclass(frozen=True)
class Task:
    """What a worker is started with.

    Functions are given as they are to a forked process, and as the bytes of `cloudpickle` to others: what is
    wrong with them then shows when they are loaded, where it can be reported.

    Attributes:
        index: The environment's place among its siblings.
        parent: Process id of the parent.
        start_method: "forkserver", "spawn" or "fork".
        by_kernel: Whether the kernel may end the process together with the one that started it.
        env_fn: Makes the environment.
        capture: Takes the environment and returns its state, if anything does.
        restore: Takes the environment and a state and puts it back, if anything does.
    """

    index: int
    parent: int
    start_method: str
    by_kernel: bool
    env_fn: Callable[[], gym.Env[Any, Any]] | bytes
    capture: Callable[[Any], Any] | bytes | None = None
    restore: Callable[[Any, Any], None] | bytes | None = None


def make_task(index: int, start_method: str, functions: Mapping[str, Callable[..., Any] | None]) -> Task:
    """Describe a worker that this thread is about to start.

    Args:
        index: The environment's place among its siblings.
        start_method: "forkserver", "spawn" or "fork".
        functions: "env_fn", and "capture" and "restore", which may be None.

    Raises:
        WorkerError: A function cannot be sent to another process.
    """
    sent: dict[str, Any] = {}
    for name, function in functions.items():
        as_it_is = function is None or start_method == "fork"
        try:
            sent[name] = function if as_it_is else cloudpickle.dumps(function)
        except Exception as error:
            raise WorkerError(
                f"{name} of environment {index} cannot be sent to a worker process, where it has to make all "
                f"it needs by itself: {error}"
            ) from error
    # The kernel would end a worker together with the thread that started it. A fork server has but one.
    by_kernel = start_method == "forkserver" or threading.current_thread() is threading.main_thread()
    return Task(index, os.getpid(), start_method, by_kernel, **sent)
