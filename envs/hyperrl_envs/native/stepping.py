"""Advancing several simulations, on one thread or on several."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
from numpy.typing import NDArray

from hyperrl.errors import ConfigError
from hyperrl.ranges import whole


def checked_threads(threads: int) -> int:
    """Return a number of threads.

    Raises:
        ConfigError: It is no whole number from 1 to the number of processors that this process may use.
    """
    count = int(whole(1).check("threads", threads))
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count > processors:
        raise ConfigError(f"threads must be at most {processors}, the number of processors, got {count}")
    return count


class Stepper:
    """Advances simulations by as many steps each as one step of the task has.

    MuJoCo lets other threads of Python run while it steps, so threads share the work, each a part of the
    simulations; the results do not depend on how many there are.

    Args:
        simulations: A `mujoco.MjModel` and a `mujoco.MjData` for each.
        frame_skip: Simulation steps of one step.
        threads: How many threads, never more than simulations.
        measure: Called with the model and the data of each simulation after its steps; None for nothing.
    """

    def __init__(
        self,
        simulations: Sequence[tuple[Any, Any]],
        frame_skip: int,
        threads: int,
        measure: Callable[[Any, Any], None] | None = None,
    ) -> None:
        parts = min(threads, len(simulations))
        bounds = [len(simulations) * part // parts for part in range(parts + 1)]
        self._slices = [slice(low, high) for low, high in itertools.pairwise(bounds)]
        with_controls = [(model, data, data.ctrl) for model, data in simulations]
        self._parts = [with_controls[part] for part in self._slices]
        self._frame_skip = frame_skip
        self._measure = measure
        self._pool = ThreadPoolExecutor(parts - 1, "simulation") if parts > 1 else None

    def step(self, actions: NDArray[Any]) -> None:
        """Advance all simulations.

        Args:
            actions: Shape [n, nu].
        """
        if self._pool is None:
            self._run(0, actions)
            return
        running = [self._pool.submit(self._run, part, actions) for part in range(1, len(self._parts))]
        self._run(0, actions)
        for future in running:
            future.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _run(self, part: int, actions: NDArray[Any]) -> None:
        """Advance one part of the simulations in this thread."""
        count = self._frame_skip
        own, own_actions = self._parts[part], actions[self._slices[part]]
        for (model, data, control), action in zip(own, own_actions, strict=True):
            control[:] = action
            mujoco.mj_step(model, data, count)
            # As Gymnasium does for every task: forces between bodies are computed only when asked for.
            mujoco.mj_rnePostConstraint(model, data)
            if self._measure is not None:
                self._measure(model, data)
