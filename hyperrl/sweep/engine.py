"""Where the runs of a sweep are done: the interface, and the processes of this machine."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hyperrl.config import RunConfig
from hyperrl.errors import RunFolderError
from hyperrl.ranges import whole
from hyperrl.run.manifest import available_cores
from hyperrl.sweep.process import RunProcess

WORKERS = whole(1, 4096)


@dataclass(frozen=True)
class Ended:
    """A run whose process has ended.

    Attributes:
        name: The run's name.
        status: The exit status of its process, negative for the signal that ended it; None where it was
            never started.
        problem: What kept it from being started, or took its process away.
    """

    name: str
    status: int | None
    problem: str = ""


class Engine(Protocol):
    """A place that does runs, several side by side."""

    def check_folder(self, path: Path) -> None:
        """Refuse a folder that not every machine of the engine sees.

        Args:
            path: The sweep's folder, which exists.

        Raises:
            RunFolderError: A machine does not see it.
        """

    def has_room(self) -> bool:
        """Return whether another run may be started now."""

    def start(self, name: str, config: RunConfig) -> None:
        """Start a run.

        Args:
            name: Its name.
            config: Its configuration, with its folder as `out`.
        """

    def ended(self) -> list[Ended]:
        """Return the runs that have ended since the last call."""

    def running(self) -> int:
        """Return how many runs have been started and not been reported as ended."""

    def stop(self) -> None:
        """Ask all runs to save a checkpoint and to end."""

    def close(self) -> None:
        """End at once all that still works."""


class LocalEngine:
    """Does runs in processes of this machine.

    Args:
        workers: How many side by side; None for as many as this process may use cores.

    Raises:
        ConfigError: The number is out of range.
    """

    def __init__(self, workers: int | None = None) -> None:
        cores = available_cores()
        self._workers = cores if workers is None else int(WORKERS.check("workers", workers))
        if self._workers > cores:
            warnings.warn(
                f"{self._workers} runs side by side on {cores} cores will slow each other down", stacklevel=2
            )
        self._processes: dict[str, RunProcess] = {}
        self._failed: list[Ended] = []

    def check_folder(self, path: Path) -> None:
        """Do nothing: this machine sees its own folders."""

    def has_room(self) -> bool:
        """Return whether another run may be started now."""
        return len(self._processes) < self._workers

    def start(self, name: str, config: RunConfig) -> None:
        """Start a run, see `Engine`."""
        try:
            self._processes[name] = RunProcess(config)
        except RunFolderError as error:
            self._failed.append(Ended(name, None, str(error)))

    def ended(self) -> list[Ended]:
        """Return the runs that have ended since the last call."""
        statuses = {name: process.poll() for name, process in self._processes.items()}
        done = [Ended(name, status) for name, status in statuses.items() if status is not None]
        for one in done:
            del self._processes[one.name]
        done += self._failed
        self._failed = []
        return done

    def running(self) -> int:
        """Return how many runs have been started and not been reported as ended."""
        return len(self._processes) + len(self._failed)

    def stop(self) -> None:
        """Ask all runs to save a checkpoint and to end."""
        for process in self._processes.values():
            process.stop()

    def close(self) -> None:
        """End at once all that still works."""
        for process in self._processes.values():
            process.kill()
